using System;
using System.Threading;
using System.Threading.Tasks;

namespace Clopos.Auth
{
    /// <summary>
    /// Gives tokens: a <see cref="CloposAuthClient"/>, or what stands in for one in the tests of a program.
    /// No part of such a test needs the native library: tokens and exceptions have public constructors.
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
        /// <summary>The service that the tokens are for; <see cref="CloposTokenHandler"/> sends them to no
        /// other.</summary>
        Uri BaseUrl { get; }

        /// <summary>Gets the current token. Call it before every request instead of keeping a
        /// token.</summary>
        Task<CloposToken> GetTokenAsync(CancellationToken cancellationToken = default);

        /// <summary>Forgets a token that the service refused, and no newer one.</summary>
        void Invalidate(CloposToken refused);
    }
}
