using System;

namespace Clopos.Auth
{
    /// <summary>
    /// A token of the service, which goes into the header <c>x-token</c> as it is;
    /// <see cref="CloposTokenHandler"/> does that.
    /// </summary>
    public sealed class CloposToken
    {
        internal CloposToken(CloposSecret value, string tokenType, DateTimeOffset expiresAt, TimeSpan expiresIn)
        {
            Value = value;
            TokenType = tokenType;
            ExpiresAt = expiresAt;
            ExpiresIn = expiresIn;
        }

        /// <summary>The token itself: visible ASCII characters. Who reads it can act as this integration.</summary>
        public CloposSecret Value { get; }

        /// <summary>"Bearer", as the service says; the header <c>x-token</c> does not want it.</summary>
        public string TokenType { get; }

        /// <summary>When it ends, on the server's clock; this device's may differ.</summary>
        public DateTimeOffset ExpiresAt { get; }

        /// <summary>What was left when it was returned, whatever this device's date says.</summary>
        public TimeSpan ExpiresIn { get; }

        /// <summary>Leaves out the value.</summary>
        public override string ToString() => $"a token that expires at {ExpiresAt:u}";
    }
}
