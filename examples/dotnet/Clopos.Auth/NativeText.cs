using System;
using System.Runtime.InteropServices;
using System.Text;

namespace Clopos.Auth
{
    /// <summary>
    /// A text as the library takes it: UTF-8 with a NUL at its end, or a null pointer. The only copy that
    /// is made, where the collector does not move it, and wiped when it is disposed.
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
                // It would end early there. The library refuses any control character, and names the argument.
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
