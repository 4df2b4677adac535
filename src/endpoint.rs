//! A host and a port, and what their texts mean. Pure.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;
use ureq::http::uri::Scheme;

/// A host (a name or a bare address) and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl Endpoint {
    /// Of a URL; without a port, its scheme's.
    pub fn of(uri: &Uri) -> Endpoint {
        let host = uri.host().unwrap_or_default();
        let is_http = uri.scheme() == Some(&Scheme::HTTP);
        Endpoint {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if is_http { 80 } else { 443 }),
        }
    }

    /// The host in the form in which names are compared: lower case, no dot at the end.
    pub fn name(&self) -> String {
        self.host.trim_end_matches('.').to_ascii_lowercase()
    }

    /// The address, if the host is one. An IPv4 address in the form of IPv6 is the IPv4 address.
    pub fn address(&self) -> Option<IpAddr> {
        let address = self.host.parse::<IpAddr>().ok()?;
        Some(address.to_canonical())
    }

    /// Whether the host is `localhost` or a loopback address. Other names may also resolve to this
    /// device.
    pub fn is_this_device(&self) -> bool {
        match self.address() {
            Some(address) => address.is_loopback(),
            None => self.name() == "localhost",
        }
    }

    /// `HOST:PORT (ADDRESS)`, or `HOST:PORT` if the address is the host or is not known.
    pub fn at(&self, address: Option<IpAddr>) -> String {
        with_address(&self.host, &self.to_string(), address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// `shown (address)`, or `shown` if the address is the host or is not known.
pub(crate) fn with_address(host: &str, shown: &str, address: Option<IpAddr>) -> String {
    match address {
        Some(address) if !host.contains(&address.to_string()) => format!("{shown} ({address})"),
        _ => shown.to_owned(),
    }
}

/// Parses a port: digits only, 1 to 65535.
pub(crate) fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok()?;
    (is_number && port != 0).then_some(port)
}
