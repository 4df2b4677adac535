using System;

namespace Clopos.Auth
{
    /// <summary>The state of a client's token and the result of its last request, for health pages. Has no secret
    /// and can be serialised.</summary>
    public sealed class CloposAuthState
    {
        /// <summary>Whether there is a token that has not ended.</summary>
        public bool HasToken { get; set; }

        /// <summary>Whether <see cref="CloposAuthClient.GetToken()"/> would hand it out without asking the
        /// service first.</summary>
        public bool IsFresh { get; set; }

        /// <summary>Whether a request is under way, or the next attempt of one is due.</summary>
        public bool RequestInFlight { get; set; }

        /// <summary>What is left of the token; null if there is none.</summary>
        public TimeSpan? ExpiresIn { get; set; }

        /// <summary>Time until the token is due to be replaced, by the first call after that; null if there is none.</summary>
        public TimeSpan? RefreshIn { get; set; }

        /// <summary>How long the next request has to wait; zero if it may leave now.</summary>
        public TimeSpan NextRequestIn { get; set; }

        /// <summary>The status of the last request, if there was one.</summary>
        public CloposAuthStatus LastStatus { get; set; }

        /// <summary>Its HTTP status; 0 if there was no response.</summary>
        public int LastHttpStatus { get; set; }

        /// <summary>How long ago it ended; null if there was none.</summary>
        public TimeSpan? LastResultAge { get; set; }

        /// <summary>How many requests were sent since the client was made.</summary>
        public long Requests { get; set; }

        /// <summary>How many of them failed.</summary>
        public long Failures { get; set; }

        /// <summary>The message of the last failure; null if there was none.</summary>
        public string? LastMessage { get; set; }
    }
}
