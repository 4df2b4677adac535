using System;
using System.Diagnostics;

namespace Clopos.Auth
{
    /// <summary>
    /// A token of the service. It goes into the header <c>x-token</c> as it is;
    /// <see cref="CloposTokenHandler"/> does that.
    /// </summary>
    [DebuggerDisplay("expires at {ExpiresAt}")]
    public sealed class CloposToken
    {
        /// <summary>A token for tests, which begins to live now.</summary>
        public CloposToken(CloposSecret value, TimeSpan expiresIn)
            : this(value, "Bearer", DateTimeOffset.UtcNow + expiresIn, expiresIn, 0)
        {
        }

        internal CloposToken(
            CloposSecret value, string tokenType, DateTimeOffset expiresAt, TimeSpan expiresIn, ulong serial)
        {
            Value = value ?? throw new ArgumentNullException(nameof(value));
            TokenType = tokenType;
            ExpiresAt = expiresAt;
            ExpiresIn = expiresIn;
            Serial = serial;
        }

        /// <summary>The token itself: visible ASCII characters. Who reads it can act as this integration.
        /// Serialisers and loggers find nothing in a <see cref="CloposSecret"/>.</summary>
        public CloposSecret Value { get; }

        /// <summary>"Bearer", as the service says; the header <c>x-token</c> does not want it.</summary>
        public string TokenType { get; }

        /// <summary>When it ends, on the server's clock; this device's may differ.</summary>
        public DateTimeOffset ExpiresAt { get; }

        /// <summary>What was left when it was returned, in whole seconds, whatever this device's date
        /// says.</summary>
        public TimeSpan ExpiresIn { get; }

        /// <summary>The library's number of it.</summary>
        internal ulong Serial { get; }

        /// <summary>Leaves out the value.</summary>
        public override string ToString() => $"a token that expires at {ExpiresAt:u}";

        /// <summary>The same token, of which less is left.</summary>
        internal CloposToken With(TimeSpan expiresIn) =>
            new CloposToken(Value, TokenType, ExpiresAt, expiresIn, Serial);
    }
}
