using System;
using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;
using Microsoft.Win32.SafeHandles;

namespace Clopos.Auth
{
    /// <summary>clopos_auth.h. Texts from the library are read here: .NET's marshalling would free what is
    /// the library's. Those for it are <see cref="NativeText"/>s.</summary>
    internal static class Native
    {
        private const string Library = "clopos_auth";

        /// <summary>Kept for ever: the library may call it as long as there is a client.</summary>
        private static readonly LogFunction OnLogLine = LogLine;

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate void LogFunction(int level, IntPtr line, IntPtr user);

        /// <summary>clopos_auth_get_token or clopos_auth_authenticate.</summary>
        internal delegate CloposAuthStatus TokenFunction(
            ClientHandle client, uint timeoutMs, out IntPtr token, out IntPtr error);

        /// <summary>The text at an address, or null.</summary>
        internal static string? Text(IntPtr address)
        {
            if (address == IntPtr.Zero)
            {
                return null;
            }
            int length = 0;
            while (Marshal.ReadByte(address, length) != 0)
            {
                length++;
            }
            return Text(address, length);
        }

        /// <summary>Milliseconds, rounded up: what is not nothing must not become nothing.</summary>
        internal static uint Milliseconds(TimeSpan time)
        {
            double milliseconds = Math.Ceiling(time.TotalMilliseconds);
            return milliseconds >= 0 && milliseconds < uint.MaxValue ? (uint)milliseconds : uint.MaxValue - 1;
        }

        /// <summary>The same for the time of a call, with .NET's word for "for ever".</summary>
        internal static uint Patience(TimeSpan timeout) =>
            timeout >= TimeSpan.Zero || timeout == Timeout.InfiniteTimeSpan
                ? Milliseconds(timeout)
                : throw new ArgumentOutOfRangeException(nameof(timeout), timeout, "a negative time");

        /// <summary>Throws what a status and its error say. Frees the error.</summary>
        internal static void Check(CloposAuthStatus status, IntPtr error)
        {
            if (Failure(status, error) is Exception failure)
            {
                throw failure;
            }
        }

        /// <summary>What a status and its error say, or null. Frees the error.</summary>
        internal static Exception? Failure(CloposAuthStatus status, IntPtr error)
        {
            try
            {
                if (status == CloposAuthStatus.Ok)
                {
                    return null;
                }
                if (status == CloposAuthStatus.InvalidHandle)
                {
                    return new ObjectDisposedException(nameof(CloposAuthClient));
                }
                if (error == IntPtr.Zero)
                {
                    return new CloposAuthException(status, "no more is known");
                }
                var detail = Marshal.PtrToStructure<ErrorLayout>(error);
                return new CloposAuthException(status, Text(detail.Message) ?? "")
                {
                    HttpStatus = detail.HttpStatus,
                    IsRetryable = detail.Retryable != 0,
                    RetryAfter = detail.RetryAfterMs < 0
                        ? (TimeSpan?)null
                        : TimeSpan.FromMilliseconds(detail.RetryAfterMs),
                    ServerCode = Text(detail.ServerCode),
                    Reason = clopos_auth_version_number() >= 0x010100
                        ? (CloposAuthReason)Marshal.ReadInt32(error, Marshal.SizeOf<ErrorLayout>())
                        : CloposAuthReason.Unknown,
                };
            }
            finally
            {
                clopos_auth_error_free(error);
            }
        }

        /// <summary>A token, or null. Frees it.</summary>
        internal static CloposToken? Token(IntPtr token)
        {
            if (token == IntPtr.Zero)
            {
                return null;
            }
            try
            {
                var content = Marshal.PtrToStructure<TokenLayout>(token);
                return new CloposToken(
                    new CloposSecret(Text(content.Value, checked((int)content.ValueLength))),
                    Text(content.TokenType) ?? "",
                    // The last second of the last year that .NET has.
                    DateTimeOffset.FromUnixTimeSeconds(Math.Min(content.ExpiresAt, 253402300799)),
                    TimeSpan.FromSeconds(content.ExpiresIn));
            }
            finally
            {
                clopos_auth_token_free(token);
            }
        }

        /// <summary>Sets a log function; <paramref name="user"/> is a GCHandle of an
        /// Action&lt;CloposLogLevel, string&gt;.</summary>
        internal static CloposAuthStatus SetLog(
            ConfigHandle config, CloposLogLevel level, GCHandle user, out IntPtr error) =>
            clopos_auth_config_set_log(config, level, OnLogLine, GCHandle.ToIntPtr(user), out error);

        private static void LogLine(int level, IntPtr line, IntPtr user)
        {
            try
            {
                var log = (Action<CloposLogLevel, string>)GCHandle.FromIntPtr(user).Target;
                log((CloposLogLevel)level, Text(line) ?? "");
            }
            catch (Exception)
            {
                // It must not reach the library's frames, and nobody else is there.
            }
        }

        private static unsafe string Text(IntPtr address, int length) =>
            Encoding.UTF8.GetString((byte*)address, length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern ConfigHandle clopos_auth_config_new();

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void clopos_auth_config_free(IntPtr config);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_config_set_base_url(
            ConfigHandle config, NativeText baseUrl, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_config_set_auth_path(
            ConfigHandle config, NativeText authPath, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_config_set_timeout_ms(
            ConfigHandle config, uint timeoutMs, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_config_set_attempt_timeout_ms(
            ConfigHandle config, uint timeoutMs, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_config_set_max_attempts(
            ConfigHandle config, uint maxAttempts, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_config_set_requests_per_minute(
            ConfigHandle config, uint requestsPerMinute, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_config_set_roots(
            ConfigHandle config, CloposRoots roots, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_config_add_ca_pem(
            ConfigHandle config, byte[] pem, UIntPtr length, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_config_set_proxy(
            ConfigHandle config, NativeText proxy, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_config_set_user_agent(
            ConfigHandle config, NativeText userAgent, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_config_set_allow_plain_http(
            ConfigHandle config, int allow, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        private static extern CloposAuthStatus clopos_auth_config_set_log(
            ConfigHandle config, CloposLogLevel level, LogFunction log, IntPtr user, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_client_new(
            NativeText clientId, NativeText clientSecret, NativeText brand, NativeText integratorId,
            ConfigHandle config, out ClientHandle client, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void clopos_auth_client_free(IntPtr client);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_authenticate(
            ClientHandle client, uint timeoutMs, out IntPtr token, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_get_token(
            ClientHandle client, uint timeoutMs, out IntPtr token, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_invalidate(ClientHandle client, NativeText rejected);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_cancel(ClientHandle client);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr clopos_auth_status_name(CloposAuthStatus status);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr clopos_auth_version();

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        private static extern uint clopos_auth_version_number();

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        private static extern void clopos_auth_token_free(IntPtr token);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        private static extern void clopos_auth_error_free(IntPtr error);

        [StructLayout(LayoutKind.Sequential)]
        private struct TokenLayout
        {
            public IntPtr Value;
            public UIntPtr ValueLength;
            public IntPtr TokenType;
            public long ExpiresAt;
            public long ExpiresIn;
        }

        [StructLayout(LayoutKind.Sequential)]
        private struct ErrorLayout
        {
            public int Status;
            public int HttpStatus;
            public int Retryable;
            public long RetryAfterMs;
            public IntPtr ServerCode;
            public IntPtr Message;
            // An int32_t follows, the reason, but not in the memory of a library older than 1.1.
        }
    }

    /// <summary>A clopos_auth_config.</summary>
    internal sealed class ConfigHandle : SafeHandleZeroOrMinusOneIsInvalid
    {
        private ConfigHandle()
            : base(true)
        {
        }

        protected override bool ReleaseHandle()
        {
            Native.clopos_auth_config_free(handle);
            return true;
        }
    }

    /// <summary>A clopos_auth_client, and what its log function refers to.</summary>
    internal sealed class ClientHandle : SafeHandleZeroOrMinusOneIsInvalid
    {
        /// <summary>The clients that have a log function. Keys are enough: a stale one does no harm.</summary>
        private static readonly ConcurrentDictionary<IntPtr, bool> Logging =
            new ConcurrentDictionary<IntPtr, bool>();

        private GCHandle log;

        static ClientHandle()
        {
            // The library's threads must not come into a runtime that is ending: Mono would wait for them
            // for ever.
            AppDomain.CurrentDomain.ProcessExit += (_, arguments) => FallSilent();
            AppDomain.CurrentDomain.DomainUnload += (_, arguments) => FallSilent();
        }

        private ClientHandle()
            : base(true)
        {
        }

        /// <summary>Hands over what the log function refers to. It is freed after the client: until then
        /// the library may call the function.</summary>
        internal void OwnLog(GCHandle function)
        {
            log = function;
            Logging[handle] = true;
        }

        /// <summary>Frees the client although other threads are inside its calls, which ends these;
        /// disposing alone would wait for them. Freeing it once more does nothing.</summary>
        internal void FreeNow()
        {
            bool kept = false;
            try
            {
                DangerousAddRef(ref kept);
                Native.clopos_auth_client_free(handle);
            }
            catch (ObjectDisposedException)
            {
                // It is closed already.
            }
            finally
            {
                if (kept)
                {
                    DangerousRelease();
                }
            }
            Dispose();
        }

        protected override bool ReleaseHandle()
        {
            Native.clopos_auth_client_free(handle);
            if (log.IsAllocated)
            {
                Logging.TryRemove(handle, out _);
                log.Free();
            }
            return true;
        }

        private static void FallSilent()
        {
            foreach (IntPtr client in Logging.Keys)
            {
                Native.clopos_auth_client_free(client);
            }
        }
    }
}
