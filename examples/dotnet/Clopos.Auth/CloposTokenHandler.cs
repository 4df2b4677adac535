using System;
using System.Net;
using System.Net.Http;
using System.Threading;
using System.Threading.Tasks;

namespace Clopos.Auth
{
    /// <summary>
    /// Puts the current token into the header <c>x-token</c> of each request to the service. Where the
    /// service refuses it with 401, asks for a new one and sends the request once more; its body is held
    /// in memory for that. Requests to other hosts pass through without a token.
    /// </summary>
    public sealed class CloposTokenHandler : DelegatingHandler
    {
        private const string Header = "x-token";

        private readonly CloposAuthClient client;

        /// <summary>
        /// A handler that sends requests by itself and follows no redirects: .NET would take the token
        /// along.
        /// </summary>
        public CloposTokenHandler(CloposAuthClient client)
            : this(client, new HttpClientHandler { AllowAutoRedirect = false })
        {
        }

        /// <summary>A handler that sends requests with another one, which should follow no redirects.</summary>
        public CloposTokenHandler(CloposAuthClient client, HttpMessageHandler innerHandler)
            : base(innerHandler)
        {
            this.client = client ?? throw new ArgumentNullException(nameof(client));
        }

        /// <inheritdoc/>
        protected override async Task<HttpResponseMessage> SendAsync(
            HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (!IsForTheService(request.RequestUri))
            {
                return await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
            }
            if (request.Content != null)
            {
                await request.Content.LoadIntoBufferAsync().ConfigureAwait(false);
            }
            CloposToken token = await client.GetTokenAsync(cancellationToken).ConfigureAwait(false);
            HttpResponseMessage response = await SendAsync(request, token, cancellationToken).ConfigureAwait(false);
            if (response.StatusCode != HttpStatusCode.Unauthorized)
            {
                return response;
            }
            response.Dispose();
            client.Invalidate(token);
            token = await client.GetTokenAsync(cancellationToken).ConfigureAwait(false);
            return await SendAsync(request, token, cancellationToken).ConfigureAwait(false);
        }

        private async Task<HttpResponseMessage> SendAsync(
            HttpRequestMessage request, CloposToken token, CancellationToken cancellationToken)
        {
            request.Headers.Remove(Header);
            request.Headers.Add(Header, token.Value.Reveal());
            try
            {
                return await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
            }
            finally
            {
                request.Headers.Remove(Header); // who logs the request afterwards does not log the token
            }
        }

        private bool IsForTheService(Uri? target) =>
            target != null && target.IsAbsoluteUri && Uri.Compare(
                target, client.BaseUrl, UriComponents.SchemeAndServer, UriFormat.Unescaped,
                StringComparison.OrdinalIgnoreCase) == 0;
    }
}
