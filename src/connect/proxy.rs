//! HTTP proxies: which one a connection goes through, and passing it with CONNECT.
//!
//! The environment is read once, when the client is made, and follows curl and Go: the names of the
//! variables, `http_proxy` in lower case only (a CGI program's `HTTP_PROXY` is the client's word),
//! and, as in Go, never a proxy to this device itself. A proxy that was given explicitly is used
//! for everything; `NO_PROXY` belongs to the environment.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::Write;
use std::net::IpAddr;

use ureq::http::uri::Scheme;
use ureq::http::{StatusCode, Uri};
use zeroize::Zeroizing;

use crate::endpoint::{self, Endpoint};
use crate::secret::{Secret, SecretBuffer};
use crate::{Error, Status};

use super::deadline::Deadline;
use super::socket::Socket;
use super::system_error;

/// The most that a proxy may say before it is no longer listened to.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// `[http://][USER[:PASSWORD]@]HOST[:PORT]`; the port is 80 unless given.
#[derive(Clone)]
pub(crate) struct ProxyUrl {
    endpoint: Endpoint,
    /// `USER:PASSWORD` in base64, as it goes into the header.
    credentials: Option<Secret>,
}

impl ProxyUrl {
    /// The error says what is wrong and repeats nothing of the input, which may hold a password.
    pub(crate) fn parse(url: &str) -> Result<ProxyUrl, &'static str> {
        let rest = match url.split_once("://") {
            None => url,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err("proxies that speak TLS themselves (https://) are not supported");
            }
            Some((scheme, _)) if scheme.to_ascii_lowercase().starts_with("socks") => {
                return Err("SOCKS proxies are not supported");
            }
            Some(_) => return Err("the scheme is not http://"),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (user_info, host_port) = match authority.rsplit_once('@') {
            Some((user_info, host_port)) => (Some(user_info), host_port),
            None => (None, authority),
        };
        if host_port.contains(['/', '?', '#']) {
            return Err("there is something behind the port (write / as %2F in a password)");
        }
        let (host, port) = match host_port.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("a ] is missing")?;
                if !host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
                    return Err("there is no IPv6 address between [ and ]");
                }
                (host, port)
            }
            None => host_port.split_at(host_port.find(':').unwrap_or(host_port.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => Some(80),
            Some(port) => endpoint::port(port),
            None => None,
        };
        let port = port.ok_or("the port is not a number from 1 to 65535")?;
        let in_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        if host.is_empty() || !host.bytes().all(in_a_name) {
            return Err("the host is missing or has characters that no host name has");
        }
        Ok(ProxyUrl {
            endpoint: Endpoint {
                host: host.to_owned(),
                port,
            },
            credentials: user_info.map(basic_credentials),
        })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks the proxy at the other end of `socket` for a tunnel to `target`.
    pub(super) fn tunnel(
        &self,
        socket: &mut Socket,
        target: &Endpoint,
        user_agent: &str,
        deadline: &Deadline,
    ) -> Result<(), ureq::Error> {
        let address = socket.address;
        let failure = |problem: &str| self.error(Some(address), problem);
        let broken = |error| match error {
            ureq::Error::Timeout(_) => {
                failure(&format!("did not answer within {}", deadline.allowed()))
            }
            ureq::Error::Io(error) => failure(&format!(
                "broke the connection: {}",
                system_error::reason(&error)
            )),
            _ => failure("broke the connection"),
        };
        self.ask(socket, target, user_agent, deadline)
            .map_err(broken)?;

        let mut head = Vec::new();
        let mut chunk = [0; 1024];
        let length = loop {
            let amount = socket.read(&mut chunk, deadline).map_err(broken)?;
            if amount == 0 {
                return Err(failure("closed the connection without an answer").into());
            }
            head.extend_from_slice(&chunk[..amount]);
            // What is only informational (1xx) is followed by the answer.
            while let Some(length) = head_length(&head)
                && matches!(status_code(&head), Some(100..200))
            {
                head.drain(..length);
            }
            if let Some(length) = head_length(&head) {
                break length;
            }
            if head.len() > MAX_HEAD_BYTES || !b"HTTP/1.".starts_with(&head[..head.len().min(7)]) {
                return Err(failure(NOT_A_PROXY).into());
            }
        };
        match status_code(&head) {
            None => Err(failure(NOT_A_PROXY).into()),
            Some(200..300) if length == head.len() => Ok(()),
            // Neither TLS nor HTTP lets the server speak first.
            Some(200..300) => Err(failure(NOT_A_PROXY).into()),
            Some(code) => Err(self.refusal(code, &head, target).into()),
        }
    }

    fn ask(
        &self,
        socket: &mut Socket,
        target: &Endpoint,
        user_agent: &str,
        deadline: &Deadline,
    ) -> Result<(), ureq::Error> {
        let secret = self.credentials.as_ref().map_or("", Secret::expose);
        let capacity = 160 + 2 * target.host.len() + user_agent.len() + secret.len();
        let mut request = SecretBuffer::with_capacity(capacity);
        write!(request, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n")?;
        write!(request, "User-Agent: {user_agent}\r\n")?;
        if self.credentials.is_some() {
            write!(request, "Proxy-Authorization: Basic {secret}\r\n")?;
        }
        request.write_all(b"\r\n")?;
        socket.write_all(request.as_slice(), deadline)
    }

    fn error(&self, address: Option<IpAddr>, problem: &str) -> Error {
        let proxy = self.endpoint.at(address);
        Error::new(Status::Proxy, format!("the proxy {proxy} {problem}"))
    }

    fn refusal(&self, code: u16, head: &[u8], target: &Endpoint) -> Error {
        let reason = StatusCode::from_u16(code)
            .ok()
            .and_then(|code| code.canonical_reason())
            .unwrap_or("");
        let offered = offered_schemes(head);
        let speaks_basic = offered.iter().any(|s| s.eq_ignore_ascii_case("basic"));
        let hint = match code {
            407 if !offered.is_empty() && !speaks_basic => &*format!(
                ": it asks for a login by {}, and this library speaks only Basic",
                offered.join(" or ")
            ),
            // 401 is what tinyproxy answers to a wrong password.
            401 | 407 if self.credentials.is_some() => {
                ": it does not accept the user name and password"
            }
            407 => ": it asks for a user name and password",
            403 => ": it does not allow this host",
            429 => ": it got too many requests",
            500 | 502..=504 => ": it could not reach this host",
            _ => "",
        };
        let problem = format!("refused to connect to {target} ({code} {reason}){hint}");
        Error {
            http_status: Some(code),
            ..self.error(None, &problem)
        }
    }
}

const NOT_A_PROXY: &str = "did not answer like an HTTP proxy";

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = if self.credentials.is_some() {
            "***@"
        } else {
            ""
        };
        write!(f, "http://{credentials}{}", self.endpoint)
    }
}

/// The length of the head with the empty line that ends it. Lines may end in a bare LF, as RFC 9112
/// recommends to accept.
fn head_length(bytes: &[u8]) -> Option<usize> {
    (1..bytes.len())
        .filter(|&at| bytes[at] == b'\n')
        .find(|&at| matches!(bytes[..at], [.., b'\n'] | [.., b'\n', b'\r']))
        .map(|at| at + 1)
}

/// The authentication schemes that the header lines `Proxy-Authenticate` begin with. They come from the
/// network: nothing but what a scheme's name is made of gets through.
fn offered_schemes(head: &[u8]) -> Vec<String> {
    const LISTED: usize = 4;
    let mut schemes: Vec<String> = Vec::new();
    for line in String::from_utf8_lossy(head).lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if !name.eq_ignore_ascii_case("proxy-authenticate") {
            continue;
        }
        // Several may be in one line, with parameters (`realm="..."`) between them.
        for part in value.split(',') {
            let scheme = part.split_whitespace().next().unwrap_or_default();
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let is_name = (1..20).contains(&scheme.len()) && scheme.chars().all(allowed);
            if is_name && schemes.len() < LISTED && !schemes.iter().any(|other| other == scheme) {
                schemes.push(scheme.to_owned());
            }
        }
    }
    schemes
}

/// The code of a status line like `HTTP/1.1 200 Connection established`.
fn status_code(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let digits = match rest {
        [_, b' ', digits @ ..] => digits.get(..3)?,
        _ => return None,
    };
    let code = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (100..600).contains(&code).then_some(code)
}

/// `USER[:PASSWORD]`, percent-encoded, as the base64 of `USER:PASSWORD`. A `%` that begins no
/// escape is taken as it stands, as curl does.
fn basic_credentials(user_info: &str) -> Secret {
    let mut plain = Zeroizing::new(Vec::with_capacity(user_info.len() + 1));
    let mut rest = user_info.as_bytes();
    while let [byte, tail @ ..] = rest {
        let hex = |byte: u8| char::from(byte).to_digit(16);
        let escaped = match tail {
            [high, low, ..] if *byte == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                plain.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            None => {
                plain.push(*byte);
                rest = tail;
            }
        }
    }
    if !user_info.contains(':') {
        plain.push(b':');
    }
    Secret::new(&base64(&plain))
}

fn base64(bytes: &[u8]) -> Zeroizing<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(3) * 4));
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            text.push(match digit <= chunk.len() {
                true => char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]),
                false => '=',
            });
        }
    }
    text
}

/// The proxy that the environment names for `url`, if any.
pub(crate) fn from_environment(url: &Uri) -> Result<Option<ProxyUrl>, Error> {
    choose(
        |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
        &Endpoint::of(url),
        url.scheme() == Some(&Scheme::HTTPS),
    )
}

/// The proxy that the variables of `get` name for `target`. A variable that does not apply to it may
/// be unusable.
fn choose(
    get: impl Fn(&str) -> Option<String>,
    target: &Endpoint,
    secure: bool,
) -> Result<Option<ProxyUrl>, Error> {
    let no_proxy = first_set(&get, &["NO_PROXY", "no_proxy"])
        .map_or_else(NoProxy::default, |(_, list)| NoProxy::parse(&list));
    if no_proxy.covers(target) {
        return Ok(None);
    }
    let names: &[_] = match secure {
        true => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        false => &["http_proxy", "ALL_PROXY", "all_proxy"],
    };
    let Some((name, url)) = first_set(&get, names) else {
        return Ok(None);
    };
    ProxyUrl::parse(url.trim())
        .map(Some)
        .map_err(|problem| Error {
            permanent: true,
            ..Error::new(
                Status::Proxy,
                format!("the environment's {name} is not usable: {problem}"),
            )
        })
}

/// The first of `names` that is set to something, and to what. It may hold a password.
fn first_set<'a>(
    get: impl Fn(&str) -> Option<String>,
    names: &[&'a str],
) -> Option<(&'a str, Zeroizing<String>)> {
    names.iter().find_map(|name| {
        let value = Zeroizing::new(get(name)?);
        (!value.trim().is_empty()).then_some((*name, value))
    })
}

/// `NO_PROXY`: hosts that are reached directly.
#[derive(Debug, Default)]
struct NoProxy(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    All,
    /// The first bits of an address.
    Network(IpAddr, u32),
    /// A name and everything below it.
    Domain(String),
}

impl NoProxy {
    /// Entries between commas or blanks; one that makes no sense covers nothing.
    fn parse(list: &str) -> NoProxy {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace());
        NoProxy(entries.filter_map(Rule::parse).collect())
    }

    fn covers(&self, target: &Endpoint) -> bool {
        let (name, address) = (target.name(), target.address());
        target.is_this_device()
            || self.0.iter().any(|rule| {
                rule.port.is_none_or(|port| port == target.port) && rule.hosts.cover(&name, address)
            })
    }
}

impl Rule {
    fn parse(entry: &str) -> Option<Rule> {
        let (hosts, port) = match (entry.strip_prefix('['), entry.rsplit_once(':')) {
            (Some(rest), _) => {
                let (host, port) = rest.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            // More than one colon: an IPv6 address without brackets.
            (None, Some((host, port))) if !host.contains(':') => (host, Some(port)),
            (None, _) => (entry, None),
        };
        Some(Rule {
            hosts: Hosts::parse(hosts)?,
            port: match port {
                Some(port) => Some(endpoint::port(port)?),
                None => None,
            },
        })
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Hosts> {
        if text == "*" {
            return Some(Hosts::All);
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits = bits.parse().ok()?;
            return (bits <= width(address)).then_some(Hosts::Network(address, bits));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = address.to_canonical();
            return Some(Hosts::Network(address, width(address)));
        }
        let name = text.strip_prefix('*').unwrap_or(text);
        let name = name.trim_start_matches('.').trim_end_matches('.');
        (!name.is_empty()).then(|| Hosts::Domain(name.to_ascii_lowercase()))
    }

    /// `host` is in lower case; `address` is what it is if it is no name.
    fn cover(&self, host: &str, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Hosts::All, _) => true,
            (Hosts::Network(network, bits), Some(address)) => {
                width(*network) == width(address)
                    && prefix(*network, *bits) == prefix(address, *bits)
            }
            (Hosts::Domain(domain), None) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            _ => false,
        }
    }
}

fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn prefix(address: IpAddr, bits: u32) -> u128 {
    let value = match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    value.checked_shr(width(address) - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::of(&format!("https://{text}").parse().unwrap())
    }

    #[test]
    fn a_proxy_url_is_read_as_people_write_it() {
        for (url, host_port, credentials) in [
            ("http://proxy.lan:3128", "proxy.lan:3128", None),
            ("HTTP://proxy.lan:3128/", "proxy.lan:3128", None),
            ("proxy.lan:8080", "proxy.lan:8080", None),
            ("proxy", "proxy:80", None),
            ("http://[::1]:3128", "[::1]:3128", None),
            ("[::1]", "[::1]:80", None),
            (
                "http://user:pass@10.0.0.1:1",
                "10.0.0.1:1",
                Some("user:pass"),
            ),
            ("http://user@proxy:1", "proxy:1", Some("user:")),
            ("http://:@proxy:1", "proxy:1", Some(":")),
            ("user:p@ss@proxy:1", "proxy:1", Some("user:p@ss")),
            ("http://u:%41%2f%zz%@proxy:1", "proxy:1", Some("u:A/%zz%")),
            ("http://u:%3A%3a@proxy:1", "proxy:1", Some("u:::")),
        ] {
            let proxy = ProxyUrl::parse(url).expect(url);
            assert_eq!(proxy.endpoint.to_string(), host_port);
            let expected = credentials.map(|plain| Secret::new(&base64(plain.as_bytes())));
            assert!(proxy.credentials == expected, "{url}");
        }
    }

    #[test]
    fn a_proxy_url_that_cannot_be_used_is_refused_without_repeating_it() {
        for (url, words) in [
            ("", "host"),
            ("http://", "host"),
            ("https://proxy:3128", "https://"),
            ("socks5://user:hunter2@proxy:1080", "SOCKS"),
            ("SOCKS5h://proxy:1080", "SOCKS"),
            ("socks4a://proxy", "SOCKS"),
            ("ftp://hunter2@proxy", "scheme"),
            ("file:///etc/proxy.pac", "scheme"),
            ("http//proxy:3128", "behind the port"),
            ("http://proxy:3128?x", "behind the port"),
            (" ", "host"),
            ("http://:3128", "host"),
            ("http://u:hunter2@", "host"),
            ("http://proxy:-1", "65535"),
            ("http://proxy:port", "65535"),
            ("http://proxy:3128/hunter2", "behind the port"),
            ("http://user:hunter2/x@proxy\r\nX:1", "host"),
            ("http://proxy:0", "65535"),
            ("http://proxy:65536", "65535"),
            ("http://proxy:", "65535"),
            ("http://proxy:+80", "65535"),
            ("http://hunter2:80:80", "65535"),
            ("http://[::1", "]"),
            ("http://[hunter2]:80", "IPv6"),
            ("http://[::1]80", "65535"),
            ("http://pro xy:80", "host"),
            ("http://pr\u{f6}xy:80", "host"),
        ] {
            let problem = ProxyUrl::parse(url).expect_err(url);
            assert!(problem.contains(words), "{url}: {problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("\u{fb}\u{ff}>?", "w7vDvz4/"),
        ] {
            assert_eq!(*base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn no_proxy_covers_what_it_usually_covers() {
        for (list, covered, not_covered) in [
            ("*", "a.b [::1]:9 10.0.0.1", ""),
            (
                "a.example",
                "a.example A.Example x.a.example a.example.",
                "ba.example example",
            ),
            (".a.example", "a.example x.a.example", "ba.example"),
            ("*.a.example", "a.example x.a.example", "ba.example"),
            ("A.EXAMPLE.", "a.example", "b.example"),
            (
                " a.example ,,b.example  c.example",
                "a.example b.example c.example",
                "d.example",
            ),
            (
                "a.example:8443",
                "a.example:8443 x.a.example:8443",
                "a.example a.example:443",
            ),
            ("a.example:443", "a.example", "a.example:8443"),
            (
                "10.0.0.1",
                "10.0.0.1 10.0.0.1:99",
                "10.0.0.11 x10.0.0.1.example",
            ),
            ("0.0.1", "a.0.0.1x.0.0.1", "10.0.0.1"),
            ("10.0.0.1:99", "10.0.0.1:99", "10.0.0.1"),
            (
                "10.0.0.0/8",
                "10.1.2.3 10.255.255.255",
                "11.0.0.0 10.example",
            ),
            ("10.0.0.0/0", "1.2.3.4", "[2001:db8::1] a.example"),
            ("10.0.0.0/33,10.0.0.0/x,/8", "", "10.0.0.0"),
            ("2001:db8::1", "[2001:db8::1]", "[2001:db8::2]"),
            ("[2001:db8::1]", "[2001:db8::1]:9", "[2001:db8::2]"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9", "[2001:db8::1]"),
            (
                "2001:db8::/32",
                "[2001:db8:ffff::1]",
                "[2001:db9::1] 32.1.13.184",
            ),
            ("a.example:x,:,[", "", "a.example"),
            // As in Go, this device itself never goes through the environment's proxy.
            (
                "",
                "localhost LOCALHOST 127.0.0.1 127.9.9.9 [::1]",
                "localhost.example 128.0.0.1",
            ),
        ] {
            let rules = NoProxy::parse(list);
            for target in covered.split_whitespace() {
                assert!(rules.covers(&endpoint(target)), "{list:?} covers {target}");
            }
            for target in not_covered.split_whitespace() {
                assert!(!rules.covers(&endpoint(target)), "{list:?} leaves {target}");
            }
        }
    }

    fn chosen(
        variables: &[(&str, &str)],
        target: &str,
        secure: bool,
    ) -> Result<Option<ProxyUrl>, Error> {
        let get = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name)?;
            Some(found.1.to_owned())
        };
        choose(get, &endpoint(target), secure)
    }

    #[test]
    fn the_environment_is_read_as_curl_and_go_do() {
        for (variables, https, http) in [
            (&[][..], "-", "-"),
            (&[("HTTPS_PROXY", "a:1")], "a:1", "-"),
            (&[("https_proxy", " a:1 ")], "a:1", "-"),
            (
                &[("HTTPS_PROXY", "a:1"), ("https_proxy", "b:1")],
                "a:1",
                "-",
            ),
            (&[("HTTPS_PROXY", ""), ("https_proxy", "b:1")], "b:1", "-"),
            (&[("ALL_PROXY", "a:1")], "a:1", "a:1"),
            (
                &[("all_proxy", "a:1"), ("https_proxy", "b:1")],
                "b:1",
                "a:1",
            ),
            (&[("http_proxy", "a:1")], "-", "a:1"),
            (&[("HTTP_PROXY", "a:1")], "-", "-"),
            (
                &[("ALL_PROXY", "a:1"), ("NO_PROXY", "b.example,c.example")],
                "-",
                "-",
            ),
            (&[("ALL_PROXY", "a:1"), ("no_proxy", ".example")], "-", "-"),
        ] {
            for (secure, expected) in [(true, https), (false, http)] {
                let chosen = chosen(variables, "c.example", secure).unwrap();
                let chosen = chosen.map_or("-".into(), |proxy| proxy.endpoint.to_string());
                assert_eq!(chosen, expected, "{variables:?}");
            }
        }
    }

    #[test]
    fn an_unusable_proxy_of_the_environment_fails_only_for_a_target_that_would_use_it() {
        let unusable = "socks5://u:hunter2@a:1";
        for (variables, target, secure, blamed) in [
            (
                &[("https_proxy", unusable)][..],
                "c.example",
                true,
                "https_proxy",
            ),
            (&[("ALL_PROXY", unusable)], "c.example", true, "ALL_PROXY"),
            (&[("ALL_PROXY", unusable)], "c.example", false, "ALL_PROXY"),
            (
                &[("http_proxy", unusable)],
                "c.example",
                false,
                "http_proxy",
            ),
            (&[("http_proxy", unusable)], "c.example", true, ""),
            (&[("https_proxy", unusable)], "c.example", false, ""),
            (&[("ALL_PROXY", unusable)], "localhost", true, ""),
            (&[("ALL_PROXY", unusable)], "127.0.0.1:8443", true, ""),
            (
                &[("ALL_PROXY", unusable), ("NO_PROXY", "c.example")],
                "c.example",
                true,
                "",
            ),
            (
                &[("ALL_PROXY", unusable), ("no_proxy", "*")],
                "c.example",
                true,
                "",
            ),
            (
                &[("ALL_PROXY", unusable), ("HTTPS_PROXY", "b:1")],
                "c.example",
                true,
                "",
            ),
        ] {
            match chosen(variables, target, secure) {
                Ok(_) => assert_eq!(blamed, "", "{variables:?}"),
                Err(error) => {
                    assert_eq!(error.status(), Status::Proxy);
                    assert!(!error.is_retryable(), "nothing changes by itself");
                    let text = error.message();
                    assert!(!blamed.is_empty() && text.contains(blamed), "{error}");
                    assert!(!text.contains("hunter2"), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_head_ends_with_an_empty_line_however_lines_end() {
        for (bytes, length) in [
            ("", None),
            ("\n", None),
            ("a\r\n", None),
            ("a\r\n\r", None),
            ("a\r\n\r\n", Some(5)),
            ("a\n\n", Some(3)),
            ("a\n\r\n", Some(4)),
            ("a\r\nb: c\r\n\r\nrest\r\n\r\n", Some(11)),
        ] {
            assert_eq!(head_length(bytes.as_bytes()), length, "{bytes:?}");
        }
    }

    #[test]
    fn only_a_status_line_has_a_status() {
        for (head, code) in [
            ("HTTP/1.1 200 OK", Some(200)),
            ("HTTP/1.0 407\r\n", Some(407)),
            ("HTTP/1.1 099 x", None),
            ("HTTP/1.1 20", None),
            ("HTTP/1.1  200", None),
            ("HTTP/1.1", None),
            ("HTTP/2 200 ok", None),
            ("", None),
        ] {
            assert_eq!(status_code(head.as_bytes()), code, "{head}");
        }
    }
}
