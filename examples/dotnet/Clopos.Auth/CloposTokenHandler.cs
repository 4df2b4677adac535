using System;
using System.Net;
using System.Net.Http;
using System.Reflection;
using System.Threading;
using System.Threading.Tasks;

namespace Clopos.Auth
{
    /// <summary>
    /// Puts the current token into the header <c>x-token</c> of each request to the service. Where the
    /// service refuses that token, asks for a new one and sends the request once more; its body is held
    /// in memory for that. Where there is no new one, the caller gets the refusal itself, and so it does
    /// for every other 401: a new token would not help. Requests to other hosts pass through without a
    /// token. Redirects of the handler that sends are switched off before the first request: .NET would send
    /// the token along.
    /// </summary>
    /// <example>
    /// With IHttpClientFactory:
    /// <code>
    /// services.AddSingleton&lt;ICloposTokenSource>(_ => new CloposAuthClient(settings));
    /// services.AddTransient&lt;CloposTokenHandler>();
    /// services.AddHttpClient("clopos").AddHttpMessageHandler&lt;CloposTokenHandler>();
    /// </code>
    /// </example>
    public sealed class CloposTokenHandler : DelegatingHandler
    {
        private const string TokenHeader = "x-token";
        private const string VenueHeader = "x-venue";

        private readonly ICloposTokenSource source;
        private readonly object gate = new object();
        private volatile bool isReady;

        /// <summary>A handler that sends requests with the <see cref="DelegatingHandler.InnerHandler"/> that it
        /// has been given before the first one, as by IHttpClientFactory, else by itself.</summary>
        public CloposTokenHandler(ICloposTokenSource source) =>
            this.source = source ?? throw new ArgumentNullException(nameof(source));

        /// <summary>
        /// A handler that sends requests with another one, which has sent none yet: its redirects can be
        /// switched off only before that.
        /// </summary>
        public CloposTokenHandler(ICloposTokenSource source, HttpMessageHandler innerHandler)
            : this(source)
        {
            InnerHandler = innerHandler ?? throw new ArgumentNullException(nameof(innerHandler));
            Prepare();
        }

        /// <summary>The venue that requests to the service are about, in the header <c>x-venue</c>; a request
        /// that has this header keeps its own. Null: the venue of the token.</summary>
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
                await request.Content.LoadIntoBufferAsync().ConfigureAwait(false);
            }
            if (Venue != null && !request.Headers.Contains(VenueHeader))
            {
                request.Headers.Add(VenueHeader, Venue);
            }
            CloposToken token = await source.GetTokenAsync(cancellationToken).ConfigureAwait(false);
            HttpResponseMessage response = await SendAsync(request, token, cancellationToken).ConfigureAwait(false);
            try
            {
                if (!await RefusesTokenAsync(response).ConfigureAwait(false))
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

        // Whether this is one of the two refusals that a new token helps against.
        private static async Task<bool> RefusesTokenAsync(HttpResponseMessage response)
        {
            if (response.StatusCode != HttpStatusCode.Unauthorized || response.Content is null)
            {
                return false;
            }
            await response.Content.LoadIntoBufferAsync().ConfigureAwait(false); // to be read again
            string body = await response.Content.ReadAsStringAsync().ConfigureAwait(false);
            return body.Contains("Invalid token") || body.Contains("Token expired");
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

        // A sender that follows redirects and cannot be told not to is refused; one of other people's that has no
        // such switch follows none.
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
                // One that is off already may have sent something.
                if (known.AllowAutoRedirect)
                {
                    known.AllowAutoRedirect = false;
                }
                return;
            }
            // .NET Standard does not know SocketsHttpHandler and WinHttpHandler: they have it under these names.
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
                request.Headers.Remove(TokenHeader); // who logs the request afterwards does not log the token
            }
        }

        private bool IsForTheService(Uri? target) =>
            target != null && target.IsAbsoluteUri && Uri.Compare(
                target, source.BaseUrl, UriComponents.SchemeAndServer, UriFormat.Unescaped,
                StringComparison.OrdinalIgnoreCase) == 0;
    }
}
