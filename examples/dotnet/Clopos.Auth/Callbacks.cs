using System;
using System.Threading;
using System.Threading.Tasks;

namespace Clopos.Auth
{
    /// <summary>What the library calls back of a client, on threads of its own: the log function, the tasks
    /// that wait for a change, the event. Refers to the client weakly: one that nobody uses is
    /// collected. But a task that waits keeps it, by way of this.</summary>
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

        /// <summary>Who waits for a token.</summary>
        internal Waiters Tokens { get; } = new Waiters();

        /// <summary>Who waits for a sign-in of now, for whom an older token is none.</summary>
        internal Waiters SignIns { get; } = new Waiters();

        internal void LogLine(CloposLogLevel level, string line) => log?.Invoke(level, line);

        /// <summary>A sign-in has ended. The library is asked here what it came to, for all who wait:
        /// soon, there may be another one under way.</summary>
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

        /// <summary>Ends the waiting of everybody.</summary>
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

        /// <summary>The next change. Who asks for it before a call misses none that comes after the
        /// call.</summary>
        internal Task<Result> Next()
        {
            if (Volatile.Read(ref next) is TaskCompletionSource<Result> current)
            {
                return current.Task;
            }
            var made = new TaskCompletionSource<Result>(TaskCreationOptions.RunContinuationsAsynchronously);
            return (Interlocked.CompareExchange(ref next, made, null) ?? made).Task;
        }

        /// <summary>Gives everybody who waits one result; asks for it only if there is somebody.</summary>
        internal void Complete(Func<Result> ask) => Interlocked.Exchange(ref next, null)?.SetResult(ask());
    }
}
