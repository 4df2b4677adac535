using System;
using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace Clopos.Auth
{
    /// <summary>
    /// A text that is not shown: it has no property or field that a serialiser, a logger or a record
    /// would write. Only <see cref="Reveal"/> gives it. A <see cref="string"/> is converted implicitly,
    /// also by configuration binding.
    /// </summary>
    [DebuggerDisplay("***")]
    [TypeConverter(typeof(FromText))]
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

        /// <summary>For configuration binding. Does not convert back.</summary>
        private sealed class FromText : TypeConverter
        {
            public override bool CanConvertFrom(ITypeDescriptorContext? context, Type? source) =>
                source == typeof(string);

            public override object ConvertFrom(
                ITypeDescriptorContext? context, CultureInfo? culture, object? value) =>
                new CloposSecret((string)value!);
        }
    }
}
