using System;
using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace Clopos.Auth
{
    /// <summary>What a call came to: one of the two.</summary>
    internal readonly struct Result
    {
        private readonly CloposToken? token;

        internal Result(CloposToken? token, Exception? failure)
        {
            this.token = token;
            Failure = failure;
        }

        internal Exception? Failure { get; }

        /// <summary>Whether a request is under way whose result this is not.</summary>
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

        /// <summary>How long a call waits after such a result before it asks again; null if it does
        /// not, as the native call: where somebody has to act, or the time does not suffice.</summary>
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
