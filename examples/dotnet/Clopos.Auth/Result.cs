using System;
using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Threading.Tasks;

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

        /// <summary>Whether there is no result yet: WouldWait, or a token with the serial
        /// <paramref name="older"/>.</summary>
        internal bool IsPending(ulong older) => token is null
            ? Failure is CloposAuthException failure && failure.Status == CloposAuthStatus.WouldWait
            : token.Serial == older;

        internal CloposToken Get()
        {
            if (Failure != null)
            {
                // Several callers may get the same exception: each gets its own stack trace.
                ExceptionDispatchInfo.Capture(Failure).Throw();
            }
            return token!;
        }
    }

    /// <summary>The result of a change, for the waiting tasks.</summary>
    internal readonly struct News
    {
        internal News(Result result, bool isInFlight, Task<News>? next)
        {
            Result = result;
            IsInFlight = isInFlight;
            Next = next;
        }

        internal Result Result { get; }

        /// <summary>Whether a sign-in is running: then a failure is that of an attempt, and another attempt
        /// follows.</summary>
        internal bool IsInFlight { get; }

        /// <summary>The next change; null if the sign-in has ended.</summary>
        internal Task<News>? Next { get; }
    }

    /// <summary>A call's deadline, by the monotonic clock.</summary>
    internal readonly struct Deadline
    {
        private readonly long end;

        internal Deadline(uint timeoutMs) =>
            end = Stopwatch.GetTimestamp() + (long)(timeoutMs / 1000.0 * Stopwatch.Frequency);

        /// <summary>The remaining milliseconds, rounded up; 0 after the deadline.</summary>
        internal uint LeftMs =>
            (uint)Math.Ceiling(Math.Max(0, end - Stopwatch.GetTimestamp()) * 1000.0 / Stopwatch.Frequency);

        /// <summary>How long a call waits after this result before it calls again: if the sign-in makes another attempt,
        /// until the deadline at most. Null if the call ends, like the native one: after a token, an error that does not
        /// pass, or one whose wait is longer than the remaining time.</summary>
        internal uint? WaitAfter(News news)
        {
            uint left = LeftMs;
            if (!(news.Result.Failure is CloposAuthException failure) || !failure.IsRetryable ||
                failure.Status == CloposAuthStatus.Cancelled || failure.Status == CloposAuthStatus.Clock ||
                failure.Status == CloposAuthStatus.Protocol || failure.Status == CloposAuthStatus.Rejected)
            {
                return null;
            }
            double wait = Math.Ceiling((failure.RetryAfter ?? TimeSpan.Zero).TotalMilliseconds);
            return wait >= left ? (uint?)null : news.IsInFlight ? left : (uint)wait;
        }
    }
}
