using System;
using System.Text;

namespace Clopos.Auth
{
    /// <summary>
    /// Why a call failed. In code, use <see cref="Status"/>, <see cref="IsRetryable"/> and <see cref="RetryAfter"/>.
    /// <see cref="Exception.Message"/> is for logs and people: one line, never a secret; its wording may change in any
    /// version.
    /// </summary>
    public sealed class CloposAuthException : Exception
    {
        /// <summary>For tests: an exception with these properties.</summary>
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

        /// <summary>The status that the call returned.</summary>
        public CloposAuthStatus Status { get; }

        /// <summary>The name of the status in the C header: "REJECTED".</summary>
        public string StatusName => NameOf(Status);

        /// <summary>The HTTP status of the response (of the proxy's, if <see cref="Status"/> is Proxy); 0 if none was
        /// received.</summary>
        public int HttpStatus { get; }

        /// <summary>Whether the same call may succeed later without any change.</summary>
        public bool IsRetryable { get; }

        /// <summary>Time until the next request may be sent; null if there is no pause to wait for.</summary>
        public TimeSpan? RetryAfter { get; }

        /// <summary>The "error" field of the response, an identifier or a sentence; null if there was none.</summary>
        public string? ServerCode { get; }

        /// <summary>Why the service refused the sign-in, if <see cref="Status"/> is Rejected.</summary>
        public CloposAuthReason Reason { get; }

        // Like clopos_auth_status_name(), without the native library.
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
