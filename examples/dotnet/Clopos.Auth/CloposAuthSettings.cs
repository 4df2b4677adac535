using System;
using System.Diagnostics;

namespace Clopos.Auth
{
    /// <summary>Which root certificates are trusted, in addition to those of
    /// <see cref="CloposAuthSettings.CaPem"/> and <see cref="CloposAuthSettings.CaFile"/>.</summary>
    public enum CloposRoots
    {
        /// <summary>Mozilla's, compiled into the library. The default.</summary>
        Bundled = 0,

        /// <summary>The system's certificate store.</summary>
        System = 1,

        /// <summary>Only added certificates. With a private CA this is pinning.</summary>
        None = 2,
    }

    /// <summary>The severity of a log line; a lower number is more severe.</summary>
    public enum CloposLogLevel
    {
        /// <summary>An attempt failed and is not retried, or the service refuses the tokens that it issues.</summary>
        Error = 1,

        /// <summary>An attempt failed with a transient error, a refresh failed, or a credential begins or ends with a
        /// space or a quote.</summary>
        Warning = 2,

        /// <summary>A token was received, or invalidated by the caller.</summary>
        Information = 3,

        /// <summary>Every attempt and every wait.</summary>
        Debug = 4,
    }

    /// <summary>The credentials and settings of a client, which copies them. <c>clopos_auth.h</c> has the details of each
    /// setting.</summary>
    /// <example>
    /// From a configuration file, with log lines for an ILogger:
    /// <code>
    /// var settings = configuration.GetSection("Clopos").Get&lt;CloposAuthSettings>();
    /// settings.Log = (level, line) => logger.Log((LogLevel)(5 - (int)level), "{Line}", line);
    /// </code>
    /// </example>
    [DebuggerDisplay("{Brand} at {BaseUrl}")]
    public sealed class CloposAuthSettings
    {
        /// <summary>The default of <see cref="BaseUrl"/>.</summary>
        public const string DefaultBaseUrl = "https://integrations.clopos.com";

        /// <summary>Settings without credentials, for configuration binding.</summary>
        public CloposAuthSettings()
            : this("", "", "", "")
        {
        }

        /// <summary>Settings for these credentials. The first three are the store's: its back office shows clientId and
        /// clientSecret. integratorId is issued by Clopos.</summary>
        public CloposAuthSettings(string clientId, CloposSecret clientSecret, string brand, string integratorId)
        {
            ClientId = clientId;
            ClientSecret = clientSecret;
            Brand = brand;
            IntegratorId = integratorId;
        }

        /// <summary>The client id.</summary>
        public string ClientId { get; set; }

        /// <summary>The client secret.</summary>
        public CloposSecret ClientSecret { get; set; }

        /// <summary>The brand.</summary>
        public string Brand { get; set; }

        /// <summary>The integrator id.</summary>
        public string IntegratorId { get; set; }

        /// <summary>Where the service is: "https://HOST[:PORT][/PREFIX]".</summary>
        public string BaseUrl { get; set; } = DefaultBaseUrl;

        /// <summary>The path of the sign-in, which is added to <see cref="BaseUrl"/>. Null, the default:
        /// "/open-api/v2/auth".</summary>
        public string? AuthPath { get; set; }

        /// <summary>The timeout of calls that specify none: 1 ms to 1 h. Default: 30 s.</summary>
        public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(30);

        /// <summary>The timeout of one attempt: 1 ms to 10 min. Default: 10 s.</summary>
        public TimeSpan AttemptTimeout { get; set; } = TimeSpan.FromSeconds(10);

        /// <summary>The number of attempts of one sign-in, after which its callers get an error: 1 to 10. Default:
        /// 3.</summary>
        public int MaxAttempts { get; set; } = 3;

        /// <summary>The maximum number of requests of a client that can reach the service in any minute: 1 to 60. Default:
        /// 12.</summary>
        public int RequestsPerMinute { get; set; } = 12;

        /// <summary>The root certificates that are trusted in addition to added ones. Default:
        /// <see cref="CloposRoots.Bundled"/>.</summary>
        public CloposRoots Roots { get; set; }

        /// <summary>More root certificates: the content of a PEM file, 1 MiB at most.</summary>
        public byte[]? CaPem { get; set; }

        /// <summary>A PEM file with more root certificates, read when a client is made.</summary>
        public string? CaFile { get; set; }

        /// <summary>The proxy to use: "environment" (the default), "none", or
        /// "http://[USER[:PASSWORD]@]HOST[:PORT]".</summary>
        public CloposSecret Proxy { get; set; } = "environment";

        /// <summary>Names the program in the User-Agent header: 1 to 256 printable ASCII characters,
        /// "MyTill/4.2".</summary>
        public string? UserAgent { get; set; }

        /// <summary>Permits "http://" to other hosts than this device. The client secret is then sent unencrypted: for
        /// testing only.</summary>
        public bool AllowPlainHttp { get; set; }

        /// <summary>
        /// Receives the library's log lines, none of which contains a secret. Called on any thread, and on several at the
        /// same time, until <see cref="CloposAuthClient.Dispose"/> has returned. Its exceptions are ignored. A sign-in
        /// waits while it runs: inside it do not wait for a task of the same client (<c>GetTokenAsync().Result</c>),
        /// which may wait for that sign-in; <see cref="CloposAuthClient.GetToken()"/> does not wait there. It may
        /// dispose its own client, and no other. The client keeps this delegate alive: if the delegate refers to the
        /// client, the client is never finalized, so dispose it.
        /// </summary>
        public Action<CloposLogLevel, string>? Log { get; set; }

        /// <summary><see cref="Log"/> receives lines of this severity and higher. Default:
        /// <see cref="CloposLogLevel.Information"/>.</summary>
        public CloposLogLevel LogLevel { get; set; } = CloposLogLevel.Information;
    }
}
