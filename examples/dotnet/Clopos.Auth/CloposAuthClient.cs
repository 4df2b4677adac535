using System;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;

namespace Clopos.Auth
{
    /// <summary>
    /// Signs in to the Clopos Open API v2 and keeps the token. Make one for the whole program; any number
    /// of threads may use it at any time, and dispose it while others use it. Failures are
    /// <see cref="CloposAuthException"/>s; after <see cref="Dispose"/>,
    /// <see cref="ObjectDisposedException"/>s.
    /// </summary>
    /// <example>
    /// <code>
    /// using var clopos = new CloposAuthClient(new CloposAuthSettings(id, secret, brand, integrator));
    /// using var http = new HttpClient(new CloposTokenHandler(clopos));
    /// string venues = await http.GetStringAsync(CloposAuthSettings.DefaultBaseUrl + "/open-api/v2/venues");
    /// </code>
    /// </example>
    public sealed class CloposAuthClient : IDisposable
    {
        private readonly ClientHandle client;
        private readonly TimeSpan timeout;
        private readonly SharedCall tokens;
        private readonly SharedCall signIns;
        private volatile bool hadToken;

        /// <summary>Makes a client. Sends nothing yet.</summary>
        public CloposAuthClient(CloposAuthSettings settings)
        {
            if (settings is null)
            {
                throw new ArgumentNullException(nameof(settings));
            }
            client = Open(settings);
            timeout = settings.Timeout;
            BaseUrl = new Uri(settings.BaseUrl);
            tokens = new SharedCall(patience => Call(Native.clopos_auth_get_token, patience));
            signIns = new SharedCall(patience => Call(Native.clopos_auth_authenticate, patience));
        }

        /// <summary>The version of the native library that is running, "1.0.0".</summary>
        public static string NativeVersion => Native.Text(Native.clopos_auth_version()) ?? "";

        /// <summary>Where the service is.</summary>
        public Uri BaseUrl { get; }

        /// <summary>
        /// Gets the current token: the cached one while it is fresh, at once; else it asks the service.
        /// Call it before every request instead of keeping a token.
        /// </summary>
        public CloposToken GetToken() => GetToken(timeout);

        /// <summary>
        /// The same with a bound for the whole call. Zero never waits: there is a token, or
        /// <see cref="CloposAuthStatus.WouldWait"/>, and a request is started.
        /// <see cref="Timeout.InfiniteTimeSpan"/> is as long as it takes.
        /// </summary>
        /// <exception cref="ArgumentOutOfRangeException">Any other negative time.</exception>
        public CloposToken GetToken(TimeSpan timeout) =>
            Call(Native.clopos_auth_get_token, Native.Patience(timeout)).Get();

        /// <summary>
        /// The same without a thread that waits. Cancelling ends this call only; the request goes on, for
        /// later calls.
        /// </summary>
        public Task<CloposToken> GetTokenAsync(CancellationToken cancellationToken = default) =>
            GetTokenAsync(timeout, cancellationToken);

        /// <summary>The same with a bound for the whole call, as in <see cref="GetToken(TimeSpan)"/>.</summary>
        /// <exception cref="ArgumentOutOfRangeException">A time that <see cref="GetToken(TimeSpan)"/> does
        /// not take.</exception>
        public Task<CloposToken> GetTokenAsync(
            TimeSpan timeout, CancellationToken cancellationToken = default) =>
            GetTokenAsync(Native.Patience(timeout), cancellationToken);

        private async Task<CloposToken> GetTokenAsync(uint patience, CancellationToken cancellationToken)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var deadline = new Deadline(patience);
            // Before the first token a look at the cache would only start a request, which may have failed by
            // the time that this call waits for it.
            if (hadToken || patience == 0 || client.IsClosed)
            {
                Result cached = Call(Native.clopos_auth_get_token, 0);
                // Who has time, and sees it run out right here, has waited.
                bool waits = patience > 0 && cached.Failure is CloposAuthException failure &&
                    failure.Status == CloposAuthStatus.WouldWait;
                if (!waits && !deadline.AllowsAfter(cached))
                {
                    return cached.Get();
                }
            }
            Result result = await tokens.WaitAsync(deadline, cancellationToken).ConfigureAwait(false);
            if (result.Failure is ObjectDisposedException) // it was open when this call began
            {
                throw new CloposAuthException(
                    CloposAuthStatus.Cancelled, "the client was closed during the call");
            }
            return result.Get();
        }

        /// <summary>
        /// Signs in now, whatever is cached, or joins a request that is already under way: for a button
        /// that tests the credentials. The new token replaces the cached one.
        /// </summary>
        public CloposToken Authenticate() =>
            Call(Native.clopos_auth_authenticate, Native.Milliseconds(timeout)).Get();

        /// <summary>The same without a thread that waits. Cancelling ends this call only.</summary>
        public async Task<CloposToken> AuthenticateAsync(CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Result result = await signIns
                .WaitAsync(new Deadline(Native.Milliseconds(timeout)), cancellationToken)
                .ConfigureAwait(false);
            return result.Get();
        }

        /// <summary>
        /// Forgets a token that the service refused. A newer one is kept, so any number of threads may
        /// report the same refusal.
        /// </summary>
        public void Invalidate(CloposToken refused)
        {
            if (refused is null)
            {
                throw new ArgumentNullException(nameof(refused));
            }
            using var value = new NativeText(refused.Value.Reveal());
            Native.Check(Native.clopos_auth_invalidate(client, value), IntPtr.Zero);
        }

        /// <summary>
        /// Makes every call that is waiting now fail with <see cref="CloposAuthStatus.Cancelled"/>. The
        /// client stays usable.
        /// </summary>
        public void Cancel() => Native.Check(Native.clopos_auth_cancel(client), IntPtr.Zero);

        /// <summary>
        /// Wipes the native library's token and secret. Calls that are waiting fail with
        /// <see cref="CloposAuthStatus.Cancelled"/>. Disposing again does nothing; but of several threads
        /// that dispose a client at once, each waits until its log function is not called any more.
        /// </summary>
        public void Dispose() => client.FreeNow();

        private static ClientHandle Open(CloposAuthSettings settings)
        {
            using var id = new NativeText(settings.ClientId);
            using var secret = new NativeText(settings.ClientSecret?.Reveal());
            using var brand = new NativeText(settings.Brand);
            using var integrator = new NativeText(settings.IntegratorId);
            var log = default(GCHandle);
            try
            {
                using ConfigHandle config = Native.clopos_auth_config_new();
                if (config.IsInvalid)
                {
                    throw new CloposAuthException(CloposAuthStatus.Internal, "no memory for the settings");
                }
                Configure(config, settings);
                if (settings.Log is Action<CloposLogLevel, string> function)
                {
                    log = GCHandle.Alloc(function);
                    Native.Check(Native.SetLog(config, settings.LogLevel, log, out IntPtr failure), failure);
                }
                CloposAuthStatus status = Native.clopos_auth_client_new(
                    id, secret, brand, integrator, config, out ClientHandle client, out IntPtr error);
                Native.Check(status, error);
                if (log.IsAllocated)
                {
                    client.OwnLog(log);
                    log = default;
                }
                return client;
            }
            finally
            {
                if (log.IsAllocated)
                {
                    log.Free(); // there is no client
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
            if (settings.CaPem is byte[] pem)
            {
                Native.Check(Native.clopos_auth_config_add_ca_pem(
                    config, pem, (UIntPtr)pem.Length, out error), error);
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

        private Result Call(Native.TokenFunction function, uint patience)
        {
            try
            {
                CloposAuthStatus status = function(client, patience, out IntPtr token, out IntPtr error);
                if (token != IntPtr.Zero)
                {
                    hadToken = true;
                }
                return new Result(Native.Token(token), Native.Failure(status, error));
            }
            catch (ObjectDisposedException)
            {
                return new Result(null, new ObjectDisposedException(nameof(CloposAuthClient)));
            }
        }
    }
}
