namespace Clopos.Auth
{
    /// <summary>What a call came to. A newer library may give numbers that are not listed here.</summary>
    public enum CloposAuthStatus
    {
        /// <summary>The call succeeded.</summary>
        Ok = 0,

        /// <summary>A setting is empty, too long, out of range or not text; the message names it.</summary>
        InvalidArgument = 1,

        /// <summary>The client is closed. Arrives as an <see cref="System.ObjectDisposedException"/>.</summary>
        InvalidHandle = 2,

        /// <summary>Does not arise in .NET.</summary>
        BufferTooSmall = 3,

        /// <summary>A bug in the library, or memory ran out.</summary>
        Internal = 4,

        /// <summary>The call would have had to wait and was not to. A request has been started.</summary>
        WouldWait = 5,

        /// <summary>The client was closed, or <see cref="CloposAuthClient.Cancel"/> was called.</summary>
        Cancelled = 6,

        /// <summary>The time allowed for the call ran out.</summary>
        Timeout = 7,

        /// <summary>The name of the service or of the proxy could not be resolved.</summary>
        Dns = 8,

        /// <summary>No connection could be made, or it broke.</summary>
        Connect = 9,

        /// <summary>The server could not be trusted.</summary>
        Tls = 10,

        /// <summary>The server's certificate is not valid at this device's date, which is probably wrong.</summary>
        Clock = 11,

        /// <summary>The proxy is unreachable or refused.</summary>
        Proxy = 12,

        /// <summary>The service refused the credentials, or tokens that it had only just issued; the message
        /// says which. Somebody has to act.</summary>
        Rejected = 13,

        /// <summary>Too many requests.</summary>
        RateLimited = 14,

        /// <summary>The service failed. It usually recovers by itself.</summary>
        Server = 15,

        /// <summary>The answer was none of the service's: a captive portal's page, perhaps.</summary>
        Protocol = 16,
    }
}
