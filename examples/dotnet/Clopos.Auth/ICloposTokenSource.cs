using System;
using System.Threading;
using System.Threading.Tasks;

namespace Clopos.Auth
{
    /// <summary>
    /// The part of a <see cref="CloposAuthClient"/> that code needs to send requests. Code that takes one can be tested
    /// with a fake, without the native library: tokens and exceptions have public constructors.
    /// </summary>
    /// <example>
    /// <code>
    /// sealed class FakeTokens : ICloposTokenSource
    /// {
    ///     public Uri BaseUrl => new Uri("https://service.test");
    ///     public Task&lt;CloposToken> GetTokenAsync(CancellationToken cancellationToken = default) =>
    ///         Task.FromResult(new CloposToken("token", TimeSpan.FromHours(1)));
    ///     public void Invalidate(CloposToken refused) { }
    /// }
    /// </code>
    /// </example>
    public interface ICloposTokenSource
    {
        /// <summary>Where the service is: <see cref="CloposTokenHandler"/> sends tokens to no other host.</summary>
        Uri BaseUrl { get; }

        /// <summary>Returns the current token. Call it before every request instead of keeping a
        /// token.</summary>
        Task<CloposToken> GetTokenAsync(CancellationToken cancellationToken = default);

        /// <summary>Reports a token that the service refused. A newer one is not affected.</summary>
        void Invalidate(CloposToken refused);
    }
}
