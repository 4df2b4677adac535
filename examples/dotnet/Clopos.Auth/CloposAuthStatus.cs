namespace Clopos.Auth
{
    /// <summary>The result of a call. A newer library may return a number that is not listed here: treat it as a
    /// failure.</summary>
    public enum CloposAuthStatus
    {
        /// <summary>The call succeeded.</summary>
        Ok = 0,

        /// <summary>A setting is empty, too long, out of range, or contains a control character; the message names it.</summary>
        InvalidArgument = 1,

        /// <summary>The client is disposed. Thrown as an <see cref="System.ObjectDisposedException"/>.</summary>
        InvalidHandle = 2,

        /// <summary>Does not occur in .NET.</summary>
        BufferTooSmall = 3,

        /// <summary>Out of memory, threads, handles or random numbers, or a bug in the library; the message says
        /// which.</summary>
        Internal = 4,

        /// <summary>The timeout was zero and there is no token yet. A sign-in is running: call again.</summary>
        WouldWait = 5,

        /// <summary><see cref="CloposAuthClient.Cancel"/> was called, or the client was disposed, while this call was
        /// waiting.</summary>
        Cancelled = 6,

        /// <summary>The call's timeout expired, or the service did not respond within the attempt timeout, or it answered
        /// HTTP 408.</summary>
        Timeout = 7,

        /// <summary>The host name of the service could not be resolved.</summary>
        Dns = 8,

        /// <summary>No connection could be made, or it broke before the response was complete.</summary>
        Connect = 9,

        /// <summary>The server's certificate is not trusted, or the server does not support TLS 1.2 or newer.</summary>
        Tls = 10,

        /// <summary>The server's certificate is not valid at this device's date. Usually the device's clock is wrong.</summary>
        Clock = 11,

        /// <summary>The proxy is unreachable, or it refused.</summary>
        Proxy = 12,

        /// <summary>The service refused the sign-in (see <see cref="CloposAuthException.Reason"/>): many attempts may lock
        /// the whole store out. Or it refuses the tokens that it issues; that ends by itself, so it is
        /// retryable.</summary>
        Rejected = 13,

        /// <summary>Too many requests: the service answered 429, or this client reached its
        /// <see cref="CloposAuthSettings.RequestsPerMinute"/>.</summary>
        RateLimited = 14,

        /// <summary>The service failed (HTTP 5xx). It usually recovers without any change here.</summary>
        Server = 15,

        /// <summary>The response is not one of the service, for example a captive portal's page; or the sign-in has
        /// moved.</summary>
        Protocol = 16,
    }
}
