//! The settings of a client, validated by their setters.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use ureq::http::Uri;
use ureq::http::uri::Scheme;

use crate::callbacks::{ChangeFunction, LogFunction};
use crate::clock::Clock;
use crate::connect::{Network, OUTPUT_BYTES, ProxyChoice, ProxyUrl, proxy_from_environment};
use crate::endpoint::{self, Endpoint};
use crate::{Error, LogLevel, Roots, Status, check, roots};

/// Where the service is, unless a [`Config`] says otherwise.
pub const DEFAULT_BASE_URL: &str = "https://integrations.clopos.com";
/// The path of the sign-in, unless a [`Config`] sets another one.
pub const DEFAULT_AUTH_PATH: &str = "/open-api/v2/auth";

const MAX_URL_BYTES: usize = 2048;
const MAX_AUTH_PATH_BYTES: usize = 256;
// ureq writes the first line of the request in one piece.
const _: () = assert!(MAX_URL_BYTES + MAX_AUTH_PATH_BYTES + 64 <= OUTPUT_BYTES);
const MAX_USER_AGENT_BYTES: usize = 256;

/// The settings of a client. A client copies them: later changes do not reach it.
#[derive(Clone)]
pub struct Config {
    pub(crate) base_url: Uri,
    pub(crate) auth_path: Box<str>,
    pub(crate) timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) max_attempts: u32,
    pub(crate) requests_per_minute: u32,
    pub(crate) user_agent: Box<str>,
    pub(crate) network: Network,
    pub(crate) log: Option<(LogLevel, Arc<LogFunction>)>,
    pub(crate) on_change: Option<Arc<ChangeFunction>>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            base_url: Uri::from_static(DEFAULT_BASE_URL),
            auth_path: DEFAULT_AUTH_PATH.into(),
            timeout: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(10),
            max_attempts: 3,
            requests_per_minute: 12,
            user_agent: OWN_USER_AGENT.into(),
            network: Network {
                roots: Roots::default(),
                added: RootCertStore::empty(),
                proxy: ProxyChoice::default(),
                allow_plain_http: false,
                clock: Clock::System,
            },
            log: None,
            on_change: None,
        }
    }
}

const OWN_USER_AGENT: &str = concat!("libclopos_auth/", env!("CARGO_PKG_VERSION"));

impl Config {
    /// All defaults.
    pub fn new() -> Config {
        Config::default()
    }

    /// Where the service is: `https://HOST[:PORT][/PREFIX]`, to which the path of the sign-in is added.
    /// Whether plain `http://` is acceptable is decided when the client is made.
    pub fn set_base_url(&mut self, url: &str) -> Result<&mut Config, Error> {
        self.base_url = parse_base_url(url)?;
        Ok(self)
    }

    /// The path of the sign-in, after the base URL: 1 to 256 bytes, beginning with one `/`; default
    /// [`DEFAULT_AUTH_PATH`]. For a service that has moved the sign-in. Since 1.1.
    pub fn set_auth_path(&mut self, path: &str) -> Result<&mut Config, Error> {
        check_auth_path(path)?;
        self.auth_path = path.into();
        Ok(self)
    }

    /// The timeout of calls that specify none: 1 ms to 1 h, default 30 s.
    pub fn set_timeout(&mut self, timeout: Duration) -> Result<&mut Config, Error> {
        self.timeout = check::milliseconds("timeout_ms", timeout, 1, 3_600_000)?;
        Ok(self)
    }

    /// How long one attempt may take from name resolution to the last byte: 1 ms to 10 min,
    /// default 10 s (the service itself gives up on its upstream after 8 s).
    pub fn set_attempt_timeout(&mut self, timeout: Duration) -> Result<&mut Config, Error> {
        self.attempt_timeout = check::milliseconds("attempt_timeout_ms", timeout, 1, 600_000)?;
        Ok(self)
    }

    /// The maximum number of attempts of one sign-in: 1 to 10, default 3.
    pub fn set_max_attempts(&mut self, attempts: u32) -> Result<&mut Config, Error> {
        self.max_attempts = check::number("max_attempts", attempts, 1, 10)?;
        Ok(self)
    }

    /// The most requests of this client that can reach the service in any minute: 1 to 60, default 12.
    /// The service allows 60 a minute for all devices behind one public IP address together.
    pub fn set_requests_per_minute(&mut self, requests: u32) -> Result<&mut Config, Error> {
        self.requests_per_minute = check::number("requests_per_minute", requests, 1, 60)?;
        Ok(self)
    }

    /// Which root certificates to trust, default [`Roots::Bundled`].
    pub fn set_roots(&mut self, roots: Roots) -> &mut Config {
        self.network.roots = roots;
        self
    }

    /// Trusts the certificates in `pem` too: one or more `BEGIN CERTIFICATE` blocks, 1 MiB at most.
    /// A server cannot use a CA's certificate (`CA:TRUE`) as its own, even if it is added here:
    /// `openssl req -x509` makes such a one.
    pub fn add_ca_pem(&mut self, pem: &[u8]) -> Result<&mut Config, Error> {
        self.network.added.extend(roots::from_pem(pem)?.roots);
        Ok(self)
    }

    /// `environment` (the default: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, also in lower case; for plain
    /// http `http_proxy` instead of the first), `none`, or `http://[USER[:PASSWORD]@]HOST[:PORT]`.
    pub fn set_proxy(&mut self, proxy: &str) -> Result<&mut Config, Error> {
        self.network.proxy = match proxy {
            "environment" => ProxyChoice::Environment,
            "none" => ProxyChoice::None,
            url => {
                check::text("proxy", url, MAX_URL_BYTES)?;
                ProxyChoice::Url(ProxyUrl::parse(url).map_err(|problem| {
                    Error::invalid_argument(format!(
                        "proxy: {problem}; expected \"environment\", \"none\" or \
                         \"http://[USER[:PASSWORD]@]HOST[:PORT]\""
                    ))
                })?)
            }
        };
        Ok(self)
    }

    /// Names the host program in the `User-Agent` header, before this library's own
    /// `libclopos_auth/VERSION`: 1 to 256 printable ASCII characters.
    pub fn set_user_agent(&mut self, product: &str) -> Result<&mut Config, Error> {
        check::text("user_agent", product, MAX_USER_AGENT_BYTES)?;
        if !product.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(Error::invalid_argument(
                "user_agent has a character that is not printable ASCII",
            ));
        }
        self.user_agent = format!("{} {OWN_USER_AGENT}", product.trim()).into();
        Ok(self)
    }

    /// Permits `http://` to hosts other than this device. The client secret is then sent
    /// unencrypted: for testing only.
    pub fn set_allow_plain_http(&mut self, allow: bool) -> &mut Config {
        self.network.allow_plain_http = allow;
        self
    }

    /// Sends lines of `level` and of more severe ones to `log`, which may be called from any thread.
    /// (For what the crates below this one write to a logger of the `log` crate, see [the crate's
    /// documentation](crate).)
    pub fn set_log(
        &mut self,
        level: LogLevel,
        log: impl Fn(LogLevel, &str) + Send + Sync + 'static,
    ) -> &mut Config {
        self.log = Some((level, Arc::new(log)));
        self
    }

    /// Switches logging off.
    pub fn clear_log(&mut self) -> &mut Config {
        self.log = None;
        self
    }

    /// Calls `on_change` each time that an attempt has ended, unless the next one starts at once, and when a
    /// sign-in has to wait before its first request: with [`Status::Ok`] when there is a new token, otherwise
    /// with why the attempt failed or has to wait. From any thread, with no lock held; the client's methods
    /// already give what is new. It may call the client, which does not wait then, and is not called after
    /// [`crate::Client::close`] has returned. Since 1.1.
    pub fn set_on_change(
        &mut self,
        on_change: impl Fn(Status) + Send + Sync + 'static,
    ) -> &mut Config {
        self.on_change = Some(Arc::new(on_change));
        self
    }

    /// Calls nothing at a change. Since 1.1.
    pub fn clear_on_change(&mut self) -> &mut Config {
        self.on_change = None;
        self
    }

    /// The settings of a client that is made now: the proxy is the one that the environment names for
    /// this URL. A forked child does not read the environment again.
    pub(crate) fn with_proxy_of_environment(&self) -> Result<Config, Error> {
        let mut config = self.clone();
        if let ProxyChoice::Environment = config.network.proxy {
            config.network.proxy = match proxy_from_environment(&config.base_url)? {
                Some(proxy) => ProxyChoice::Url(proxy),
                None => ProxyChoice::None,
            };
        }
        Ok(config)
    }

    /// The URL that the request goes to, if the settings permit it.
    pub(crate) fn auth_url(&self) -> Result<Uri, Error> {
        if self.base_url.scheme() == Some(&Scheme::HTTP)
            && !self.network.allow_plain_http
            && !Endpoint::of(&self.base_url).is_this_device()
        {
            let host = self.base_url.host().unwrap_or_default();
            return Err(Error::invalid_argument(format!(
                "base_url: http:// would send the client secret unencrypted to {host}; use \
                 https://, or set allow_plain_http for testing"
            )));
        }
        let base = self.base_url.to_string();
        format!("{}{}", base.trim_end_matches('/'), self.auth_path)
            .parse()
            .map_err(|error| Error::invalid_argument(format!("base_url: {error}")))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("base_url", &self.base_url)
            .field("auth_path", &self.auth_path)
            .field("timeout", &self.timeout)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("max_attempts", &self.max_attempts)
            .field("requests_per_minute", &self.requests_per_minute)
            .field("roots", &self.network.roots)
            .field("added_roots", &self.network.added.len())
            .field("proxy", &self.network.proxy)
            .finish_non_exhaustive()
    }
}

fn parse_base_url(url: &str) -> Result<Uri, Error> {
    check::text("base_url", url, MAX_URL_BYTES)?;
    let bad = |problem: &str| {
        Error::invalid_argument(format!(
            "base_url {problem}; expected https://HOST[:PORT][/PREFIX]"
        ))
    };
    // Not the parser's message: it may repeat a password in the URL.
    let uri: Uri = url.parse().map_err(|_| bad("is not a URL"))?;
    let authority = match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) if *scheme == Scheme::HTTPS || *scheme == Scheme::HTTP => {
            authority
        }
        _ => return Err(bad("does not start with https://")),
    };
    if authority.as_str().contains('@') {
        return Err(bad("contains a user name or password"));
    }
    // The parser accepts an invalid port and then uses the scheme's.
    let port = authority.as_str().strip_prefix(authority.host());
    let port_is_usable = match port.and_then(|port| port.strip_prefix(':')) {
        Some(text) => endpoint::port(text).is_some(),
        None => port == Some(""),
    };
    if authority.host().is_empty() || !port_is_usable {
        return Err(bad("has no valid host or port"));
    }
    if uri.query().is_some() || url.contains('#') {
        return Err(bad("has a query or a fragment"));
    }
    Ok(uri)
}

/// A path as in RFC 3986. It is added after the host, so it cannot name another one. Two slashes
/// at its beginning would, if a path were used without a host.
fn check_auth_path(path: &str) -> Result<(), Error> {
    check::text("auth_path", path, MAX_AUTH_PATH_BYTES)?;
    let is_in_path = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&b);
    let is_escape = |after: &str| {
        let mut digits = after.bytes().map(|b| b.is_ascii_hexdigit());
        digits.next() == Some(true) && digits.next() == Some(true)
    };
    let problem = if !path.starts_with('/') || path.starts_with("//") {
        "does not begin with one \"/\""
    } else if path.contains(['?', '#']) {
        "has a query or a fragment"
    } else if !path.bytes().all(is_in_path) || !path.split('%').skip(1).all(is_escape) {
        "has a character that must be percent-encoded in a path"
    } else {
        return Ok(());
    };
    Err(Error::invalid_argument(format!(
        "auth_path {problem}; expected a path such as \"{DEFAULT_AUTH_PATH}\""
    )))
}
