//! Says why this device cannot sign in, and what to do about it: goes through what a sign-in needs, one
//! step after another, tells what it found and how long each took, and ends with one sentence. What a
//! technician runs in a store.
//!
//!     cargo run --example doctor
//!
//! Reads the same environment variables as `examples/c/login.c`: CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET,
//! CLOPOS_BRAND, CLOPOS_INTEGRATOR_ID, and CLOPOS_BASE_URL and CLOPOS_CA_FILE for the sandbox. It signs
//! in once, so run it as often as a till would. It shows no secret: its output can be sent around.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs};

use clopos_auth::{Client, Config, Credentials, DEFAULT_BASE_URL, Error, Roots, Status, Token};

/// How long one address may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long the sign-in may take.
const SIGN_IN_LIMIT: Duration = Duration::from_secs(15);
/// By how much the device's clock may differ from the server's.
const CLOCK_LIMIT_SECONDS: i64 = 60;

fn main() -> ExitCode {
    let (sentence, code) = match examine() {
        Ok(sentence) => (sentence, ExitCode::SUCCESS),
        Err(sentence) => (sentence, ExitCode::FAILURE),
    };
    println!("{sentence}");
    code
}

/// All steps; the sentence at the end, as an error where something has to be fixed.
fn examine() -> Result<String, String> {
    let start = Instant::now();
    let base_url = env::var("CLOPOS_BASE_URL").unwrap_or_else(|_| DEFAULT_BASE_URL.to_owned());
    let client = settings(&base_url).map_err(|problem| {
        step("settings", "failed", start, &problem);
        format!("To fix: correct the settings of this device ({problem}).")
    })?;
    let service = Place::of_url(&base_url);
    step(
        "settings",
        "ok",
        start,
        format_args!("the service is {base_url}"),
    );

    let proxy = proxy_of_environment();
    let silent = match &proxy {
        None => {
            step("proxy", "ok", Instant::now(), "none is set");
            probe(&service)
        }
        Some((variable, proxy)) => {
            let found = format_args!("{variable} names {proxy}, NO_PROXY may except hosts");
            step("proxy", "ok", Instant::now(), found);
            probe(proxy)
        }
    };

    let start = Instant::now();
    match client.authenticate(Some(SIGN_IN_LIMIT)) {
        Ok(token) => Ok(signed_in(start, &service, &token, silent)),
        Err(error) => {
            not_signed_in(start, &service, &error);
            let remedy = remedy(&error, &service, proxy.is_some());
            Err(format!("To fix: {remedy}."))
        }
    }
}

fn step(name: &str, result: &str, start: Instant, found: impl Display) {
    let ms = start.elapsed().as_millis();
    println!("{name:<9} {result:<7} {ms:>6} ms  {found}");
}

/// A client for this device's settings, or what is wrong with them.
fn settings(base_url: &str) -> Result<Client, String> {
    let variable = |name| env::var(name).map_err(|_| format!("{name} is not set"));
    let words = |error: Error| error.message().to_owned();
    let credentials = Credentials::new(
        &variable("CLOPOS_CLIENT_ID")?,
        &variable("CLOPOS_CLIENT_SECRET")?,
        &variable("CLOPOS_BRAND")?,
        &variable("CLOPOS_INTEGRATOR_ID")?,
    );
    let mut config = Config::new();
    config.set_base_url(base_url).map_err(words)?;
    // One answer is what is wanted here, not the best that can be had.
    config.set_max_attempts(1).map_err(words)?;
    if let Ok(path) = env::var("CLOPOS_CA_FILE") {
        let pem = fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
        config.add_ca_pem(&pem).map_err(words)?;
        config.set_roots(Roots::None);
    }
    Client::new(credentials.map_err(words)?, &config).map_err(words)
}

/// Something to connect to.
struct Place {
    host: String,
    port: u16,
    secure: bool,
}

impl Place {
    /// Of a URL that the library has accepted. A user name and a password are left out.
    fn of_url(url: &str) -> Place {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let rest = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (rest, None),
        };
        let secure = scheme.eq_ignore_ascii_case("https");
        let default = if secure { 443 } else { 80 };
        Place {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.unwrap_or(default),
            secure,
        }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} port {}", self.host, self.port)
    }
}

/// The variable that the library takes its proxy from, and the proxy.
fn proxy_of_environment() -> Option<(&'static str, Place)> {
    ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        .into_iter()
        .find_map(|name| {
            let url = env::var(name).ok().filter(|url| !url.trim().is_empty())?;
            Some((name, Place::of_url(url.trim())))
        })
}

/// Looks a place up and connects to each of its addresses; the first that did not answer, if others did.
fn probe(place: &Place) -> Option<IpAddr> {
    let start = Instant::now();
    let addresses: Vec<SocketAddr> = match (place.host.as_str(), place.port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            step(
                "dns",
                "failed",
                start,
                format_args!("{}: {error}", place.host),
            );
            step("connect", "-", Instant::now(), "not reached");
            return None;
        }
    };
    let list: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
    let found = format_args!("{} is {}", place.host, list.join(", "));
    step("dns", "ok", start, found);

    let mut silent = None;
    let mut reached = false;
    for address in addresses {
        let (ip, port) = (address.ip(), address.port());
        let start = Instant::now();
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(_) => {
                reached = true;
                step("connect", "ok", start, format_args!("{ip} port {port}"));
            }
            Err(error) => {
                silent.get_or_insert(ip);
                let found = format_args!("{ip} port {port}: {}", reason(&error));
                step("connect", "failed", start, found);
            }
        }
    }
    silent.filter(|_| reached)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        // Without the number, which says less than the words.
        _ => match error.to_string().split_once(" (os error") {
            Some((words, _)) => words.to_owned(),
            None => error.to_string(),
        },
    }
}

/// The step that an answer of the service's proves.
fn tls(start: Instant, service: &Place) {
    if service.secure {
        step("tls", "ok", start, "the server is who it should be");
    } else {
        step("tls", "-", start, "not used: the URL is http://");
    }
}

/// The rest of the steps, after a sign-in that went well.
fn signed_in(start: Instant, service: &Place, token: &Token, silent: Option<IpAddr>) -> String {
    tls(start, service);
    let here = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64);
    let lead = here - (token.expires_at() - token.expires_in().as_secs() as i64);
    let clock_is_off = lead.abs() > CLOCK_LIMIT_SECONDS;
    let (result, found) = match lead {
        _ if !clock_is_off => ("ok", "agrees with the server's".to_owned()),
        1.. => ("wrong", format!("{lead} s ahead of the server's")),
        _ => ("wrong", format!("{} s behind the server's", -lead)),
    };
    step("clock", result, Instant::now(), found);
    let seconds = token.expires_in().as_secs();
    step(
        "sign-in",
        "ok",
        start,
        format_args!("a token for {seconds} s"),
    );
    match silent {
        _ if clock_is_off => {
            "Signing in works, but set this device's date and time: they are wrong.".to_owned()
        }
        Some(address) => format!(
            "Signing in works, but {address} does not answer, which costs time: repair that route."
        ),
        None => "All is well: this device can sign in.".to_owned(),
    }
}

/// The rest of the steps, after a sign-in that failed.
fn not_signed_in(start: Instant, service: &Place, error: &Error) {
    let not_reached = |name| step(name, "-", Instant::now(), "not reached");
    match error.status() {
        Status::Tls => {
            step("tls", "failed", start, error);
            not_reached("clock");
            not_reached("sign-in");
        }
        Status::Clock => {
            tls(start, service);
            step("clock", "failed", Instant::now(), error);
            not_reached("sign-in");
        }
        Status::Dns | Status::Connect | Status::Proxy | Status::Timeout => {
            not_reached("tls");
            not_reached("clock");
            step("sign-in", "failed", start, error);
        }
        _ => {
            tls(start, service);
            let found = match service.secure {
                true => "good enough for the certificate",
                false => "no certificate asks for it",
            };
            step("clock", "ok", Instant::now(), found);
            step("sign-in", "failed", start, error);
        }
    }
}

fn remedy(error: &Error, service: &Place, has_proxy: bool) -> String {
    let host = &service.host;
    match (error.status(), error.http_status()) {
        (Status::Dns, _) => format!(
            "make {host} resolvable (is the network cable in, the Wi-Fi on, the DNS server right, \
             the name spelt right?)"
        ),
        (Status::Connect, _) => format!(
            "let this device reach {service} (a firewall, a wrong port, or the line itself is in \
             the way)"
        ),
        (Status::Proxy, Some(401 | 407)) => {
            "put the proxy's right user name and password into its URL".to_owned()
        }
        (Status::Proxy, Some(403)) => {
            format!("have whoever runs the proxy allow CONNECT to {service}")
        }
        (Status::Proxy, _) => {
            "correct the proxy's URL, or see to it that the proxy runs and reaches the internet"
                .to_owned()
        }
        (Status::Tls, _) => format!(
            "see to it that {host} is reached with nothing in between, or add the CA of what \
             stands in between (the line tls says what was seen)"
        ),
        (Status::Clock, _) => format!(
            "set this device's date and time; where they are right, have the certificate of {host} \
             renewed"
        ),
        (Status::Rejected, _) => "correct the client id, the client secret, the brand or the \
             integrator id, before trying again: many wrong tries may lock the store out"
            .to_owned(),
        (Status::RateLimited, _) => {
            let wait = error.retry_after().unwrap_or_default().as_secs() + 1;
            format!("wait {wait} s: this store's devices have asked too often")
        }
        (Status::Server, _) => {
            "nothing here; the service itself fails: try again later, or call Clopos".to_owned()
        }
        (Status::Protocol, _) => format!(
            "find out what answers in the place of {host}: a login page of this network, perhaps \
             (open any web site and look)"
        ),
        (Status::Timeout, _) if has_proxy => {
            "find out why the proxy or the line behind it passes nothing on".to_owned()
        }
        (Status::Timeout, _) => format!(
            "find out why the line to {service} is so slow, or what on the way swallows what is \
             sent"
        ),
        _ => format!("report this ({})", error.message()),
    }
}
