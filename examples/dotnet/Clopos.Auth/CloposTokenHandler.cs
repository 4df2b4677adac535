using System;
using System.Net;
using System.Net.Http;
using System.Reflection;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace Clopos.Auth
{
    /// <summary>
    /// Puts the current token into the header <c>x-token</c> of each request to the service. If the service refuses
    /// that token (a 401 whose body says "Invalid token" or "Token expired"), requests a new one and sends the
    /// request once more; for that it keeps the request's body in memory. If there is no new token, and for every
    /// other 401, the caller gets the 401. Requests to other hosts are sent without a token. Before the first
    /// request it switches off the redirects of the handler that sends: .NET would send the token to their target.
    /// It supports the asynchronous methods only: HttpClient.Send of .NET 5 and newer sends no token.
    /// </summary>
    /// <example>
    /// With IHttpClientFactory. With AddHttpMessageHandler instead, the factory's log at level Trace contains the token
    /// (before .NET 9).
    /// <code>
    /// services.AddSingleton&lt;ICloposTokenSource>(_ => new CloposAuthClient(settings));
    /// services.AddTransient&lt;CloposTokenHandler>();
    /// services.AddHttpClient("clopos").ConfigurePrimaryHttpMessageHandler&lt;CloposTokenHandler>();
    /// </code>
    /// </example>
    public sealed class CloposTokenHandler : DelegatingHandler
    {
        private const string TokenHeader = "x-token";
        private const string VenueHeader = "x-venue";

        private readonly ICloposTokenSource source;
        private readonly object gate = new object();
        private volatile bool isReady;

        /// <summary>A handler that sends requests with its <see cref="DelegatingHandler.InnerHandler"/>, if that is set
        /// before the first request (IHttpClientFactory does), otherwise with a new
        /// <see cref="HttpClientHandler"/>.</summary>
        public CloposTokenHandler(ICloposTokenSource source) =>
            this.source = source ?? throw new ArgumentNullException(nameof(source));

        /// <summary>
        /// A handler that sends requests with <paramref name="innerHandler"/>. That must not have sent a request, because
        /// its redirects can be switched off only before.
        /// </summary>
        /// <exception cref="ArgumentException">Its redirects cannot be switched off.</exception>
        public CloposTokenHandler(ICloposTokenSource source, HttpMessageHandler innerHandler)
            : this(source)
        {
            InnerHandler = innerHandler ?? throw new ArgumentNullException(nameof(innerHandler));
            Prepare();
        }

        /// <summary>The venue that requests are about, instead of the token's: it is put into the header <c>x-venue</c> of
        /// requests that have none. Null, the default: the token's venue.</summary>
        public string? Venue { get; set; }

        /// <inheritdoc/>
        protected override async Task<HttpResponseMessage> SendAsync(
            HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Prepare();
            if (!IsForTheService(request.RequestUri))
            {
                return await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
            }
            if (request.Content != null)
            {
                await LoadAsync(request.Content, cancellationToken).ConfigureAwait(false);
            }
            if (Venue != null && !request.Headers.Contains(VenueHeader))
            {
                request.Headers.Add(VenueHeader, Venue);
            }
            CloposToken token = await source.GetTokenAsync(cancellationToken).ConfigureAwait(false);
            HttpResponseMessage response = await SendAsync(request, token, cancellationToken).ConfigureAwait(false);
            try
            {
                if (!await RefusesTokenAsync(response, cancellationToken).ConfigureAwait(false))
                {
                    return response;
                }
                source.Invalidate(token);
                token = await source.GetTokenAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (Exception none) when (none is CloposAuthException || none is ObjectDisposedException)
            {
                return response;
            }
            catch
            {
                response.Dispose();
                throw;
            }
            response.Dispose();
            return await SendAsync(request, token, cancellationToken).ConfigureAwait(false);
        }

        // Whether the service refused the token: only then can a new one help.
        private static async Task<bool> RefusesTokenAsync(
            HttpResponseMessage response, CancellationToken cancellationToken)
        {
            if (response.StatusCode != HttpStatusCode.Unauthorized || response.Content is null)
            {
                return false;
            }
            // So that the caller can read it, too.
            await LoadAsync(response.Content, cancellationToken).ConfigureAwait(false);
            // Not ReadAsStringAsync, which throws if it does not know the charset.
            string body = Encoding.ASCII.GetString(await response.Content.ReadAsByteArrayAsync().ConfigureAwait(false));
            return body.Contains("Invalid token") || body.Contains("Token expired");
        }

        // LoadIntoBufferAsync, which takes no CancellationToken in .NET Standard.
        private static async Task LoadAsync(HttpContent content, CancellationToken cancellationToken)
        {
            Task load = content.LoadIntoBufferAsync();
            var cancelled = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
            using (cancellationToken.Register(() => cancelled.TrySetResult(true)))
            {
                await Task.WhenAny(load, cancelled.Task).ConfigureAwait(false);
            }
            if (!load.IsCompleted)
            {
                // Observes its exception: it fails once the content is disposed.
                _ = load.ContinueWith(
                    abandoned => abandoned.Exception, CancellationToken.None,
                    TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously,
                    TaskScheduler.Default);
                throw new OperationCanceledException(cancellationToken);
            }
            await load.ConfigureAwait(false);
        }

        // Once, before the first request.
        private void Prepare()
        {
            if (isReady)
            {
                return;
            }
            lock (gate)
            {
                if (!isReady)
                {
                    InnerHandler ??= new HttpClientHandler();
                    SwitchRedirectsOff(InnerHandler);
                    isReady = true;
                }
            }
        }

        // Refuses a handler of .NET whose redirects cannot be switched off. Any other handler without that property
        // is assumed to follow no redirects.
        private static void SwitchRedirectsOff(HttpMessageHandler innerHandler)
        {
            HttpMessageHandler? sender = innerHandler;
            while (sender is DelegatingHandler delegating)
            {
                sender = delegating.InnerHandler;
            }
            if (sender is null)
            {
                throw new ArgumentException("there is no handler that sends", nameof(innerHandler));
            }
            if (sender is HttpClientHandler known)
            {
                // Setting the property throws once a request was sent.
                if (known.AllowAutoRedirect)
                {
                    known.AllowAutoRedirect = false;
                }
                return;
            }
            // The properties of SocketsHttpHandler and WinHttpHandler, which .NET Standard does not have.
            Type type = sender.GetType();
            PropertyInfo? follows = type.GetProperty("AllowAutoRedirect") ?? type.GetProperty("AutomaticRedirection");
            if (follows is null && type.Namespace == typeof(HttpClientHandler).Namespace)
            {
                throw new ArgumentException(
                    $"the redirects of {type.Name} cannot be switched off (is the program trimmed?): " +
                    "use an HttpClientHandler", nameof(innerHandler));
            }
            if (follows != null && !Equals(follows.GetValue(sender), false))
            {
                follows.SetValue(sender, false);
            }
        }

        private async Task<HttpResponseMessage> SendAsync(
            HttpRequestMessage request, CloposToken token, CancellationToken cancellationToken)
        {
            request.Headers.Remove(TokenHeader);
            request.Headers.Add(TokenHeader, token.Value.Reveal());
            try
            {
                return await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
            }
            finally
            {
                request.Headers.Remove(TokenHeader); // so that a log of the request does not contain it
            }
        }

        private bool IsForTheService(Uri? target) =>
            target != null && target.IsAbsoluteUri && Uri.Compare(
                target, source.BaseUrl, UriComponents.SchemeAndServer, UriFormat.Unescaped,
                StringComparison.OrdinalIgnoreCase) == 0;
    }
}
