using System;
using System.Threading;
using System.Threading.Tasks;

namespace Clopos.Auth
{
    /// <summary>What the library calls back, on its own threads: the log function, the tasks that wait for a
    /// change, the event. The reference to the client is weak, so an unused client is collected. A waiting
    /// task keeps its client alive.</summary>
    internal sealed class Callbacks
    {
        private readonly Action<CloposLogLevel, string>? log;
        private readonly WeakReference<CloposAuthClient> owner;

        internal Callbacks(CloposAuthClient owner, Action<CloposLogLevel, string>? log)
        {
            this.owner = new WeakReference<CloposAuthClient>(owner);
            this.log = log;
        }

        /// <summary>The native client, once there is one: before its first request.</summary>
        internal IntPtr Client { get; set; }

        /// <summary>The tasks that wait for a token.</summary>
        internal Waiters Tokens { get; } = new Waiters();

        /// <summary>The tasks that wait for a sign-in, for which an older token does not count.</summary>
        internal Waiters SignIns { get; } = new Waiters();

        internal void LogLine(CloposLogLevel level, string line) => log?.Invoke(level, line);

        /// <summary>A sign-in has ended, or it waits for its next attempt. The result is read here, once for all
        /// waiting tasks: later, another sign-in may be in progress.</summary>
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

        /// <summary>Makes all waiting tasks fail as cancelled.</summary>
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

        /// <summary>Returns the next change. Get it before a call, so that no change after the call is
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

        /// <summary>Completes all waiting tasks with what the function returns now. It is called only if there
        /// is a task.</summary>
        internal void Complete(IntPtr client, Native.TokenFunction function)
        {
            if (Volatile.Read(ref next) is null)
            {
                return;
            }
            // A task that goes on waiting misses no change, however late it runs.
            TaskCompletionSource<News>? after = Native.IsInFlight(client) ? New() : null;
            // Then the call: its result is not older than the calls of those who wait.
            Interlocked.Exchange(ref next, after)?.SetResult(
                new News(Native.Call(function, client, 0), after != null, after?.Task));
        }

        /// <summary>Completes all waiting tasks with one result, the last one.</summary>
        internal void Complete(Result result) =>
            Interlocked.Exchange(ref next, null)?.SetResult(new News(result, false, null));

        private static TaskCompletionSource<News> New() =>
            new TaskCompletionSource<News>(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
