using System;
using System.Collections.Concurrent;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Security;
using System.Text;
using System.Threading;
using Microsoft.Win32.SafeHandles;

namespace Clopos.Auth
{
    /// <summary>The functions of clopos_auth.h. Strings are marshalled by hand: .NET's marshaller would free the library's
    /// memory. A client is passed as its handle: the library refuses an invalid one.</summary>
    [SuppressUnmanagedCodeSecurity] // otherwise .NET Framework walks the stack at each call
    internal static class Native
    {
        private const string Library = "clopos_auth";

        // Static, so that the garbage collector does not free them while the library may call them.
        private static readonly LogFunction OnLogLine = LogLine;
        private static readonly ChangeFunction OnChange = Changed;

        private static bool isLoaded;

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        private delegate void LogFunction(int level, IntPtr line, IntPtr user);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        private delegate void ChangeFunction(int status, IntPtr user);

        /// <summary>clopos_auth_get_token or clopos_auth_authenticate.</summary>
        internal delegate CloposAuthStatus TokenFunction(
            IntPtr client, uint timeoutMs, out IntPtr token, out IntPtr error);

        /// <summary>Loads the library, or throws an exception that says where it was looked for.</summary>
        internal static void Load()
        {
            if (isLoaded)
            {
                return;
            }
            uint version;
            if (FileForThisProcess is string path && File.Exists(path))
            {
                LoadLibraryW(path); // if it fails, the next call throws
            }
            try
            {
                version = clopos_auth_version_number();
            }
            catch (Exception failure) when (failure is DllNotFoundException || failure is BadImageFormatException)
            {
                throw new DllNotFoundException(WhereItLooked(failure.Message), failure);
            }
            if (version < 0x010100 || version >= 0x020000)
            {
                throw new DllNotFoundException(
                    $"the native library {Library} is {Text(clopos_auth_version())}; this needs 1.1.0 or a newer 1.x");
            }
            isLoaded = true;
        }

        // Where the package puts the library for .NET Framework. Once it is loaded, Windows finds it by its name.
        private static string? FileForThisProcess => Environment.OSVersion.Platform == PlatformID.Win32NT
            ? Path.Combine(AppDomain.CurrentDomain.BaseDirectory, IntPtr.Size == 8 ? "x64" : "x86", Library + ".dll")
            : null;

        private static string WhereItLooked(string why)
        {
            // Not RuntimeInformation, which Mono's smallest package does not have.
            string file = Environment.OSVersion.Platform == PlatformID.Win32NT ? Library + ".dll"
                : Directory.Exists("/System/Library") ? "lib" + Library + ".dylib"
                : "lib" + Library + ".so";
            // CoreCLR's list, which includes the folders of packages.
            string folders = AppDomain.CurrentDomain.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string ?? "";
            string assembly = typeof(Native).Assembly.Location; // empty if it was loaded from memory
            var looked = folders.Split(Path.PathSeparator)
                .Concat(new[] { AppDomain.CurrentDomain.BaseDirectory, assembly == "" ? "" : Path.GetDirectoryName(assembly) })
                .Where(folder => !string.IsNullOrEmpty(folder))
                .Select(folder => Path.Combine(folder, file))
                .Concat(new[] { FileForThisProcess }.OfType<string>())
                .Distinct()
                .Select(path => path + (File.Exists(path) ? " (it is there, but for another system or processor?)" : ""));
            return $"the native library {file} could not be loaded into this {IntPtr.Size * 8}-bit process. Looked for: " +
                $"{string.Join(", ", looked)}; and where the system looks (PATH on Windows, LD_LIBRARY_PATH and " +
                $"/usr/lib on Linux). The runtime says: {why}";
        }

        /// <summary>The string at an address; null for a null pointer.</summary>
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

        /// <summary>Milliseconds, rounded up: a positive time never becomes 0.</summary>
        internal static uint Milliseconds(TimeSpan time)
        {
            double milliseconds = Math.Ceiling(time.TotalMilliseconds);
            return milliseconds >= 0 && milliseconds < uint.MaxValue ? (uint)milliseconds : uint.MaxValue - 1;
        }

        /// <summary>The same for the timeout of a call, which may be
        /// <see cref="Timeout.InfiniteTimeSpan"/>.</summary>
        internal static uint TimeoutMs(TimeSpan timeout) =>
            timeout >= TimeSpan.Zero || timeout == Timeout.InfiniteTimeSpan
                ? Milliseconds(timeout)
                : throw new ArgumentOutOfRangeException(nameof(timeout), timeout, "a negative time");

        /// <summary>Throws the exception for a status that is not Ok. Frees the error.</summary>
        internal static void Check(CloposAuthStatus status, IntPtr error)
        {
            if (Failure(status, error) is Exception failure)
            {
                throw failure;
            }
        }

        /// <summary>The exception for a status and its error; null for Ok. Frees the error.</summary>
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
                    return new CloposAuthException(status, "no details available (out of memory)");
                }
                var detail = Marshal.PtrToStructure<ErrorLayout>(error);
                return new CloposAuthException(
                    status, Text(detail.Message) ?? "", detail.HttpStatus, detail.Retryable != 0,
                    Time(detail.RetryAfterMs), Text(detail.ServerCode), (CloposAuthReason)detail.Reason);
            }
            finally
            {
                clopos_auth_error_free(error);
            }
        }

        /// <summary>Converts a token and frees it; null for a null pointer.</summary>
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
                    // The last second that DateTimeOffset can represent.
                    DateTimeOffset.FromUnixTimeSeconds(Math.Min(content.ExpiresAt, 253402300799)),
                    Seconds(content.ExpiresIn),
                    content.Serial);
            }
            finally
            {
                clopos_auth_token_free(token);
            }
        }

        /// <summary>Calls a function that returns a token.</summary>
        internal static Result Call(TokenFunction function, IntPtr client, uint timeoutMs)
        {
            CloposAuthStatus status = function(client, timeoutMs, out IntPtr token, out IntPtr error);
            return new Result(Token(token), Failure(status, error));
        }

        /// <summary>Whole seconds, without the double of <see cref="TimeSpan.FromSeconds(double)"/>.</summary>
        internal static TimeSpan Seconds(long seconds) => new TimeSpan(seconds * TimeSpan.TicksPerSecond);

        internal static CloposAuthState State(IntPtr client)
        {
            CloposAuthStatus status = clopos_auth_get_state(client, out IntPtr state, out IntPtr error);
            Check(status, error);
            try
            {
                var content = Marshal.PtrToStructure<StateLayout>(state);
                return new CloposAuthState
                {
                    HasToken = content.HasToken != 0,
                    IsFresh = content.IsFresh != 0,
                    RequestInFlight = content.RequestInFlight != 0,
                    ExpiresIn = Time(content.ExpiresInMs),
                    RefreshIn = Time(content.RefreshInMs),
                    NextRequestIn = Time(content.NextRequestInMs) ?? TimeSpan.Zero,
                    LastStatus = (CloposAuthStatus)content.LastStatus,
                    LastHttpStatus = content.LastHttpStatus,
                    LastResultAge = Time(content.LastResultAgeMs),
                    Requests = (long)content.Requests,
                    Failures = (long)content.Failures,
                    LastMessage = Text(content.LastMessage),
                };
            }
            finally
            {
                clopos_auth_state_free(state);
            }
        }

        /// <summary>Whether a sign-in is running: it sends a request, or waits before its next attempt.</summary>
        internal static bool IsInFlight(IntPtr client)
        {
            clopos_auth_get_state(client, out IntPtr state, out IntPtr error); // fails if the client is closed
            clopos_auth_error_free(error);
            try
            {
                return state != IntPtr.Zero && Marshal.PtrToStructure<StateLayout>(state).RequestInFlight != 0;
            }
            finally
            {
                clopos_auth_state_free(state);
            }
        }

        /// <summary>Converts milliseconds; null for a negative number.</summary>
        private static TimeSpan? Time(long milliseconds) =>
            milliseconds < 0 ? (TimeSpan?)null : new TimeSpan(milliseconds * TimeSpan.TicksPerMillisecond);

        /// <summary>Sets the callbacks; <paramref name="user"/> is a GCHandle of a <see cref="Callbacks"/>. Without a level
        /// there are no log lines.</summary>
        internal static void SetCallbacks(ConfigHandle config, CloposLogLevel? level, GCHandle user)
        {
            IntPtr address = GCHandle.ToIntPtr(user);
            Check(clopos_auth_config_set_on_change(config, OnChange, address, out IntPtr error), error);
            if (level is CloposLogLevel least)
            {
                Check(clopos_auth_config_set_log(config, least, OnLogLine, address, out error), error);
            }
        }

        private static void LogLine(int level, IntPtr line, IntPtr user)
        {
            try
            {
                ((Callbacks)GCHandle.FromIntPtr(user).Target).LogLine((CloposLogLevel)level, Text(line) ?? "");
            }
            catch (Exception)
            {
                // An exception must not enter native code.
            }
        }

        private static void Changed(int status, IntPtr user)
        {
            try
            {
                ((Callbacks)GCHandle.FromIntPtr(user).Target).Changed((CloposAuthStatus)status);
            }
            catch (Exception)
            {
                // As above.
            }
        }

        private static unsafe string Text(IntPtr address, int length) =>
            Encoding.UTF8.GetString((byte*)address, length);

        [DllImport("kernel32", CharSet = CharSet.Unicode, ExactSpelling = true)]
        private static extern IntPtr LoadLibraryW(string path);

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
        private static extern CloposAuthStatus clopos_auth_config_set_on_change(
            ConfigHandle config, ChangeFunction onChange, IntPtr user, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_client_new(
            NativeText clientId, NativeText clientSecret, NativeText brand, NativeText integratorId,
            ConfigHandle config, out ClientHandle client, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void clopos_auth_client_free(IntPtr client);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_authenticate(
            IntPtr client, uint timeoutMs, out IntPtr token, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_get_token(
            IntPtr client, uint timeoutMs, out IntPtr token, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_invalidate(IntPtr client, NativeText rejected);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern CloposAuthStatus clopos_auth_cancel(IntPtr client);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern unsafe ulong clopos_auth_current(IntPtr client, long* expiresIn);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        private static extern CloposAuthStatus clopos_auth_get_state(
            IntPtr client, out IntPtr state, out IntPtr error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        private static extern void clopos_auth_state_free(IntPtr state);

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
            public ulong Serial;
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
            public int Reason;
        }

        [StructLayout(LayoutKind.Sequential)]
        private struct StateLayout
        {
            public int HasToken;
            public int IsFresh;
            public int RequestInFlight;
            public long ExpiresInMs;
            public long RefreshInMs;
            public long NextRequestInMs;
            public int LastStatus;
            public int LastHttpStatus;
            public long LastResultAgeMs;
            public ulong Requests;
            public ulong Failures;
            public IntPtr LastMessage;
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

    /// <summary>A clopos_auth_client and its callbacks.</summary>
    internal sealed class ClientHandle : SafeHandleZeroOrMinusOneIsInvalid
    {
        /// <summary>The clients that are not freed, by their handles.</summary>
        private static readonly ConcurrentDictionary<IntPtr, bool> Open =
            new ConcurrentDictionary<IntPtr, bool>();

        private GCHandle callbacks;

        static ClientHandle()
        {
            // The library must not call into a runtime that shuts down: Mono would wait for that call indefinitely.
            AppDomain.CurrentDomain.ProcessExit += (_, arguments) => FreeAll();
            AppDomain.CurrentDomain.DomainUnload += (_, arguments) => FreeAll();
        }

        private ClientHandle()
            : base(true)
        {
        }

        /// <summary>The handle of the library.</summary>
        internal IntPtr Key => handle;

        /// <summary>Takes ownership of the callbacks. They are freed after the client: until then the library may call
        /// them.</summary>
        internal void Own(GCHandle callbacks)
        {
            this.callbacks = callbacks;
            Open[handle] = true;
        }

        /// <summary>Frees the client. Afterwards no callback runs on another thread, whichever thread freed it
        /// first.</summary>
        internal void Free()
        {
            Native.clopos_auth_client_free(handle);
            Dispose();
        }

        protected override bool ReleaseHandle()
        {
            Native.clopos_auth_client_free(handle);
            if (callbacks.IsAllocated)
            {
                Open.TryRemove(handle, out _);
                callbacks.Free();
            }
            return true;
        }

        private static void FreeAll()
        {
            foreach (IntPtr client in Open.Keys)
            {
                Native.clopos_auth_client_free(client);
            }
        }
    }
}
