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

        /// <summary>A sign-in has ended. Its result is read here, once for all waiting tasks: later, another one may
        /// be in progress.</summary>
        internal void Changed(CloposAuthStatus status)
        {
            Tokens.Complete(() => Native.Call(Native.clopos_auth_get_token, Client, 0));
            SignIns.Complete(() => status == CloposAuthStatus.Ok
                ? Native.Call(Native.clopos_auth_get_token, Client, 0)
                : Native.Call(Native.clopos_auth_authenticate, Client, 0));
            if (owner.TryGetTarget(out CloposAuthClient client))
            {
                client.OnChanged(status);
            }
        }

        /// <summary>Makes all waiting tasks fail as cancelled.</summary>
        internal void Cancel(string why)
        {
            var cancelled = new Result(null, new CloposAuthException(CloposAuthStatus.Cancelled, why));
            Tokens.Complete(() => cancelled);
            SignIns.Complete(() => cancelled);
        }
    }

    /// <summary>Tasks that wait for the next change.</summary>
    internal sealed class Waiters
    {
        private TaskCompletionSource<Result>? next;

        /// <summary>Returns the next change. Get it before a call, so that no change after the call is
        /// missed.</summary>
        internal Task<Result> Next()
        {
            if (Volatile.Read(ref next) is TaskCompletionSource<Result> current)
            {
                return current.Task;
            }
            var made = new TaskCompletionSource<Result>(TaskCreationOptions.RunContinuationsAsynchronously);
            return (Interlocked.CompareExchange(ref next, made, null) ?? made).Task;
        }

        /// <summary>Completes all waiting tasks with one result, which is read only if there is a task.</summary>
        internal void Complete(Func<Result> ask) => Interlocked.Exchange(ref next, null)?.SetResult(ask());
    }
}
