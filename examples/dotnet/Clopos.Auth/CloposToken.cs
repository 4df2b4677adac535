using System;
using System.Diagnostics;

namespace Clopos.Auth
{
    /// <summary>
    /// A token. Send its <see cref="Value"/> unchanged in the header <c>x-token</c>, as
    /// <see cref="CloposTokenHandler"/> does.
    /// </summary>
    [DebuggerDisplay("expires at {ExpiresAt}")]
    public sealed class CloposToken
    {
        /// <summary>For tests: a token that expires after this time from now.</summary>
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

        /// <summary>The JWT: 1 to 8192 visible ASCII characters. It gives access until it expires, so serialisers and
        /// loggers cannot read it from a <see cref="CloposSecret"/>.</summary>
        public CloposSecret Value { get; }

        /// <summary>"Bearer". Do not send it in <c>x-token</c>.</summary>
        public string TokenType { get; }

        /// <summary>The expiry time, by the server's clock; this device's may differ.</summary>
        public DateTimeOffset ExpiresAt { get; }

        /// <summary>The remaining time when the token was returned, in whole seconds; independent of the device's
        /// date.</summary>
        public TimeSpan ExpiresIn { get; }

        /// <summary>The number of the token: no other token of this process has it.</summary>
        internal ulong Serial { get; }

        /// <summary>Does not contain the value.</summary>
        public override string ToString() => $"a token that expires at {ExpiresAt:u}";

        /// <summary>The same token with another remaining time.</summary>
        internal CloposToken With(TimeSpan expiresIn) =>
            new CloposToken(Value, TokenType, ExpiresAt, expiresIn, Serial);
    }
}
