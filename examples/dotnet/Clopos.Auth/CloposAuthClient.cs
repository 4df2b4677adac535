using System;
using System.Diagnostics;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;

namespace Clopos.Auth
{
    /// <summary>
    /// Signs in to the Clopos Open API v2 and keeps the token. Make one for the whole program. Any number of
    /// threads may use it at the same time, and one may dispose it while others use it. A call that fails
    /// throws a <see cref="CloposAuthException"/>; after <see cref="Dispose"/>, an
    /// <see cref="ObjectDisposedException"/>.
    /// </summary>
    /// <example>
    /// <code>
    /// using var clopos = new CloposAuthClient(new CloposAuthSettings(id, secret, brand, integrator));
    /// using var http = new HttpClient(new CloposTokenHandler(clopos));
    /// string venues = await http.GetStringAsync(CloposAuthSettings.DefaultBaseUrl + "/open-api/v2/venues");
    /// </code>
    /// </example>
    [DebuggerDisplay("{BaseUrl}")]
    public sealed class CloposAuthClient : ICloposTokenSource, IDisposable
    {
        private const string ClosedMeanwhile = "the client was closed during the call";

        private readonly ClientHandle client;
        private readonly Callbacks callbacks;
        private readonly uint timeoutMs;

        /// <summary>The newest token, as a completed task, so that returning it allocates nothing.</summary>
        private Task<CloposToken>? kept;

        /// <summary>Makes a client. Sends nothing yet.</summary>
        /// <exception cref="CloposAuthException">A setting is not valid (the message names it), or the proxy of the
        /// environment cannot be used.</exception>
        /// <exception cref="IOException"><see cref="CloposAuthSettings.CaFile"/> cannot be read.</exception>
        /// <exception cref="DllNotFoundException">The native library cannot be loaded; the message says where
        /// it was looked for.</exception>
        public CloposAuthClient(CloposAuthSettings settings)
        {
            if (settings is null)
            {
                throw new ArgumentNullException(nameof(settings));
            }
            callbacks = new Callbacks(this, settings.Log);
            client = Open(settings);
            callbacks.Client = client.Key;
            timeoutMs = Native.Milliseconds(settings.Timeout);
            BaseUrl = new Uri(settings.BaseUrl);
        }

        /// <summary>
        /// Raised when a call with a timeout of zero would return something new: once each time that an attempt of the
        /// client has ended, and if a sign-in has to wait before it can send one. Raised on a thread of the library,
        /// after the waiting tasks have been completed. A handler may call this client, also <see cref="Dispose"/>,
        /// but dispose no other client, and not wait for a task of the client. An exception of a handler is ignored,
        /// and the other handlers are called. Not raised after <see cref="Dispose"/> has returned, which waits for a
        /// handler that is running on another thread.
        /// </summary>
        public event EventHandler<CloposAuthChangedEventArgs>? Changed;

        /// <summary>The version of the native library that is running, "MAJOR.MINOR.PATCH".</summary>
        public static string NativeVersion
        {
            get
            {
                Native.Load();
                return Native.Text(Native.clopos_auth_version()) ?? "";
            }
        }

        /// <summary>Where the service is.</summary>
        public Uri BaseUrl { get; }

        /// <summary>
        /// Returns the cached token if it is fresh, immediately; otherwise requests a new one. Call it before every
        /// request instead of keeping a token.
        /// </summary>
        public CloposToken GetToken() => GetToken(timeoutMs);

        /// <summary>
        /// Like <see cref="GetToken()"/>, with a timeout for the whole call, rounded up to milliseconds. Zero does not
        /// wait: without a token it starts or joins a sign-in and fails with
        /// <see cref="CloposAuthStatus.WouldWait"/>, or with the last error while no request may be sent. A loop of
        /// calls must wait for its <see cref="CloposAuthException.RetryAfter"/>. With
        /// <see cref="Timeout.InfiniteTimeSpan"/> there is no limit; the call still fails when its attempts are used
        /// up.
        /// </summary>
        /// <exception cref="ArgumentOutOfRangeException">Another negative time.</exception>
        public CloposToken GetToken(TimeSpan timeout) => GetToken(Native.TimeoutMs(timeout));

        /// <summary>
        /// Asynchronous version of <see cref="GetToken()"/>: waiting tasks occupy no threads. While the token is
        /// fresh, the task is completed when this returns, and nothing is allocated. Cancelling ends this call only;
        /// the sign-in continues, and later calls can use its result.
        /// </summary>
        /// <remarks>Not a ValueTask: a Task that is kept with its token allocates nothing either, and .NET Standard 2.0
        /// has ValueTask only in a package.</remarks>
        /// <exception cref="OperationCanceledException">The call was cancelled.</exception>
        public Task<CloposToken> GetTokenAsync(CancellationToken cancellationToken = default) =>
            GetTokenAsync(timeoutMs, cancellationToken);

        /// <summary>Asynchronous version of <see cref="GetToken(TimeSpan)"/>.</summary>
        /// <exception cref="ArgumentOutOfRangeException">A negative time, except
        /// <see cref="Timeout.InfiniteTimeSpan"/>.</exception>
        /// <exception cref="OperationCanceledException">The call was cancelled.</exception>
        public Task<CloposToken> GetTokenAsync(
            TimeSpan timeout, CancellationToken cancellationToken = default) =>
            GetTokenAsync(Native.TimeoutMs(timeout), cancellationToken);

        /// <summary>
        /// Signs in now: requests a new token even if one is cached, or joins a sign-in that is running. The new token
        /// replaces the cached one. For a button that tests the credentials.
        /// </summary>
        public CloposToken Authenticate() => Call(Native.clopos_auth_authenticate, timeoutMs).Get();

        /// <summary>Asynchronous version of <see cref="Authenticate"/>. Cancelling ends this call only.</summary>
        /// <exception cref="OperationCanceledException">The call was cancelled.</exception>
        public unsafe Task<CloposToken> AuthenticateAsync(CancellationToken cancellationToken = default)
        {
            ulong older = Native.clopos_auth_current(client.Key, null);
            if (older == 0 && kept is Task<CloposToken> newest)
            {
                older = newest.Result.Serial; // due to be replaced, so not current
            }
            return WaitAsync(
                Native.clopos_auth_authenticate, callbacks.SignIns, older, timeoutMs, cancellationToken);
        }

        /// <summary>Returns what is known of the client, for a status display or a health check. Never sends a request,
        /// and never waits for one.</summary>
        public CloposAuthState GetState()
        {
            CloposAuthState state = Native.State(client.Key);
            GC.KeepAlive(client);
            return state;
        }

        /// <summary>
        /// Drops the cached token because the service refused it: the next call requests a new one. Call it if another
        /// endpoint answers HTTP 401 and the body contains "Invalid token" or "Token expired"; any other 401 is not
        /// about the token. Drops only that token: many threads may report the same 401, and a late report does not drop a newer token. If tokens are refused
        /// soon after their issue, calls that need one fail with <see cref="CloposAuthStatus.Rejected"/>, retryable, for
        /// a while: see <c>clopos_auth_invalidate()</c> in <c>clopos_auth.h</c>. Never waits.
        /// </summary>
        public void Invalidate(CloposToken refused)
        {
            if (refused is null)
            {
                throw new ArgumentNullException(nameof(refused));
            }
            using var value = new NativeText(refused.Value.Reveal());
            Native.Check(Native.clopos_auth_invalidate(client.Key, value), IntPtr.Zero);
            GC.KeepAlive(client);
        }

        /// <summary>
        /// Makes every waiting call fail with <see cref="CloposAuthStatus.Cancelled"/>. The sign-in continues,
        /// and later calls can use its result; the client stays usable. Never waits.
        /// </summary>
        public void Cancel()
        {
            Native.Check(Native.clopos_auth_cancel(client.Key), IntPtr.Zero);
            GC.KeepAlive(client);
            callbacks.Cancel("the call was cancelled");
        }

        /// <summary>
        /// Wipes the native library's copies of the token and the secret. Waiting calls fail with
        /// <see cref="CloposAuthStatus.Cancelled"/> immediately, later ones with an
        /// <see cref="ObjectDisposedException"/>. Waits only while the log function or a handler of
        /// <see cref="Changed"/> runs on another thread; afterwards none is called again. If several threads dispose a
        /// client at the same time, this is true for each. Disposing again does nothing.
        /// </summary>
        public void Dispose()
        {
            callbacks.Cancel(ClosedMeanwhile); // before Free(), which may wait for a handler
            client.Free();
            callbacks.Cancel(ClosedMeanwhile); // tasks that began to wait meanwhile
            kept = null;
        }

        /// <summary>Raises <see cref="Changed"/>.</summary>
        internal void OnChanged(CloposAuthStatus status)
        {
            if (!(Changed is EventHandler<CloposAuthChangedEventArgs> all))
            {
                return;
            }
            var change = new CloposAuthChangedEventArgs(status);
            foreach (EventHandler<CloposAuthChangedEventArgs> handler in all.GetInvocationList())
            {
                try
                {
                    handler(this, change);
                }
                catch (Exception)
                {
                    // The other handlers are called all the same.
                }
            }
        }

        private ClientHandle Open(CloposAuthSettings settings)
        {
            Native.Load();
            using var id = new NativeText(settings.ClientId);
            using var secret = new NativeText(settings.ClientSecret?.Reveal());
            using var brand = new NativeText(settings.Brand);
            using var integrator = new NativeText(settings.IntegratorId);
            GCHandle reference = GCHandle.Alloc(callbacks);
            try
            {
                using ConfigHandle config = Native.clopos_auth_config_new();
                if (config.IsInvalid)
                {
                    throw new CloposAuthException(CloposAuthStatus.Internal, "no handle is left for the settings");
                }
                Configure(config, settings);
                CloposLogLevel? level = settings.Log is null ? (CloposLogLevel?)null : settings.LogLevel;
                Native.SetCallbacks(config, level, reference);
                CloposAuthStatus status = Native.clopos_auth_client_new(
                    id, secret, brand, integrator, config, out ClientHandle made, out IntPtr error);
                Native.Check(status, error);
                made.Own(reference);
                reference = default;
                return made;
            }
            finally
            {
                if (reference.IsAllocated)
                {
                    reference.Free(); // there is no client
                }
            }
        }

        private static void Configure(ConfigHandle config, CloposAuthSettings settings)
        {
            IntPtr error;
            using var baseUrl = new NativeText(settings.BaseUrl);
            Native.Check(Native.clopos_auth_config_set_base_url(config, baseUrl, out error), error);
            if (settings.AuthPath is string path)
            {
                using var authPath = new NativeText(path);
                Native.Check(Native.clopos_auth_config_set_auth_path(config, authPath, out error), error);
            }
            Native.Check(Native.clopos_auth_config_set_timeout_ms(
                config, Native.Milliseconds(settings.Timeout), out error), error);
            Native.Check(Native.clopos_auth_config_set_attempt_timeout_ms(
                config, Native.Milliseconds(settings.AttemptTimeout), out error), error);
            Native.Check(Native.clopos_auth_config_set_max_attempts(
                config, unchecked((uint)settings.MaxAttempts), out error), error);
            Native.Check(Native.clopos_auth_config_set_requests_per_minute(
                config, unchecked((uint)settings.RequestsPerMinute), out error), error);
            Native.Check(Native.clopos_auth_config_set_roots(config, settings.Roots, out error), error);
            foreach (byte[]? pem in new[]
            {
                settings.CaPem, settings.CaFile is null ? null : File.ReadAllBytes(settings.CaFile),
            })
            {
                if (pem != null)
                {
                    Native.Check(Native.clopos_auth_config_add_ca_pem(
                        config, pem, (UIntPtr)pem.Length, out error), error);
                }
            }
            using var proxy = new NativeText(settings.Proxy?.Reveal());
            Native.Check(Native.clopos_auth_config_set_proxy(config, proxy, out error), error);
            if (settings.UserAgent is string name)
            {
                using var userAgent = new NativeText(name);
                Native.Check(Native.clopos_auth_config_set_user_agent(config, userAgent, out error), error);
            }
            Native.Check(Native.clopos_auth_config_set_allow_plain_http(
                config, settings.AllowPlainHttp ? 1 : 0, out error), error);
        }

        private CloposToken GetToken(uint timeoutMs) =>
            Cached()?.Result ?? Call(Native.clopos_auth_get_token, timeoutMs).Get();

        private Task<CloposToken> GetTokenAsync(uint timeoutMs, CancellationToken cancellationToken) =>
            cancellationToken.IsCancellationRequested
                ? Task.FromCanceled<CloposToken>(cancellationToken)
                : Cached() ??
                    WaitAsync(Native.clopos_auth_get_token, callbacks.Tokens, 0, timeoutMs, cancellationToken);

        /// <summary>The kept token, if the library would return it and do nothing else; otherwise null.</summary>
        private unsafe Task<CloposToken>? Cached()
        {
            if (!(kept is Task<CloposToken> current))
            {
                return null;
            }
            long seconds;
            ulong serial = Native.clopos_auth_current(client.Key, &seconds);
            GC.KeepAlive(client);
            CloposToken token = current.Result;
            if (serial != token.Serial)
            {
                return null;
            }
            TimeSpan expiresIn = Native.Seconds(seconds);
            if (token.ExpiresIn != expiresIn) // once a second
            {
                kept = current = Task.FromResult(token.With(expiresIn));
            }
            return current;
        }

        private Result Call(Native.TokenFunction function, uint timeoutMs)
        {
            Result result = Native.Call(function, client.Key, timeoutMs);
            GC.KeepAlive(client);
            if (result.Failure is null)
            {
                kept = Task.FromResult(result.Get());
            }
            return result;
        }

        /// <summary>Does what the native call does with this timeout, without blocking a thread. A token with the serial
        /// <paramref name="older"/> is no result: the change of an earlier sign-in may come late, while the one that
        /// this call waits for is running.</summary>
        private async Task<CloposToken> WaitAsync(
            Native.TokenFunction function, Waiters waiters, ulong older, uint timeoutMs,
            CancellationToken cancellationToken)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var deadline = new Deadline(timeoutMs);
            News news = TryCall(function, waiters);
            for (bool hasWaited = false; ; hasWaited = true)
            {
                bool isPending = news.Result.IsPending(older);
                uint? wait = isPending ? deadline.LeftMs : deadline.WaitAfter(news);
                if (timeoutMs == 0 || wait is null || !(news.Next is Task<News> change))
                {
                    if (hasWaited && news.Result.Failure is ObjectDisposedException)
                    {
                        throw new CloposAuthException(CloposAuthStatus.Cancelled, ClosedMeanwhile);
                    }
                    return news.Result.Get();
                }
                if (wait == 0 && isPending)
                {
                    throw new CloposAuthException(
                        CloposAuthStatus.Timeout, "the call timed out; the sign-in continues",
                        isRetryable: true);
                }
                using (var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken))
                {
                    var delay = (int)Math.Min(wait.Value, int.MaxValue);
                    await Task.WhenAny(change, Task.Delay(delay, ended.Token)).ConfigureAwait(false);
                    ended.Cancel(); // stops the delay's timer
                }
                if (change.IsCompleted)
                {
                    news = await change.ConfigureAwait(false);
                    if (news.Next != null || !news.Result.IsPending(older))
                    {
                        continue;
                    }
                }
                cancellationToken.ThrowIfCancellationRequested();
                news = TryCall(function, waiters);
            }
        }

        private News TryCall(Native.TokenFunction function, Waiters waiters)
        {
            Task<News> change = waiters.Next(); // before the call, so that no change is missed
            Result result = Call(function, 0);
            bool isInFlight = result.Failure != null && Native.IsInFlight(client.Key);
            GC.KeepAlive(client);
            return new News(result, isInFlight, change);
        }
    }
}
