using System.Diagnostics;

namespace Clopos.Auth
{
    /// <summary>
    /// A text that is not shown: it has no property or field that a serialiser, a logger or a record
    /// would write. Only <see cref="Reveal"/> gives it. A <see cref="string"/> becomes one by itself.
    /// </summary>
    [DebuggerDisplay("***")]
    public sealed class CloposSecret
    {
        [DebuggerBrowsable(DebuggerBrowsableState.Never)]
        private readonly string text;

        /// <summary>Hides a text.</summary>
        public CloposSecret(string text) => this.text = text;

        /// <summary>Hides a text.</summary>
        public static implicit operator CloposSecret(string text) => new CloposSecret(text);

        /// <summary>The text.</summary>
        public string Reveal() => text;

        /// <summary>Always "***".</summary>
        public override string ToString() => "***";
    }
}
