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
    /// token. Redirects of the handler that sends are switched off: .NET would take the token along.
    /// </summary>
    public sealed class CloposTokenHandler : DelegatingHandler
    {
        private const string Header = "x-token";

        private readonly CloposAuthClient client;

        /// <summary>A handler that sends requests by itself.</summary>
        public CloposTokenHandler(CloposAuthClient client)
            : this(client, new HttpClientHandler())
        {
        }

        /// <summary>
        /// A handler that sends requests with another one, which has sent none yet: its redirects can be
        /// switched off only before that.
        /// </summary>
        public CloposTokenHandler(CloposAuthClient client, HttpMessageHandler innerHandler)
            : base(WithoutRedirects(innerHandler))
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
            try
            {
                if (!await RefusesTokenAsync(response).ConfigureAwait(false))
                {
                    return response;
                }
                client.Invalidate(token);
                token = await client.GetTokenAsync(cancellationToken).ConfigureAwait(false);
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

        // A sender that follows redirects and cannot be told not to is refused; one of other people's that has no
        // such switch follows none.
        private static HttpMessageHandler WithoutRedirects(HttpMessageHandler innerHandler)
        {
            HttpMessageHandler? sender = innerHandler;
            while (sender is DelegatingHandler delegating)
            {
                sender = delegating.InnerHandler;
            }
            if (sender is null)
            {
                throw new ArgumentNullException(nameof(innerHandler), "there is no handler that sends");
            }
            if (sender is HttpClientHandler known)
            {
                // One that is off already may have sent something.
                if (known.AllowAutoRedirect)
                {
                    known.AllowAutoRedirect = false;
                }
                return innerHandler;
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
            return innerHandler;
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
