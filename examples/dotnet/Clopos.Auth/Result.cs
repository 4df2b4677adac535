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

        /// <summary>Whether there is no result yet: a request is in progress, or the token is this older
        /// one.</summary>
        internal bool IsPending(ulong older) => token is null
            ? Failure is CloposAuthException failure && failure.Status == CloposAuthStatus.WouldWait
            : token.Serial == older;

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

    /// <summary>What a task that waits has learned.</summary>
    internal readonly struct News
    {
        internal News(Result result, bool isInFlight, Task<News>? next)
        {
            Result = result;
            IsInFlight = isInFlight;
            Next = next;
        }

        internal Result Result { get; }

        /// <summary>Whether a sign-in is in progress: a failure is that of an attempt, and another one
        /// follows.</summary>
        internal bool IsInFlight { get; }

        /// <summary>The change after it; null if this is the end of the sign-in.</summary>
        internal Task<News>? Next { get; }
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

        /// <summary>How long a call waits after this failure before it tries again: if the sign-in tries again by
        /// itself, all the time that is left. Null if the call returns, like the native one: if the operator has
        /// to act, or the time does not suffice.</summary>
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
