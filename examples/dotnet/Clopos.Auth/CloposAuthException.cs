using System;

namespace Clopos.Auth
{
    /// <summary>
    /// A call failed. Decide by <see cref="Status"/>, <see cref="IsRetryable"/> and
    /// <see cref="RetryAfter"/>; <see cref="Exception.Message"/> is for logs and people and never holds a
    /// secret.
    /// </summary>
    public sealed class CloposAuthException : Exception
    {
        internal CloposAuthException(CloposAuthStatus status, string message)
            : base(NameOf(status) + ": " + message)
        {
            Status = status;
        }

        /// <summary>What kind of failure it is.</summary>
        public CloposAuthStatus Status { get; }

        /// <summary>The name of the status in the C header: "REJECTED".</summary>
        public string StatusName => NameOf(Status);

        /// <summary>The HTTP status of the response; 0 where there was none.</summary>
        public int HttpStatus { get; internal set; }

        /// <summary>Whether the same call may succeed later without anybody changing anything.</summary>
        public bool IsRetryable { get; internal set; }

        /// <summary>How long until the next call can lead to a request, where that is known.</summary>
        public TimeSpan? RetryAfter { get; internal set; }

        /// <summary>The service's own identifier of the failure, if it gave one.</summary>
        public string? ServerCode { get; internal set; }

        /// <summary>Why the service refused the credentials, if it did.</summary>
        public CloposAuthReason Reason { get; internal set; }

        private static string NameOf(CloposAuthStatus status) =>
            Native.Text(Native.clopos_auth_status_name(status)) ?? "";
    }
}
