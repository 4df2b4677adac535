//! `NO_PROXY`: the hosts that are reached directly.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use crate::endpoint::{self, Endpoint};

#[derive(Debug, Default)]
pub(super) struct NoProxy(Vec<Rule>);

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
    /// Entries separated by commas or spaces; an invalid one covers nothing.
    pub(super) fn parse(list: &str) -> NoProxy {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace());
        NoProxy(entries.filter_map(Rule::parse).collect())
    }

    pub(super) fn covers(&self, target: &Endpoint) -> bool {
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

    /// `host` is in lower case; `address` is set if the host is an address.
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
    fn no_proxy_matches_hosts_domains_ports_addresses_and_networks() {
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
                assert!(
                    !rules.covers(&endpoint(target)),
                    "{list:?} does not cover {target}"
                );
            }
        }
    }
}
