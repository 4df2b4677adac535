using System;
using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace Clopos.Auth
{
    /// <summary>
    /// A text that serialisers, loggers and records do not write, because no property has it. Only
    /// <see cref="Reveal"/> returns it. A <see cref="string"/> is converted implicitly, also by configuration
    /// binding.
    /// </summary>
    [DebuggerDisplay("***")]
    [TypeConverter(typeof(FromText))]
    public sealed class CloposSecret
    {
        [DebuggerBrowsable(DebuggerBrowsableState.Never)]
        private readonly string text;

        /// <summary>Makes a secret of a text.</summary>
        public CloposSecret(string text) => this.text = text;

        /// <summary>Makes a secret of a text.</summary>
        public static implicit operator CloposSecret(string text) => new CloposSecret(text);

        /// <summary>Returns the text.</summary>
        public string Reveal() => text;

        /// <summary>Returns "***".</summary>
        public override string ToString() => "***";

        /// <summary>For configuration binding. Does not convert to a string.</summary>
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
