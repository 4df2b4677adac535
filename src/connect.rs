//! Connections: everything between "this URL" and "bytes can be exchanged". The only user of
//! `ureq::unversioned`.
//!
//! One connector does the whole chain, because each step decides what the next one may say when it
//! fails: choose the route ([`proxy`]), resolve, race the addresses ([`race`]), pass the proxy,
//! shake hands ([`tls`]). ureq resolves before it looks into its pool; here the resolver does
//! nothing and the connector resolves, so a pooled connection costs no look-up.
//!
//! Nothing here starts a thread on Unix, logs, or writes to a socket that is being dropped (after a
//! `fork` it may be the parent's).
// Not `forbid`, which `sys` could not get out of; every other file below says `forbid` itself.
#![deny(unsafe_code)]

mod crypto;
mod head;
mod proxy;
mod race;
mod sentence;
#[cfg(unix)]
mod sys;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod verifier;

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::UnixTime;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Either, NextTimeout};

use crate::Status;
use crate::clock::{Clock, Instant};
use crate::config::Network;

use self::proxy::Routes;
use self::tls::{Tls, TlsSettings};
use self::transport::{Deadline, Plain, Socket};

pub(crate) use self::proxy::ProxyUrl;

/// An agent whose connections go through this module, and what it and its user tell each other.
/// `config` gives time-outs, limits and the user agent; its proxy and TLS settings are not looked at,
/// `network` has ours.
pub(crate) fn agent(
    network: &Network,
    config: Config,
) -> Result<(ureq::Agent, Arc<Notes>), crate::Error> {
    let notes = Arc::new(Notes {
        dialled: AtomicU64::new(0),
        server_date: Mutex::new(None),
        validity: Mutex::new(None),
        clock: network.clock.clone(),
    });
    let connector = Connector {
        routes: Routes::new(&network.proxy)?,
        tls: TlsSettings::new(network, notes.clone())?,
        notes: notes.clone(),
    };
    let agent = ureq::Agent::with_parts(config, connector, ResolveLater);
    Ok((agent, notes))
}

/// What the connections of one agent and the agent's user tell each other.
#[derive(Debug)]
pub(crate) struct Notes {
    dialled: AtomicU64,
    /// Unix seconds on the server's clock, and when they were read.
    server_date: Mutex<Option<(i64, Instant)>>,
    validity: Mutex<Option<Validity>>,
    clock: Clock,
}

/// From when and until when a certificate is valid.
type Validity = (UnixTime, UnixTime);

impl Notes {
    /// How many connections were tried: unchanged by an exchange that used a kept one.
    pub(crate) fn dialled(&self) -> u64 {
        self.dialled.load(Ordering::Relaxed)
    }

    /// A server that was who it had to be says what time it is: this may explain a certificate that
    /// is not valid by this device's date.
    pub(crate) fn saw_server_date(&self, unix_seconds: i64) {
        let seen = Some((unix_seconds, self.clock.now()));
        *lock(&self.server_date) = seen;
    }

    /// What the server's clock shows now, if it ever said so; immune to changes of this device's.
    fn server_now(&self) -> Option<i64> {
        let (then, seen) = (*lock(&self.server_date))?;
        let since = self.clock.now().since(seen).as_secs();
        Some(then.saturating_add_unsigned(since))
    }

    /// The server's own certificate was refused, and is out of date or not.
    fn saw_validity(&self, if_out_of_date: Option<Validity>) {
        *lock(&self.validity) = if_out_of_date;
    }

    /// Of the last certificate that was refused, if it was out of date.
    fn validity(&self) -> Option<Validity> {
        *lock(&self.validity)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why no connection was made; travels inside `ureq::Error::Other`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub status: Status,
    /// A proxy's refusal.
    pub http_status: Option<u16>,
    pub message: String,
}

impl Failure {
    fn new(status: Status, message: String) -> Failure {
        Failure {
            status,
            http_status: None,
            message,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for ureq::Error {
    fn from(failure: Failure) -> ureq::Error {
        ureq::Error::Other(Box::new(failure))
    }
}

/// A host (a name or a bare address) and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    fn of(uri: &Uri, default_port: u16) -> Endpoint {
        let host = uri.host().unwrap_or_default();
        Endpoint {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(default_port),
        }
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

/// Who is being connected to: what goes wrong with a proxy is the proxy's fault.
#[derive(Clone, Copy)]
enum Role {
    Server,
    Proxy,
}

impl Role {
    fn failure(self, status: Status, problem: &str, whom: &dyn fmt::Display, why: &str) -> Failure {
        match self {
            Role::Server => Failure::new(status, format!("{problem} {whom}: {why}")),
            Role::Proxy => {
                Failure::new(Status::Proxy, format!("{problem} the proxy {whom}: {why}"))
            }
        }
    }
}

struct Connector {
    routes: Routes,
    tls: TlsSettings,
    notes: Arc<Notes>,
}

impl ureq::unversioned::transport::Connector for Connector {
    type Out = Either<Plain, Tls>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        self.notes.dialled.fetch_add(1, Ordering::Relaxed);
        let secure = details.needs_tls();
        let target = Endpoint::of(details.uri, if secure { 443 } else { 80 });
        let deadline = Deadline::new(details.timeout);
        let socket = match self.routes.choose(&target, secure)? {
            None => dial(&target, Role::Server, &deadline, details)?,
            Some(proxy) => {
                let mut socket = dial(proxy.endpoint(), Role::Proxy, &deadline, details)?;
                let user_agent = details.config.user_agent();
                proxy.tunnel(&mut socket, &target, user_agent, &deadline)?;
                socket
            }
        };
        Ok(Some(if secure {
            Either::B(self.tls.handshake(socket, &target, &deadline)?)
        } else {
            Either::A(Plain::new(socket, self.notes.clock.clone()))
        }))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

fn dial(
    endpoint: &Endpoint,
    role: Role,
    deadline: &Deadline,
    details: &ConnectionDetails,
) -> Result<Socket, ureq::Error> {
    let addresses = resolve(endpoint)
        .and_then(|addresses| match deadline.left() {
            Ok(_) => Ok(addresses),
            // Not to be blamed on the addresses, none of which was tried.
            Err(_) => Err(format!("took longer than {}", deadline.allowed())),
        })
        .map_err(|why| role.failure(Status::Dns, "cannot resolve", &endpoint.host, &why))?;
    let limit = deadline.left()?;
    let mut dialer = race::dialer(&*details.register_shutdown, addresses.len() == 1, limit);
    let stream = race::race(&race::interleave(&addresses), deadline, &mut dialer).map_err(
        |lost| match lost {
            race::Lost::Failed(reasons) => {
                let why = race::listing(&reasons);
                role.failure(Status::Connect, "cannot connect to", endpoint, &why)
                    .into()
            }
            race::Lost::ShutDown(error) => error,
        },
    )?;
    Ok(Socket::new(stream))
}

/// The system's resolver, on this thread: the caller is one that may block.
fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, String> {
    let found = (endpoint.host.as_str(), endpoint.port)
        .to_socket_addrs()
        .map_err(|error| {
            let text = error.to_string();
            match text.strip_prefix("failed to lookup address information: ") {
                Some(reason) => reason.to_owned(),
                None => text,
            }
        })?;
    let addresses: Vec<_> = found.collect();
    if addresses.is_empty() {
        return Err("the name has no address".into());
    }
    Ok(addresses)
}

/// What ureq calls before it looks into its pool.
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
