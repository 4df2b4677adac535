//! Connections: everything between "this URL" and "bytes can be exchanged". The only user of
//! `ureq::unversioned`.
//!
//! One connector does the whole chain, because each step decides what the next one may say when it
//! fails: resolve ([`resolve`]), race the addresses ([`race`]), pass the proxy ([`proxy`]), shake hands
//! ([`tls`]). ureq resolves before it looks into its pool; here its resolver does nothing and the
//! connector resolves, so a pooled connection costs no look-up.
//!
//! Without permission, plain `http://` connects to loopback addresses only, whatever the name says, and
//! passes no proxy: that would resolve the name itself.
//!
//! Only a look-up starts a thread on Unix. Nothing here logs, or writes to a socket that is being
//! dropped (after a `fork` it may be the parent's).
// Not `forbid`, which `sys` could not get out of; every other file below says `forbid` itself.
#![deny(unsafe_code)]

mod crypto;
mod head;
mod proxy;
mod race;
mod resolve;
mod sentence;
mod sessions;
#[cfg(unix)]
mod sys;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod verifier;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::UnixTime;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Either, NextTimeout};

use crate::Status;
use crate::clock::{Clock, Instant};
use crate::config::{Network, ProxyChoice};

use self::resolve::{LookUp, LookUps};
use self::tls::{Tls, TlsSettings};
use self::transport::{Deadline, Plain, Socket};

pub(crate) use self::proxy::{ProxyUrl, from_environment as proxy_from_environment};
pub(crate) use self::sentence::problem as tls_problem;

/// An agent whose connections go through this module, and what it and its user tell each other.
/// `user_agent` is for proxies. `config` gives time-outs and limits; its proxy and TLS settings are not
/// looked at, `network` has ours.
pub(crate) fn agent(
    network: &Network,
    user_agent: &str,
    config: Config,
) -> Result<(ureq::Agent, Arc<Notes>), crate::Error> {
    agent_with(network, user_agent, config, Arc::new(resolve::system))
}

fn agent_with(
    network: &Network,
    user_agent: &str,
    config: Config,
    look_up: Arc<LookUp>,
) -> Result<(ureq::Agent, Arc<Notes>), crate::Error> {
    let notes = Arc::new(Notes::new(network.clock.clone()));
    let connector = Connector {
        proxy: match &network.proxy {
            ProxyChoice::Url(proxy) => Some(proxy.clone()),
            // The environment was read when the client was made.
            ProxyChoice::None | ProxyChoice::Environment => None,
        },
        user_agent: user_agent.into(),
        allow_plain_http: network.allow_plain_http,
        look_ups: LookUps::new(look_up),
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
    addresses: Mutex<Addresses>,
    /// Unix seconds on the server's clock, and when they were read.
    server_date: Mutex<Option<(i64, Instant)>>,
    validity: Mutex<Option<Validity>>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Addresses {
    /// The server's, of the last connection; `None` if a proxy connects to it.
    server: Option<IpAddr>,
    /// The server's or the proxy's, of the last connection.
    last: Option<IpAddr>,
    /// Those to which a connection was made that brought no response, the last one at the end.
    suspect: Vec<IpAddr>,
}

/// How many addresses are remembered as suspect; a host behind a CDN can have a dozen.
const MAX_SUSPECT: usize = 16;

/// From when and until when a certificate is valid.
type Validity = (UnixTime, UnixTime);

impl Notes {
    fn new(clock: Clock) -> Notes {
        Notes {
            dialled: AtomicU64::new(0),
            addresses: Mutex::default(),
            server_date: Mutex::default(),
            validity: Mutex::default(),
            clock,
        }
    }

    /// How many connections were tried: unchanged by an exchange that used a kept one.
    pub(crate) fn dialled(&self) -> u64 {
        self.dialled.load(Ordering::Relaxed)
    }

    /// A whole response has come: the address that it came from is not suspect any more.
    pub(crate) fn answered(&self) {
        let mut addresses = lock(&self.addresses);
        let last = addresses.last;
        addresses.suspect.retain(|other| Some(*other) != last);
    }

    /// `host` with the address that it had for the last connection, for messages: `a.example (192.0.2.1)`.
    pub(crate) fn peer(&self, host: &str) -> String {
        peer(host, host, lock(&self.addresses).server)
    }

    /// Suspect until [`Notes::answered`] says otherwise.
    fn connected(&self, address: IpAddr, role: Role) {
        let mut addresses = lock(&self.addresses);
        addresses.server = matches!(role, Role::Server).then_some(address);
        addresses.last = Some(address);
        addresses.suspect.retain(|other| *other != address);
        if addresses.suspect.len() == MAX_SUSPECT {
            addresses.suspect.remove(0);
        }
        addresses.suspect.push(address);
    }

    /// Moves suspect addresses to the end, the one that failed last to the very end.
    fn suspect_last(&self, addresses: &mut [SocketAddr]) {
        let suspect = &lock(&self.addresses).suspect;
        // `None` sorts first.
        addresses.sort_by_key(|address| suspect.iter().position(|other| *other == address.ip()));
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

/// Why a host could not be reached.
enum Unreached {
    Unresolved(String),
    Other(ureq::Error),
}

/// `shown (address)`, or only `shown` where the address is the host itself or is not known.
fn peer(host: &str, shown: &str, address: Option<IpAddr>) -> String {
    match address {
        Some(address) if !host.contains(&address.to_string()) => format!("{shown} ({address})"),
        _ => shown.to_owned(),
    }
}

struct Connector {
    proxy: Option<ProxyUrl>,
    user_agent: Box<str>,
    allow_plain_http: bool,
    look_ups: LookUps,
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
        let reach = || match &self.proxy {
            Some(proxy) if secure || self.allow_plain_http => {
                let mut socket = self.dial(proxy.endpoint(), Role::Proxy, &deadline, details)?;
                proxy.tunnel(&mut socket, &target, &self.user_agent, &deadline)?;
                Ok(socket)
            }
            _ => self.dial(&target, Role::Server, &deadline, details),
        };
        Ok(Some(if secure {
            Either::B(self.tls.connect(reach, &target, &deadline)?)
        } else {
            Either::A(Plain::new(reach()?, self.notes.clock.clone()))
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
        let unresolved =
            |why: &str| role.failure(Status::Dns, "cannot resolve", &endpoint.host, why);
        let register = &*details.register_shutdown;
        let found = self
            .look_ups
            .resolve(endpoint, deadline, register)
            .map_err(|unreached| match unreached {
                Unreached::Unresolved(why) => unresolved(&why).into(),
                Unreached::Other(error) => error,
            })?;
        let mut addresses = race::interleave(&found);
        if !details.needs_tls() && !self.allow_plain_http {
            addresses.retain(|address| address.ip().to_canonical().is_loopback());
            if addresses.is_empty() {
                return Err(unresolved(&format!(
                    "here it is {}, which is not this device, and http:// would send the secret in \
                     clear text; correct the hosts file or the name server",
                    found[0].ip()
                ))
                .into());
            }
        }
        self.notes.suspect_last(&mut addresses);
        let limit = deadline.left()?;
        let mut dialer = race::dialer(register, addresses.len() == 1, limit);
        let (address, stream) =
            race::race(&addresses, deadline, &mut dialer).map_err(|lost| match lost {
                race::Lost::Failed(reasons) => {
                    let why = race::listing(&reasons);
                    role.failure(Status::Connect, "cannot connect to", endpoint, &why)
                        .into()
                }
                race::Lost::ShutDown(error) => error,
            })?;
        self.notes.connected(address.ip(), role);
        Ok(Socket::new(stream, address.ip()))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
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
