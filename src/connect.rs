//! Connections: from a URL to a stream of bytes. The only user of `ureq::unversioned`.
//!
//! One connector performs all steps, because error messages depend on earlier steps: resolve the
//! name ([`resolve`]), connect to one of its addresses ([`race`]), pass the proxy ([`proxy`]), TLS
//! handshake ([`tls`]). ureq resolves the name before it looks for a kept connection; here its
//! resolver does nothing, so a kept connection costs no look-up.
//!
//! Without permission, plain `http://` connects only to loopback addresses, whatever the name is,
//! and uses no proxy, because a proxy would resolve the name itself.
//!
//! On Unix only a look-up starts a thread. Nothing here logs. Dropping a socket writes nothing to
//! it: after a `fork` it may be the parent's.
// As in the crate's root: `sys` could not override `forbid`.
#![deny(unsafe_code)]

mod addresses;
mod buffers;
mod crypto;
mod deadline;
mod head;
mod network;
mod plain;
mod proxy;
mod race;
mod resolve;
mod server_clock;
mod sessions;
mod socket;
#[cfg(unix)]
mod sys;
mod system_error;
#[cfg(test)]
mod tests;
mod tls;
mod tls_error;
mod verifier;

use std::fmt;
use std::sync::Arc;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Either, NextTimeout};

use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::{Error, Status};

use self::addresses::Addresses;
use self::deadline::Deadline;
use self::plain::Plain;
use self::resolve::{LookUp, LookUps};
use self::server_clock::ServerClock;
use self::socket::Socket;
use self::tls::{Tls, TlsSettings};

pub(crate) use self::buffers::OUTPUT_BYTES;
pub(crate) use self::network::{Network, ProxyChoice};
pub(crate) use self::proxy::{ProxyUrl, from_environment as proxy_from_environment};
pub(crate) use self::tls_error::problem as tls_problem;

/// An agent whose connections are made by this module, and what is known about them.
pub(crate) struct Connections {
    pub agent: ureq::Agent,
    pub addresses: Arc<Addresses>,
    pub server_clock: Arc<ServerClock>,
}

impl Connections {
    /// `user_agent` is for proxies. `config` gives timeouts and limits; its proxy and TLS settings
    /// are ignored, `network` has ours.
    pub fn new(network: &Network, user_agent: &str, config: Config) -> Result<Connections, Error> {
        Connections::with(network, user_agent, config, Arc::new(resolve::system))
    }

    fn with(
        network: &Network,
        user_agent: &str,
        config: Config,
        look_up: Arc<LookUp>,
    ) -> Result<Connections, Error> {
        let addresses = Arc::new(Addresses::default());
        let server_clock = Arc::new(ServerClock::new(network.clock.clone()));
        let connector = Connector {
            proxy: match &network.proxy {
                ProxyChoice::Url(proxy) => Some(proxy.clone()),
                // The environment was read when the client was made.
                ProxyChoice::None | ProxyChoice::Environment => None,
            },
            user_agent: user_agent.into(),
            allow_plain_http: network.allow_plain_http,
            look_ups: LookUps::new(look_up),
            tls: TlsSettings::new(network, addresses.clone(), server_clock.clone())?,
            addresses: addresses.clone(),
            clock: network.clock.clone(),
        };
        Ok(Connections {
            agent: ureq::Agent::with_parts(config, connector, ResolveLater),
            addresses,
            server_clock,
        })
    }
}

/// Whether the address is the server's or a proxy's: errors with a proxy are PROXY.
#[derive(Clone, Copy)]
enum Role {
    Server,
    Proxy,
}

impl Role {
    fn error(self, status: Status, problem: &str, whom: &dyn fmt::Display, why: &str) -> Error {
        match self {
            Role::Server => Error::new(status, format!("{problem} {whom}: {why}")),
            Role::Proxy => Error::new(Status::Proxy, format!("{problem} the proxy {whom}: {why}")),
        }
    }
}

struct Connector {
    proxy: Option<ProxyUrl>,
    user_agent: Box<str>,
    allow_plain_http: bool,
    look_ups: LookUps,
    tls: TlsSettings,
    addresses: Arc<Addresses>,
    clock: Clock,
}

impl ureq::unversioned::transport::Connector for Connector {
    type Out = Either<Plain, Tls>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        self.addresses.count_attempt();
        let secure = details.needs_tls();
        let target = Endpoint::of(details.uri);
        let deadline = Deadline::new(details.timeout);
        let reach = || match &self.proxy {
            Some(proxy) if secure || self.allow_plain_http => {
                let mut socket = self.dial(proxy.endpoint(), Role::Proxy, &deadline, details)?;
                proxy::tunnel(proxy, &mut socket, &target, &self.user_agent, &deadline)?;
                Ok(socket)
            }
            _ => self.dial(&target, Role::Server, &deadline, details),
        };
        Ok(Some(if secure {
            Either::B(self.tls.connect(reach, &target, &deadline)?)
        } else {
            Either::A(Plain::new(reach()?, self.clock.clone()))
        }))
    }
}

impl Connector {
    fn dial(
        &self,
        endpoint: &Endpoint,
        role: Role,
        deadline: &Deadline,
        details: &ConnectionDetails,
    ) -> Result<Socket, ureq::Error> {
        let unresolved = |why: &str| role.error(Status::Dns, "cannot resolve", &endpoint.host, why);
        let unconnected =
            |why: &str| role.error(Status::Connect, "cannot connect to", endpoint, why);
        let register = &*details.register_shutdown;
        let found = self
            .look_ups
            .resolve(endpoint, deadline, register, unresolved)?;
        let mut addresses = race::interleave(&found);
        if !details.needs_tls() && !self.allow_plain_http {
            addresses.retain(|address| address.ip().to_canonical().is_loopback());
            if addresses.is_empty() {
                return Err(unresolved(&format!(
                    "its address is {}, which is not this device: http:// would send the secret in \
                     clear text; correct the hosts file or the name server",
                    found[0].ip()
                ))
                .into());
            }
        }
        self.addresses.suspect_last(&mut addresses);
        let limit = deadline.left()?;
        let mut dialer = race::dialer(register, addresses.len() == 1, limit);
        let (address, stream) = race::race(&addresses, deadline, &mut dialer, unconnected)?;
        self.addresses
            .connected(address.ip(), matches!(role, Role::Proxy));
        Ok(Socket::new(stream, address.ip()))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// ureq calls this before it looks for a kept connection.
#[derive(Debug)]
struct ResolveLater;

impl Resolver for ResolveLater {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}
