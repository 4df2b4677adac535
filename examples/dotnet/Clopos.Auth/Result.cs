using System;
using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace Clopos.Auth
{
    /// <summary>The result of a call: a token or a failure.</summary>
    internal readonly struct Result
    {
        private readonly CloposToken? token;

        internal Result(CloposToken? token, Exception? failure)
        {
            this.token = token;
            Failure = failure;
        }

        internal Exception? Failure { get; }

        /// <summary>Whether a request is in progress and has no result yet.</summary>
        internal bool IsWouldWait =>
            Failure is CloposAuthException failure && failure.Status == CloposAuthStatus.WouldWait;

        internal CloposToken Get()
        {
            if (Failure != null)
            {
                // Several callers may get the same one.
                ExceptionDispatchInfo.Capture(Failure).Throw();
            }
            return token!;
        }
    }

    /// <summary>The end of a call's time, whatever the device's date does.</summary>
    internal readonly struct Deadline
    {
        private readonly long end;

        internal Deadline(uint timeoutMs) =>
            end = Stopwatch.GetTimestamp() + (long)(timeoutMs / 1000.0 * Stopwatch.Frequency);

        /// <summary>What is left, in milliseconds, rounded up; 0 if it is over.</summary>
        internal uint LeftMs =>
            (uint)Math.Ceiling(Math.Max(0, end - Stopwatch.GetTimestamp()) * 1000.0 / Stopwatch.Frequency);

        /// <summary>How long a call waits after this result before it tries again; null if it returns, like the native
        /// call: if the operator has to act, or the time does not suffice.</summary>
        internal uint? WaitAfter(Result result)
        {
            uint left = LeftMs;
            if (result.IsWouldWait)
            {
                return left;
            }
            if (!(result.Failure is CloposAuthException failure) || !failure.IsRetryable ||
                failure.Status == CloposAuthStatus.Cancelled || failure.Status == CloposAuthStatus.Clock ||
                failure.Status == CloposAuthStatus.Protocol)
            {
                return null;
            }
            double wait = Math.Ceiling((failure.RetryAfter ?? TimeSpan.Zero).TotalMilliseconds);
            return wait < left ? (uint)wait : (uint?)null;
        }
    }
}
