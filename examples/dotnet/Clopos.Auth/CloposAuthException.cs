using System;
using System.Text;

namespace Clopos.Auth
{
    /// <summary>
    /// A call failed. In code, use <see cref="Status"/>, <see cref="IsRetryable"/> and
    /// <see cref="RetryAfter"/>; <see cref="Exception.Message"/> is for logs and people and never holds a
    /// secret.
    /// </summary>
    public sealed class CloposAuthException : Exception
    {
        /// <summary>A failure; a program makes one only in its tests.</summary>
        public CloposAuthException(
            CloposAuthStatus status, string message, int httpStatus = 0, bool isRetryable = false,
            TimeSpan? retryAfter = null, string? serverCode = null,
            CloposAuthReason reason = CloposAuthReason.Unknown)
            : base(NameOf(status) + ": " + message)
        {
            Status = status;
            HttpStatus = httpStatus;
            IsRetryable = isRetryable;
            RetryAfter = retryAfter;
            ServerCode = serverCode;
            Reason = reason;
        }

        /// <summary>What kind of failure it is.</summary>
        public CloposAuthStatus Status { get; }

        /// <summary>The name of the status in the C header: "REJECTED".</summary>
        public string StatusName => NameOf(Status);

        /// <summary>The HTTP status of the response; 0 where there was none.</summary>
        public int HttpStatus { get; }

        /// <summary>Whether the same call may succeed later without anybody changing anything.</summary>
        public bool IsRetryable { get; }

        /// <summary>How long until the next call can lead to a request, where that is known.</summary>
        public TimeSpan? RetryAfter { get; }

        /// <summary>The service's own identifier of the failure, if it gave one.</summary>
        public string? ServerCode { get; }

        /// <summary>Why the service refused the credentials, if it did.</summary>
        public CloposAuthReason Reason { get; }

        // clopos_auth_status_name(), without the native library.
        private static string NameOf(CloposAuthStatus status)
        {
            if (!Enum.IsDefined(typeof(CloposAuthStatus), status))
            {
                return "UNKNOWN";
            }
            var name = new StringBuilder();
            foreach (char letter in status.ToString())
            {
                name.Append(char.IsUpper(letter) && name.Length != 0 ? "_" : "").Append(char.ToUpperInvariant(letter));
            }
            return name.ToString();
        }
    }
}
