using System;
using System.Threading;
using System.Threading.Tasks;

namespace Clopos.Auth
{
    /// <summary>Receives the library's callbacks, on its threads: calls the log function, completes the waiting tasks,
    /// raises the event. The reference to the client is weak, so that an unused client is collected. A waiting task
    /// keeps its client alive.</summary>
    internal sealed class Callbacks
    {
        private readonly Action<CloposLogLevel, string>? log;
        private readonly WeakReference<CloposAuthClient> owner;

        internal Callbacks(CloposAuthClient owner, Action<CloposLogLevel, string>? log)
        {
            this.owner = new WeakReference<CloposAuthClient>(owner);
            this.log = log;
        }

        /// <summary>The native client. Set before its first request.</summary>
        internal IntPtr Client { get; set; }

        /// <summary>The tasks that wait for a token.</summary>
        internal Waiters Tokens { get; } = new Waiters();

        /// <summary>The tasks that wait for a sign-in: a token from before it is no result for them.</summary>
        internal Waiters SignIns { get; } = new Waiters();

        internal void LogLine(CloposLogLevel level, string line) => log?.Invoke(level, line);

        /// <summary>An attempt has ended, or a sign-in waits for its next attempt. The result is read here, once for all
        /// waiting tasks: later another sign-in may be running.</summary>
        internal void Changed(CloposAuthStatus status)
        {
            Tokens.Complete(Client, Native.clopos_auth_get_token);
            SignIns.Complete(Client, status == CloposAuthStatus.Ok
                ? (Native.TokenFunction)Native.clopos_auth_get_token
                : Native.clopos_auth_authenticate);
            if (owner.TryGetTarget(out CloposAuthClient client))
            {
                client.OnChanged(status);
            }
        }

        /// <summary>Makes all waiting tasks fail with Cancelled.</summary>
        internal void Cancel(string why)
        {
            var cancelled = new Result(null, new CloposAuthException(CloposAuthStatus.Cancelled, why));
            Tokens.Complete(cancelled);
            SignIns.Complete(cancelled);
        }
    }

    /// <summary>Tasks that wait for the next change.</summary>
    internal sealed class Waiters
    {
        private TaskCompletionSource<News>? next;

        /// <summary>Returns a task for the next change. Get it before a native call, so that no change is
        /// missed.</summary>
        internal Task<News> Next()
        {
            if (Volatile.Read(ref next) is TaskCompletionSource<News> current)
            {
                return current.Task;
            }
            TaskCompletionSource<News> made = New();
            return (Interlocked.CompareExchange(ref next, made, null) ?? made).Task;
        }

        /// <summary>Completes all waiting tasks with what the function returns now. Does not call it if no task
        /// waits.</summary>
        internal void Complete(IntPtr client, Native.TokenFunction function)
        {
            if (Volatile.Read(ref next) is null)
            {
                return;
            }
            // The task for the following change is part of the result: a task that continues to wait misses none.
            TaskCompletionSource<News>? after = Native.IsInFlight(client) ? New() : null;
            // Exchange, then call: the result is newer than all calls that wait for it.
            Interlocked.Exchange(ref next, after)?.SetResult(
                new News(Native.Call(function, client, 0), after != null, after?.Task));
        }

        /// <summary>Completes all waiting tasks with this result.</summary>
        internal void Complete(Result result) =>
            Interlocked.Exchange(ref next, null)?.SetResult(new News(result, false, null));

        private static TaskCompletionSource<News> New() =>
            new TaskCompletionSource<News>(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
