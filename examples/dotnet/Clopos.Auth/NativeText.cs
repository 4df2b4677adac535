using System;
using System.Runtime.InteropServices;
using System.Text;

namespace Clopos.Auth
{
    /// <summary>
    /// A string argument for the library: NUL-terminated UTF-8, or a null pointer. The only copy; the garbage collector
    /// does not move it, and it is wiped when disposed.
    /// </summary>
    internal sealed unsafe class NativeText : SafeHandle
    {
        private readonly int length;

        internal NativeText(string? text)
            : base(IntPtr.Zero, true)
        {
            if (text is null)
            {
                return;
            }
            if (text.IndexOf('\0') >= 0)
            {
                // It would be truncated. A control character is passed instead: the library refuses it, and the message
                // names the argument.
                text = "\x01";
            }
            length = Encoding.UTF8.GetByteCount(text);
            SetHandle(Marshal.AllocHGlobal(length + 1));
            fixed (char* characters = text)
            {
                Encoding.UTF8.GetBytes(characters, text.Length, (byte*)handle, length);
            }
            Marshal.WriteByte(handle, length, 0);
        }

        public override bool IsInvalid => handle == IntPtr.Zero;

        protected override bool ReleaseHandle()
        {
            for (int i = 0; i < length; i++)
            {
                Marshal.WriteByte(handle, i, 0);
            }
            Marshal.FreeHGlobal(handle);
            return true;
        }
    }
}
