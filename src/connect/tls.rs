//! TLS 1.2 and 1.3 with rustls' unbuffered API, so that buffers can be wiped, and the last message
//! of the handshake is sent together with the request.
//!
//! rustls returns each decrypted record in its own allocation, which it frees without wiping; see
//! [`overwrite_freed`].
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Write};
#[cfg(all(unix, not(target_os = "macos")))]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::OnceCell;
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::addresses::Addresses;
use super::buffers::{HttpBuffers, OUTPUT_BYTES};
use super::deadline::Deadline;
use super::network::Network;
use super::server_clock::ServerClock;
use super::sessions::Sessions;
use super::socket::{Socket, broken};
use super::verifier::Verifier;
use super::{crypto, system_error, tls_error};
use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::wiped::WipedBuffer;
use crate::{Error, Roots, Status};

/// Enough for a resumed handshake or the service's response; the buffer grows for more.
const INCOMING_BYTES: usize = 4 * 1024;

/// rustls takes handshake messages of up to 64 KiB, here with the records around them. A record takes
/// 18 KiB at most.
const MAX_BYTES: usize = 72 * 1024;

/// A full output buffer as one record, after the end of a handshake.
const OUTGOING_BYTES: usize = OUTPUT_BYTES + 512;

/// What the connections of one agent have in common.
pub(super) struct TlsSettings {
    roots: Roots,
    added: RootCertStore,
    clock: Clock,
    addresses: Arc<Addresses>,
    server_clock: Arc<ServerClock>,
    /// Made at the first handshake, because the system's roots are files to be read.
    ready: OnceCell<Ready>,
    sessions: Arc<Sessions>,
}

#[derive(Clone)]
struct Ready {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
}

impl TlsSettings {
    pub(super) fn new(
        network: &Network,
        addresses: Arc<Addresses>,
        server_clock: Arc<ServerClock>,
    ) -> Result<TlsSettings, Error> {
        if network.roots == Roots::None && network.added.is_empty() {
            return Err(Error::invalid_argument(
                "roots is NONE and no CA was added, so no server can be trusted",
            ));
        }
        Ok(TlsSettings {
            roots: network.roots,
            added: network.added.clone(),
            clock: network.clock.clone(),
            addresses,
            server_clock,
            ready: OnceCell::new(),
            sessions: Arc::default(),
        })
    }

    /// TLS handshake with `target` over a socket of `reach`. If it fails with a session to resume,
    /// the session is forgotten, and a full handshake follows on a new socket.
    pub(super) fn connect(
        &self,
        reach: impl Fn() -> Result<Socket, ureq::Error>,
        target: &Endpoint,
        deadline: &Deadline,
    ) -> Result<Tls, ureq::Error> {
        let socket = reach()?;
        let resumes = self.sessions.any();
        match self.handshake(socket, target, deadline) {
            Err(_) if resumes && deadline.left().is_ok() => {
                self.sessions.forget();
                self.handshake(reach()?, target, deadline)
            }
            result => result,
        }
    }

    fn handshake(
        &self,
        socket: Socket,
        target: &Endpoint,
        deadline: &Deadline,
    ) -> Result<Tls, ureq::Error> {
        crypto::check_randomness()?;
        let Ready { config, verifier } = self.ready.get_or_try_init(|| self.build())?.clone();
        let name = ServerName::try_from(target.host.clone()).map_err(|_| {
            let problem = "is not a host name or IP address that a certificate can contain";
            Error::new(Status::Tls, format!("{} {problem}", target.host))
        })?;
        let connection =
            UnbufferedClientConnection::new(config, name).map_err(|error| unusable(&error))?;
        let mut tls = Tls {
            socket,
            connection,
            incoming: WipedBuffer::with_capacity(INCOMING_BYTES),
            outgoing: WipedBuffer::with_capacity(OUTGOING_BYTES),
            buffers: HttpBuffers::new(),
            left_over: WipedBuffer::default(),
            handshake_done: false,
            closed: false,
            host: target.host.as_str().into(),
            clock: self.clock.clone(),
            addresses: self.addresses.clone(),
            server_clock: self.server_clock.clone(),
            verifier,
            sessions: self.sessions.clone(),
        };
        let closed = |error| {
            let peer = self.addresses.peer(&target.to_string());
            ureq::Error::from(tls_error::closed(&peer, error))
        };
        loop {
            match tls.step(deadline)? {
                Step::Ready => {
                    tls.handshake_done = true;
                    return Ok(tls);
                }
                Step::Blocked => match tls.flush_and_read(deadline) {
                    Ok(0) => return Err(closed(None)),
                    Ok(_) => {}
                    Err(ureq::Error::Io(error)) => return Err(closed(Some(&error))),
                    Err(error) => return Err(error),
                },
                // Application data before the handshake is over never gets here.
                Step::Data | Step::Closed => return Err(closed(None)),
            }
        }
    }

    fn build(&self) -> Result<Ready, ureq::Error> {
        let mut roots = self.added.clone();
        match self.roots {
            Roots::None => {}
            Roots::Bundled => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Roots::System => {
                let found = system_roots();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    let why = found.errors.first().map(unreadable);
                    return Err(Error::new(
                        Status::Tls,
                        format!(
                            "no usable root certificate in the system's store{}; install the \
                             package ca-certificates (Linux) or use the bundled roots",
                            why.unwrap_or_default()
                        ),
                    )
                    .into());
                }
            }
        }
        let provider = Arc::new(crypto::provider());
        // Safe: it delegates to rustls' verifier.
        let verifier = Verifier::new(roots, provider.clone()).map_err(|error| unusable(&error))?;
        let verifier = Arc::new(verifier);
        let time = Arc::new(WallClock(self.clock.clone()));
        let mut config = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| unusable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        config.resumption = Resumption::store(self.sessions.clone());
        Ok(Ready {
            config: Arc::new(config),
            verifier,
        })
    }
}

/// Why the system's store could not be read; the crate's own text may be debug output.
fn unreadable(error: &rustls_native_certs::Error) -> String {
    match &error.kind {
        rustls_native_certs::ErrorKind::Io { inner, path } => {
            format!(" ({}: {})", path.display(), system_error::reason(inner))
        }
        _ => format!(" ({})", error.context),
    }
}

/// TLS does not work, with any server.
fn unusable(error: &rustls::Error) -> Error {
    Error::new(
        Status::Tls,
        format!("no TLS: {}", tls_error::problem(error)),
    )
}

/// The system's store, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name. rustls-native-certs takes an empty
/// `SSL_CERT_FILE` for a file without a name; here it is unset.
fn system_roots() -> rustls_native_certs::CertificateResult {
    #[cfg(all(unix, not(target_os = "macos")))]
    {
        let file = std::env::var_os("SSL_CERT_FILE");
        let directory = std::env::var_os("SSL_CERT_DIR").unwrap_or_default();
        if file.is_some_and(|file| file.is_empty()) && directory.is_empty() {
            let store = openssl_probe::probe();
            let directory = store.cert_dir.first().map(PathBuf::as_path);
            return rustls_native_certs::load_certs_from_paths(
                store.cert_file.as_deref(),
                directory,
            );
        }
    }
    rustls_native_certs::load_native_certs()
}

/// The wall clock for rustls. Dates before 1970 become 1970: no certificate is valid at either.
#[derive(Debug)]
struct WallClock(Clock);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.unix_seconds()).unwrap_or(0);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// HTTP over TLS.
pub(super) struct Tls {
    socket: Socket,
    connection: UnbufferedClientConnection,
    /// rustls decrypts in place.
    incoming: WipedBuffer,
    outgoing: WipedBuffer,
    buffers: HttpBuffers,
    /// The end of a record that the input buffer had no room for.
    left_over: WipedBuffer,
    handshake_done: bool,
    closed: bool,
    host: Box<str>,
    clock: Clock,
    addresses: Arc<Addresses>,
    server_clock: Arc<ServerClock>,
    verifier: Arc<Verifier>,
    sessions: Arc<Sessions>,
}

/// Where [`Tls::step`] stopped.
enum Step {
    /// The request can be, or has been, encrypted.
    Ready,
    /// The handshake needs more from the server.
    Blocked,
    /// There is new input.
    Data,
    /// The server has said that nothing more will come.
    Closed,
}

impl Tls {
    /// Lets rustls work on what has arrived, and encrypts the output that waits. Reads nothing.
    fn step(&mut self, deadline: &Deadline) -> Result<Step, ureq::Error> {
        loop {
            let UnbufferedStatus { discard, state, .. } = self
                .connection
                .process_tls_records(self.incoming.bytes_mut());
            let step = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    put(&mut self.outgoing, |room| match data.encode(room) {
                        Err(EncodeError::InsufficientSize(_)) => Ok(None),
                        Err(error) => Err(io::Error::other(error)),
                        Ok(amount) => Ok(Some(amount)),
                    })?;
                    None
                }
                // Sent before the next read, with the next output.
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::BlockedHandshake) => Some(Step::Blocked),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    if !self.buffers.pending().is_empty() {
                        put(&mut self.outgoing, |room| {
                            match traffic.encrypt(self.buffers.pending(), room) {
                                Err(EncryptError::InsufficientSize(_)) => Ok(None),
                                Err(error) => Err(io::Error::other(error)),
                                Ok(amount) => Ok(Some(amount)),
                            }
                        })?;
                        self.buffers.sent();
                    }
                    Some(Step::Ready)
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut length = 0;
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(ureq::Error::Rustls)?.payload;
                        length = record.len();
                        let taken = match self.left_over.is_empty() {
                            true => self.buffers.receive(record),
                            false => 0,
                        };
                        self.left_over.write_all(&record[taken..])?;
                    }
                    drop(traffic);
                    overwrite_freed(length);
                    (length > 0).then_some(Step::Data)
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.closed = true;
                    Some(Step::Closed)
                }
                Ok(_) => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
                Err(error) => return Err(self.fail(error, discard, deadline)),
            };
            self.incoming.consume(discard);
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    /// Sends the pending output and reads: returns how many bytes, 0 at the end of the stream. If
    /// nothing arrives, the resumed session may be the cause, and the next handshake offers none.
    fn flush_and_read(&mut self, deadline: &Deadline) -> Result<usize, ureq::Error> {
        let sent = self.flush(deadline);
        let received = sent.and_then(|()| self.read(deadline));
        if !matches!(received, Ok(1..)) {
            self.sessions.forget();
        }
        received
    }

    /// Leaves no trace of the last request; `false` if the connection cannot be used for another one.
    fn park(&mut self) -> bool {
        let is_empty = self.incoming.is_empty() && self.left_over.is_empty();
        if is_empty {
            self.incoming.clear();
            self.left_over = WipedBuffer::default();
        }
        is_empty && !self.closed && self.buffers.park() && self.socket.park(&self.clock)
    }

    fn flush(&mut self, deadline: &Deadline) -> Result<(), ureq::Error> {
        self.socket.write_all(self.outgoing.bytes(), deadline)?;
        self.outgoing.consume(self.outgoing.len());
        Ok(())
    }

    fn read(&mut self, deadline: &Deadline) -> Result<usize, ureq::Error> {
        if self.incoming.room().is_empty() && !self.incoming.grow(MAX_BYTES) {
            return Err(io::Error::from(io::ErrorKind::InvalidData).into());
        }
        let amount = self.socket.read(self.incoming.room(), deadline)?;
        self.incoming.appended(amount);
        Ok(amount)
    }

    /// Sends the alert that rustls has prepared (best effort), and returns the error for the
    /// caller.
    fn fail(&mut self, error: rustls::Error, processed: usize, deadline: &Deadline) -> ureq::Error {
        self.sessions.forget();
        let failure = match (self.handshake_done, &error) {
            (false, error) => {
                let start = self.incoming.bytes_mut();
                let dates = tls_error::Dates {
                    here: self.clock.unix_seconds(),
                    server: self.server_clock.now(),
                    validity: self.verifier.validity(),
                };
                tls_error::tls(&self.addresses.peer(&self.host), error, start, dates).into()
            }
            // TLS 1.3 servers refuse a client after the client's handshake is over.
            (true, rustls::Error::AlertReceived(_)) => ureq::Error::Rustls(error),
            (true, _) => io::Error::new(io::ErrorKind::InvalidData, error).into(),
        };
        self.incoming.consume(processed);
        // Only while something is queued: rustls panics when it meets the same bytes again.
        while self.connection.wants_write() {
            let UnbufferedStatus { discard, state, .. } = self
                .connection
                .process_tls_records(self.incoming.bytes_mut());
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else {
                break;
            };
            // All of it, or nothing if there is no room.
            let _ = put(&mut self.outgoing, |room| {
                Ok(Some(data.encode(room).unwrap_or(0)))
            });
            self.incoming.consume(discard);
        }
        let _ = self.flush(deadline);
        self.closed = true;
        failure
    }

    /// Appends what comes to the input; `false` at the end of the stream.
    fn receive(&mut self, deadline: &Deadline) -> Result<bool, ureq::Error> {
        self.buffers.room()?;
        if !self.left_over.is_empty() {
            let taken = self.buffers.receive(self.left_over.bytes());
            self.left_over.consume(taken);
            return Ok(true);
        }
        loop {
            if self.closed {
                return Ok(false);
            }
            match self.step(deadline)? {
                Step::Data => return Ok(true),
                Step::Closed => return Ok(false),
                Step::Ready | Step::Blocked => {}
            }
            if self.flush_and_read(deadline)? == 0 {
                // Without close_notify the response may be truncated.
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

impl Transport for Tls {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if self.buffers.queue_output(amount) {
            let deadline = Deadline::new(timeout);
            while !self.buffers.pending().is_empty() {
                if self.closed {
                    return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
                }
                self.step(&deadline)?;
            }
            self.flush(&deadline)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.receive(&Deadline::new(timeout)).map_err(broken)
    }

    fn is_open(&mut self) -> bool {
        self.park()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Appends what `encode` writes; it returns `None` if there is too little room.
fn put(
    outgoing: &mut WipedBuffer,
    mut encode: impl FnMut(&mut [u8]) -> io::Result<Option<usize>>,
) -> io::Result<()> {
    loop {
        if let Some(amount) = encode(outgoing.room())? {
            outgoing.appended(amount);
            return Ok(());
        }
        if !outgoing.grow(MAX_BYTES) {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// Allocates memory of the size that was just freed, and overwrites it. Allocators with free lists
/// return the same memory. Best effort against the copy of the response that rustls leaves. Not
/// with zeros: zeroed memory is allocated in another way.
fn overwrite_freed(length: usize) {
    zeroize::optimization_barrier(vec![0xff_u8; length].as_slice());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_systems_roots_are_reported_without_debug_output() {
        let missing =
            rustls_native_certs::load_certs_from_paths(Some("/no/such.pem".as_ref()), None);
        let why = unreadable(&missing.errors[0]);
        assert!(
            why.starts_with(" (/no/such.pem: ") && !why.contains("os error"),
            "{why}"
        );

        let damaged = rustls_native_certs::Error {
            context: "failed to read PEM from file",
            kind: rustls_native_certs::ErrorKind::Os("Strange(Thing)".into()),
        };
        assert_eq!(unreadable(&damaged), " (failed to read PEM from file)");
    }

    #[test]
    fn an_unusable_tls_configuration_is_reported_without_debug_output() {
        let failure = unusable(&rustls::Error::General("Strange(Thing)".into()));
        assert_eq!(failure.status(), Status::Tls);
        assert_eq!(
            failure.message(),
            "no TLS: TLS does not work on this device"
        );
    }

    #[test]
    fn the_output_buffer_grows_up_to_the_size_of_a_handshake() {
        let mut outgoing = WipedBuffer::with_capacity(8);
        let text = [7; 200];
        put(&mut outgoing, |room| {
            let fits = room.len() >= text.len();
            Ok(fits.then(|| {
                room[..text.len()].copy_from_slice(&text);
                text.len()
            }))
        })
        .unwrap();
        assert_eq!(outgoing.bytes(), text);
        assert!(put(&mut outgoing, |_| Ok(None)).is_err());
        assert_eq!(outgoing.room().len(), MAX_BYTES - text.len());
    }
}
