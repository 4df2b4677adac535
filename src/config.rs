//! Who signs in, and how: the credentials and the settings of a client, checked when they are set.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};
use ureq::http::Uri;
use ureq::http::uri::Scheme;

use crate::clock::Clock;
use crate::connect::{ProxyUrl, proxy_from_environment};
use crate::secret::Secret;
use crate::{Error, Status};

/// Where the service is, unless a [`Config`] says otherwise.
pub const DEFAULT_BASE_URL: &str = "https://integrations.clopos.com";
/// The path of the sign-in, unless a [`Config`] sets another one.
pub const DEFAULT_AUTH_PATH: &str = "/open-api/v2/auth";

const MAX_CREDENTIAL_BYTES: usize = 1024;
pub(crate) const MAX_URL_BYTES: usize = 2048;
const MAX_AUTH_PATH_BYTES: usize = 256;
const MAX_USER_AGENT_BYTES: usize = 256;
pub(crate) const MAX_PEM_BYTES: usize = 1024 * 1024;

/// The four texts that the service knows an integration by.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) client_id: Secret,
    pub(crate) client_secret: Secret,
    pub(crate) brand: Secret,
    pub(crate) integrator_id: Secret,
}

impl Credentials {
    /// Copies the four texts. Each is 1 to 1024 bytes without control characters.
    pub fn new(
        client_id: &str,
        client_secret: &str,
        brand: &str,
        integrator_id: &str,
    ) -> Result<Credentials, Error> {
        crate::planted_panic(client_id, "panic in the call");
        let check = |name: &str, text: &str| {
            check_text(name, text, MAX_CREDENTIAL_BYTES)?;
            Ok(Secret::new(text))
        };
        Ok(Credentials {
            client_id: check("client_id", client_id)?,
            client_secret: check("client_secret", client_secret)?,
            brand: check("brand", brand)?,
            integrator_id: check("integrator_id", integrator_id)?,
        })
    }

    /// The names of the values that begin or end with a blank or a quote, as they do when too much was
    /// copied. They are sent as they are all the same: nothing says that the service issues no such value.
    pub(crate) fn copied_with_too_much(&self) -> impl Iterator<Item = &'static str> {
        [
            ("client_id", &self.client_id),
            ("client_secret", &self.client_secret),
            ("brand", &self.brand),
            ("integrator_id", &self.integrator_id),
        ]
        .into_iter()
        .filter(|(_, value)| {
            let value = value.expose();
            value.starts_with(is_blank_or_quote) || value.ends_with(is_blank_or_quote)
        })
        .map(|(name, _)| name)
    }
}

/// Blanks include the ones without a width, which web pages and byte order marks bring along; quotes
/// include those that word processors make of the plain ones.
fn is_blank_or_quote(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}')
        || matches!(c, '"' | '\'' | '`' | '\u{B4}' | '\u{AB}' | '\u{BB}')
        || matches!(c, '\u{2018}'..='\u{201F}' | '\u{2039}' | '\u{203A}')
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// Which root certificates are trusted, beside those that are added.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Mozilla's, compiled into the library. The default: needs no file and no up-to-date system.
    #[default]
    Bundled = 0,
    /// The system's certificate store, read when the first request is made.
    System = 1,
    /// None: only what is added. With a private CA added, this is pinning to it.
    None = 2,
}

/// How important a log line is: the smaller, the more.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Somebody has to do something: credentials refused, certificate not trusted, clock wrong.
    Error = 1,
    /// An attempt failed and the library goes on by itself, or a credential begins or ends with a blank or
    /// a quote.
    Warn = 2,
    /// A token was obtained, or invalidated by the caller.
    Info = 3,
    /// Every attempt and every wait.
    Debug = 4,
}

impl Roots {
    pub(crate) fn from_number(number: i32) -> Result<Roots, Error> {
        [Roots::Bundled, Roots::System, Roots::None]
            .into_iter()
            .find(|&roots| roots as i32 == number)
            .ok_or_else(|| {
                Error::invalid_argument(format!(
                    "roots is {number}, not a CLOPOS_AUTH_ROOTS number"
                ))
            })
    }
}

impl LogLevel {
    pub(crate) fn from_number(number: i32) -> Result<LogLevel, Error> {
        [
            LogLevel::Error,
            LogLevel::Warn,
            LogLevel::Info,
            LogLevel::Debug,
        ]
        .into_iter()
        .find(|&level| level as i32 == number)
        .ok_or_else(|| {
            Error::invalid_argument(format!("level is {number}, not a CLOPOS_AUTH_LOG number"))
        })
    }
}

/// What receives log lines.
pub(crate) type LogFunction = dyn Fn(LogLevel, &str) + Send + Sync;

/// What is told how each request ended.
pub(crate) type ChangeFunction = dyn Fn(Status) + Send + Sync;

/// Where connections go through.
#[derive(Clone, Debug, Default)]
pub(crate) enum ProxyChoice {
    /// What `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say when the client is made.
    #[default]
    Environment,
    None,
    Url(ProxyUrl),
}

/// What the network layer needs to know.
#[derive(Clone)]
pub(crate) struct Network {
    pub roots: Roots,
    /// Certificates that were added, already checked to be usable as roots.
    pub added: RootCertStore,
    pub proxy: ProxyChoice,
    /// Otherwise plain `http://` connects to loopback addresses only.
    pub allow_plain_http: bool,
    pub clock: Clock,
}

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

    /// How long a call may take in all, unless it says otherwise: 1 ms to 1 h, default 30 s.
    pub fn set_timeout(&mut self, timeout: Duration) -> Result<&mut Config, Error> {
        self.timeout = check_range("timeout_ms", timeout, 1, 3_600_000)?;
        Ok(self)
    }

    /// How long one attempt may take from name resolution to the last byte: 1 ms to 10 min,
    /// default 10 s (the service itself gives up on its upstream after 8 s).
    pub fn set_attempt_timeout(&mut self, timeout: Duration) -> Result<&mut Config, Error> {
        self.attempt_timeout = check_range("attempt_timeout_ms", timeout, 1, 600_000)?;
        Ok(self)
    }

    /// How many attempts one exchange may take: 1 to 10, default 3.
    pub fn set_max_attempts(&mut self, attempts: u32) -> Result<&mut Config, Error> {
        self.max_attempts = check_number("max_attempts", attempts, 1, 10)?;
        Ok(self)
    }

    /// The most requests that this client sends in any minute: 1 to 60, default 12. The service
    /// allows 60 a minute for all devices behind one public IP address together.
    pub fn set_requests_per_minute(&mut self, requests: u32) -> Result<&mut Config, Error> {
        self.requests_per_minute = check_number("requests_per_minute", requests, 1, 60)?;
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
        let mut roots = RootCertStore::empty();
        for certificate in parse_ca_pem(pem)? {
            roots.add(certificate).map_err(|_| {
                Error::invalid_argument(
                    "pem: a certificate in it is damaged or not X.509, and cannot be used as a root",
                )
            })?;
        }
        self.network.added.extend(roots.roots);
        Ok(self)
    }

    /// `environment` (the default: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), `none`, or
    /// `http://[USER[:PASSWORD]@]HOST[:PORT]`.
    pub fn set_proxy(&mut self, proxy: &str) -> Result<&mut Config, Error> {
        self.network.proxy = match proxy {
            "environment" => ProxyChoice::Environment,
            "none" => ProxyChoice::None,
            url => {
                check_text("proxy", url, MAX_URL_BYTES)?;
                ProxyChoice::Url(ProxyUrl::parse(url).map_err(|problem| {
                    Error::invalid_argument(format!(
                        "proxy: {problem}; expected \"environment\", \"none\" or \
                         \"http://[USER:PASSWORD@]HOST:PORT\""
                    ))
                })?)
            }
        };
        Ok(self)
    }

    /// Names the host program in the `User-Agent` header, before this library's own
    /// `libclopos_auth/VERSION`: 1 to 256 printable ASCII characters.
    pub fn set_user_agent(&mut self, product: &str) -> Result<&mut Config, Error> {
        check_text("user_agent", product, MAX_USER_AGENT_BYTES)?;
        if !product.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(Error::invalid_argument(
                "user_agent: only printable ASCII can go into a header",
            ));
        }
        self.user_agent = format!("{} {OWN_USER_AGENT}", product.trim()).into();
        Ok(self)
    }

    /// Permits `http://` to hosts other than this device. The secret then crosses the network
    /// readable by anybody: for test benches only.
    pub fn set_allow_plain_http(&mut self, allow: bool) -> &mut Config {
        self.network.allow_plain_http = allow;
        self
    }

    /// Sends lines up to `level` to `log`, which may be called from any thread. (For what the crates
    /// below this one write to a logger of the `log` crate, see [the crate's documentation](crate).)
    pub fn set_log(
        &mut self,
        level: LogLevel,
        log: impl Fn(LogLevel, &str) + Send + Sync + 'static,
    ) -> &mut Config {
        self.log = Some((level, Arc::new(log)));
        self
    }

    /// Switches logging off again.
    pub fn clear_log(&mut self) -> &mut Config {
        self.log = None;
        self
    }

    /// Calls `on_change` each time that a request has ended, and when a sign-in has to wait before it can
    /// send one: with [`Status::Ok`] when there is a new token, otherwise with the status of the last
    /// request, which failed. From any thread, with no lock held; the client's methods already give what is
    /// new. It may call the client, which does not wait then, and is not called after
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

    /// Lives by a test's clocks.
    #[doc(hidden)]
    pub fn set_clock(&mut self, clock: Clock) -> &mut Config {
        self.network.clock = clock;
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
        let host = self.base_url.host().unwrap_or_default();
        if self.base_url.scheme() == Some(&Scheme::HTTP)
            && !self.network.allow_plain_http
            && !is_loopback(host)
        {
            return Err(Error::invalid_argument(format!(
                "base_url: http:// would send the secret readable by anybody to {host}; use https://, \
                 or allow_plain_http on a test bench"
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

/// The rule for every text that a caller gives: not empty, not absurdly long, no control characters.
pub(crate) fn check_text(name: &str, text: &str, max_bytes: usize) -> Result<(), Error> {
    let problem = if text.is_empty() {
        "is empty".into()
    } else if text.len() > max_bytes {
        format!("has {} bytes, {max_bytes} at most are allowed", text.len())
    } else if text.chars().any(char::is_control) {
        "contains a control character (a line break at the end, perhaps)".into()
    } else {
        return Ok(());
    };
    Err(Error::invalid_argument(format!("{name} {problem}")))
}

fn check_number(name: &str, value: u32, min: u32, max: u32) -> Result<u32, Error> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(Error::invalid_argument(format!(
        "{name} is {value}, allowed is {min} to {max}"
    )))
}

fn check_range(name: &str, value: Duration, min_ms: u32, max_ms: u32) -> Result<Duration, Error> {
    let ms = u32::try_from(value.as_millis()).unwrap_or(u32::MAX);
    check_number(name, ms, min_ms, max_ms)?;
    Ok(value)
}

fn parse_base_url(url: &str) -> Result<Uri, Error> {
    check_text("base_url", url, MAX_URL_BYTES)?;
    let bad = |problem: &str| {
        Error::invalid_argument(format!(
            "base_url {problem}; expected https://HOST[:PORT][/PREFIX]"
        ))
    };
    // Not the parser's own words: they may repeat a password that was put into the URL.
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
    // The parser lets anything pass for a port, and takes what is not one for the scheme's.
    let port = authority.as_str().strip_prefix(authority.host());
    let port_is_usable = match port.and_then(|port| port.strip_prefix(':')) {
        Some(text) => !text.starts_with('+') && text.parse::<u16>().is_ok_and(|port| port != 0),
        None => port == Some(""),
    };
    if authority.host().is_empty() || !port_is_usable {
        return Err(bad("has no usable host and port"));
    }
    if uri.query().is_some() || url.contains('#') {
        return Err(bad("has a query or a fragment"));
    }
    Ok(uri)
}

/// A path as RFC 3986 writes it. It is added behind the host, so it cannot name another one; two slashes at
/// the beginning would name one where the path stands alone.
fn check_auth_path(path: &str) -> Result<(), Error> {
    check_text("auth_path", path, MAX_AUTH_PATH_BYTES)?;
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

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn parse_ca_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bad = |problem: &str| Error::invalid_argument(format!("pem: {problem}"));
    if pem.is_empty() {
        return Err(bad("is empty"));
    }
    if pem.len() > MAX_PEM_BYTES {
        return Err(bad("is larger than 1 MiB"));
    }
    // An ASN.1 SEQUENCE with a long length: what every DER certificate starts with.
    if pem.starts_with(&[0x30, 0x82]) {
        return Err(bad(
            "is DER (binary); convert it: openssl x509 -inform der -in FILE -out FILE.pem",
        ));
    }
    // Of any kind, locked or not, beside a certificate or alone.
    const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";
    if pem
        .windows(PRIVATE_KEY.len())
        .any(|bytes| bytes == PRIVATE_KEY)
    {
        return Err(bad(
            "contains a private key; pass only the CA's certificate",
        ));
    }
    // Windows editors put a byte order mark in front of a file, and files are joined. It would hide the
    // certificate behind it.
    const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let joined: Vec<u8>;
    let mut pem = pem;
    if pem.windows(3).any(|three| three == BYTE_ORDER_MARK) {
        // No other use of these bytes is part of a PEM block.
        joined = pem.iter().copied().filter(u8::is_ascii).collect();
        pem = &joined;
    }
    let begun = pem.windows(BEGIN.len()).filter(|&bytes| bytes == BEGIN);
    let begun = begun.count();
    let mut certificates = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        match section {
            Ok((SectionKind::Certificate, der)) => certificates.push(CertificateDer::from(der)),
            Ok(_) => {}
            Err(_) => return Err(bad("is damaged or cut off inside a block")),
        }
    }
    if certificates.is_empty() {
        return Err(bad(
            "contains no BEGIN CERTIFICATE block (the content of the file is expected, not its path)",
        ));
    }
    if certificates.len() != begun {
        return Err(bad(
            "has a BEGIN CERTIFICATE line with something else in front of it (blanks, perhaps)",
        ));
    }
    Ok(certificates)
}
