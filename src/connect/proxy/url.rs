//! The URL of a proxy. It may hold a password.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::endpoint::{self, Endpoint};
use crate::secret::Secret;

/// `[http://][USER[:PASSWORD]@]HOST[:PORT]`; the port is 80 unless given.
#[derive(Clone)]
pub(crate) struct ProxyUrl {
    pub(super) endpoint: Endpoint,
    /// `USER:PASSWORD` in base64, as it goes into the header.
    pub(super) credentials: Option<Secret>,
}

impl ProxyUrl {
    /// The error repeats nothing of the input, which may contain a password.
    pub(crate) fn parse(url: &str) -> Result<ProxyUrl, &'static str> {
        let rest = match url.split_once("://") {
            None => url,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err("https:// proxies are not supported");
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
            return Err("unexpected text after the port (write / as %2F in a password)");
        }
        let (host, port) = match host_port.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("a ] is missing")?;
                if !host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
                    return Err("the text in [ ] is not an IPv6 address");
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
            return Err("the host is missing or contains invalid characters");
        }
        Ok(ProxyUrl {
            endpoint: Endpoint {
                host: host.to_owned(),
                port,
            },
            credentials: user_info.map(basic_credentials),
        })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

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

/// `USER[:PASSWORD]`, percent-encoded, as the base64 of `USER:PASSWORD`. A `%` that does not begin
/// an escape is kept, as in curl.
fn basic_credentials(user_info: &str) -> Secret {
    // Both buffers are wiped and not reallocated.
    let mut plain = Zeroizing::new(Vec::with_capacity(user_info.len() + 1));
    plain.extend(percent_decode_str(user_info));
    if !user_info.contains(':') {
        plain.push(b':');
    }
    let mut coded = Zeroizing::new(vec![0; plain.len().div_ceil(3) * 4]);
    STANDARD
        .encode_slice(&*plain, &mut coded)
        .expect("base64 makes four bytes of three");
    Secret::new(str::from_utf8(&coded).expect("base64 is ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_and_the_port_of_a_proxy_url_are_optional() {
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
            let expected = credentials.map(|plain| Secret::new(&STANDARD.encode(plain)));
            assert!(proxy.credentials == expected, "{url}");
        }
    }

    #[test]
    fn an_invalid_proxy_url_is_refused_without_repeating_its_password() {
        for (url, part) in [
            ("", "host"),
            ("http://", "host"),
            ("https://proxy:3128", "https://"),
            ("socks5://user:hunter2@proxy:1080", "SOCKS"),
            ("SOCKS5h://proxy:1080", "SOCKS"),
            ("socks4a://proxy", "SOCKS"),
            ("ftp://hunter2@proxy", "scheme"),
            ("file:///etc/proxy.pac", "scheme"),
            ("http//proxy:3128", "after the port"),
            ("http://proxy:3128?x", "after the port"),
            (" ", "host"),
            ("http://:3128", "host"),
            ("http://u:hunter2@", "host"),
            ("http://proxy:-1", "65535"),
            ("http://proxy:port", "65535"),
            ("http://proxy:3128/hunter2", "after the port"),
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
            assert!(problem.contains(part), "{url}: {problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
