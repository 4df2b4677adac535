using System;

namespace Clopos.Auth
{
    /// <summary>What was known of a client when <see cref="CloposAuthClient.GetState"/> was called. Contains no secret and
    /// can be serialised.</summary>
    public sealed class CloposAuthState
    {
        /// <summary>Whether there is a token that has not expired.</summary>
        public bool HasToken { get; set; }

        /// <summary>Whether <see cref="CloposAuthClient.GetToken()"/> would return that token immediately.</summary>
        public bool IsFresh { get; set; }

        /// <summary>Whether a sign-in is running, also while it waits before its next attempt.</summary>
        public bool RequestInFlight { get; set; }

        /// <summary>Time until the token expires; null if there is none.</summary>
        public TimeSpan? ExpiresIn { get; set; }

        /// <summary>Time until the token is due to be replaced, zero if it is; null if there is none. The first call after
        /// that starts the refresh.</summary>
        public TimeSpan? RefreshIn { get; set; }

        /// <summary>Time until the next request may be sent; zero if it may be sent now.</summary>
        public TimeSpan NextRequestIn { get; set; }

        /// <summary>The result of the last request that has ended; Ok also if there was none.</summary>
        public CloposAuthStatus LastStatus { get; set; }

        /// <summary>The HTTP status of its response (of the proxy's, if <see cref="LastStatus"/> is Proxy); 0 if none was
        /// received.</summary>
        public int LastHttpStatus { get; set; }

        /// <summary>Time since that result; null if no request has ended yet.</summary>
        public TimeSpan? LastResultAge { get; set; }

        /// <summary>The number of requests, including those that did not reach the service.</summary>
        public long Requests { get; set; }

        /// <summary>The number of attempts that failed.</summary>
        public long Failures { get; set; }

        /// <summary>The message of <see cref="LastStatus"/>, never a secret; null if that is Ok.</summary>
        public string? LastMessage { get; set; }
    }
}
