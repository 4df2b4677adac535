using System;
using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Threading;
using System.Threading.Tasks;

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

    /// <summary>The end of somebody's patience, whatever the device's clock does.</summary>
    internal readonly struct Deadline
    {
        private readonly long end;

        internal Deadline(uint patienceMs) =>
            end = Stopwatch.GetTimestamp() + (long)(patienceMs / 1000.0 * Stopwatch.Frequency);

        /// <summary>What is left, in milliseconds, rounded up; 0 if it is over.</summary>
        internal uint Left =>
            (uint)Math.Ceiling(Math.Max(0, end - Stopwatch.GetTimestamp()) * 1000.0 / Stopwatch.Frequency);

        /// <summary>Whether a call that may take this long may still succeed after such a result.</summary>
        internal bool AllowsAfter(Result result) =>
            result.Failure is CloposAuthException failure && failure.IsRetryable &&
            failure.Status != CloposAuthStatus.Cancelled &&
            (failure.RetryAfter ?? TimeSpan.Zero).TotalMilliseconds < Left;
    }

    /// <summary>
    /// Lets any number of tasks wait for one native call, since each native call that waits occupies a
    /// thread and cannot be broken off for one task alone. The call has the patience of the one who began
    /// it.
    /// </summary>
    internal sealed class SharedCall
    {
        private readonly Func<uint, Result> call;
        private readonly object gate = new object();
        private Flight? current;

        internal SharedCall(Func<uint, Result> call) => this.call = call;

        /// <summary>Waits for the call that is under way, or begins one.</summary>
        internal async Task<Result> WaitAsync(Deadline deadline, CancellationToken cancellationToken)
        {
            while (true)
            {
                Flight flight = Join(deadline);
                using (var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken))
                {
                    var left = (int)Math.Min(deadline.Left, int.MaxValue);
                    await Task.WhenAny(flight.Task, Task.Delay(left, ended.Token)).ConfigureAwait(false);
                    ended.Cancel(); // the delay's timer
                }
                if (!flight.Task.IsCompleted)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    if (deadline.Left > 0)
                    {
                        continue;
                    }
                    return new Result(null, new CloposAuthException(
                        CloposAuthStatus.Timeout, "the time for this call ran out; the request goes on")
                    {
                        IsRetryable = true,
                    });
                }
                Result result = await flight.Task.ConfigureAwait(false);
                // Where only the other one's patience ended, this one has another go with its own.
                if (flight.Deadline.AllowsAfter(result) || !deadline.AllowsAfter(result))
                {
                    return result;
                }
            }
        }

        private Flight Join(Deadline deadline)
        {
            lock (gate)
            {
                return current ??= new Flight(deadline, Task.Factory.StartNew(
                    () => Fly(Math.Max(1, deadline.Left)), CancellationToken.None,
                    TaskCreationOptions.LongRunning, TaskScheduler.Default));
            }
        }

        private Result Fly(uint patience)
        {
            try
            {
                return call(patience);
            }
            finally
            {
                lock (gate)
                {
                    current = null;
                }
            }
        }

        private sealed class Flight
        {
            internal Flight(Deadline deadline, Task<Result> task)
            {
                Deadline = deadline;
                Task = task;
            }

            internal Deadline Deadline { get; }

            internal Task<Result> Task { get; }
        }
    }
}
