using System;
using System.Diagnostics;

namespace Clopos.Auth
{
    /// <summary>Which root certificates are trusted, in addition to those of
    /// <see cref="CloposAuthSettings.CaPem"/> and <see cref="CloposAuthSettings.CaFile"/>.</summary>
    public enum CloposRoots
    {
        /// <summary>Mozilla's, compiled into the library.</summary>
        Bundled = 0,

        /// <summary>The system's.</summary>
        System = 1,

        /// <summary>No others: this is pinning to them.</summary>
        None = 2,
    }

    /// <summary>How important a log line is.</summary>
    public enum CloposLogLevel
    {
        /// <summary>The operator has to act.</summary>
        Error = 1,

        /// <summary>An attempt failed; the library continues automatically.</summary>
        Warning = 2,

        /// <summary>A token was obtained or invalidated.</summary>
        Information = 3,

        /// <summary>Every attempt and every wait.</summary>
        Debug = 4,
    }

    /// <summary>The credentials and settings of a client. <c>clopos_auth.h</c> has the limits of each setting.</summary>
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
        /// <summary>Where the service is, unless <see cref="BaseUrl"/> says otherwise.</summary>
        public const string DefaultBaseUrl = "https://integrations.clopos.com";

        /// <summary>Settings without credentials, for configuration binding.</summary>
        public CloposAuthSettings()
            : this("", "", "", "")
        {
        }

        /// <summary>Settings for these credentials, as issued by Clopos.</summary>
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

        /// <summary>"https://HOST[:PORT][/PREFIX]".</summary>
        public string BaseUrl { get; set; } = DefaultBaseUrl;

        /// <summary>The path of the sign-in, after the base URL; null: "/open-api/v2/auth".</summary>
        public string? AuthPath { get; set; }

        /// <summary>The timeout of calls that specify none.</summary>
        public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(30);

        /// <summary>How long one attempt may take.</summary>
        public TimeSpan AttemptTimeout { get; set; } = TimeSpan.FromSeconds(10);

        /// <summary>How many attempts one exchange may take.</summary>
        public int MaxAttempts { get; set; } = 3;

        /// <summary>The most requests in any minute, whatever the callers do.</summary>
        public int RequestsPerMinute { get; set; } = 12;

        /// <summary>Which root certificates are trusted.</summary>
        public CloposRoots Roots { get; set; }

        /// <summary>More root certificates: the content of a PEM file.</summary>
        public byte[]? CaPem { get; set; }

        /// <summary>A PEM file with more root certificates, read when a client is made.</summary>
        public string? CaFile { get; set; }

        /// <summary>"environment", "none", or "http://[USER[:PASSWORD]@]HOST[:PORT]".</summary>
        public CloposSecret Proxy { get; set; } = "environment";

        /// <summary>Names the program: "MyTill/4.2".</summary>
        public string? UserAgent { get; set; }

        /// <summary>Permits "http://" to other hosts than this device: for test benches only.</summary>
        public bool AllowPlainHttp { get; set; }

        /// <summary>
        /// Receives the library's log lines, none of which holds a secret. Called from any thread, several
        /// at once; what it throws is dropped. Never called after
        /// <see cref="CloposAuthClient.Dispose"/> has returned. A request waits while it runs: inside it do
        /// not wait for one of the client's asynchronous calls (<c>GetTokenAsync().Result</c>), which may wait
        /// for that request; <see cref="CloposAuthClient.GetToken()"/> never waits there. The client
        /// keeps this delegate alive: if the delegate refers to the client, dispose the client, since it is
        /// never finalized.
        /// </summary>
        public Action<CloposLogLevel, string>? Log { get; set; }

        /// <summary>The least important level that <see cref="Log"/> receives.</summary>
        public CloposLogLevel LogLevel { get; set; } = CloposLogLevel.Information;
    }
}
