//! Tests of `connect` with real sockets on the loopback interface.
#![forbid(unsafe_code)]

#[cfg(unix)]
mod certificates;
mod names;
mod plain;
mod proxies;
mod racing;
mod tls;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{AlertDescription, HandshakeKind, RootCertStore, ServerConfig, ServerConnection};
use ureq::unversioned::transport::NextTimeout;

use super::race::{Dial, ThreadDial, dialer, race};
use super::*;
use crate::Roots;
use crate::clock::{Clock, Instant as ClockInstant, TimeSource};

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BODY: &str = r#"{"client_secret":"hunter2"}"#;

fn network() -> Network {
    Network {
        roots: Roots::Bundled,
        added: RootCertStore::empty(),
        proxy: ProxyChoice::None,
        allow_plain_http: true,
        clock: Clock::System,
    }
}

fn through(proxy: SocketAddr, user_info: &str) -> Network {
    let url = format!("http://{user_info}{proxy}");
    Network {
        proxy: ProxyChoice::Url(ProxyUrl::parse(&url).unwrap()),
        ..network()
    }
}

fn agent_for(network: &Network, timeout_ms: u64) -> ureq::Agent {
    agent_with_resolver(network, timeout_ms, resolve::system)
}

/// An agent with this resolver instead of the system's.
fn agent_with_resolver(
    network: &Network,
    timeout_ms: u64,
    look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
) -> ureq::Agent {
    connections(network, timeout_ms, look_up).agent
}

fn connections(
    network: &Network,
    timeout_ms: u64,
    look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
) -> Connections {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_millis(timeout_ms)))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build();
    Connections::with(network, "agent/1", config, Arc::new(look_up)).unwrap()
}

fn post(agent: &ureq::Agent, url: &str) -> Result<String, ureq::Error> {
    agent.post(url).send(BODY)?.body_mut().read_to_string()
}

fn failure<T: fmt::Debug>(result: Result<T, ureq::Error>) -> Error {
    match result {
        Err(ureq::Error::Other(other)) => *other.downcast::<Error>().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server that handles its connections one after another.
fn serve(mut handle: impl FnMut(TcpStream) + Send + 'static) -> SocketAddr {
    let (listener, address) = listen();
    thread::spawn(move || {
        for stream in listener.incoming() {
            handle(stream.unwrap());
        }
    });
    address
}

/// An address that refuses connections.
fn refusing() -> SocketAddr {
    listen().1
}

/// An address that does not respond: a listener whose queue is full of these connections.
struct FullListener {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl FullListener {
    fn new() -> FullListener {
        let (listener, address) = listen();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
            queue.push(stream);
        }
        FullListener {
            address,
            _listener: listener,
            _queue: queue,
        }
    }
}

fn read_request(stream: &mut impl Read) -> Vec<u8> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !request.ends_with(BODY.as_bytes()) {
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => request.extend_from_slice(&chunk[..n]),
            _ => break,
        }
    }
    request
}

fn read_head(stream: &mut (impl Read + ?Sized)) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn deadline(ms: u64) -> Deadline {
    Deadline::new(NextTimeout {
        after: ureq::unversioned::transport::time::Duration::from_millis(ms),
        ..NextTimeout::default()
    })
}

fn assert_took(start: Instant, from_ms: u64, to_ms: u64) {
    let ms = start.elapsed().as_millis() as u64;
    assert!((from_ms..to_ms).contains(&ms), "{ms} ms");
}

fn tls_settings(network: &Network) -> TlsSettings {
    let server_clock = ServerClock::new(network.clock.clone());
    TlsSettings::new(network, Arc::default(), Arc::new(server_clock)).unwrap()
}

struct Date(i64);

impl TimeSource for Date {
    fn now(&self) -> ClockInstant {
        ClockInstant::from_nanos(0)
    }
    fn unix_seconds(&self) -> i64 {
        self.0
    }
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    fn network(&self) -> Network {
        let mut added = RootCertStore::empty();
        added.add(self.issuer.der().clone()).unwrap();
        Network {
            roots: Roots::None,
            added,
            ..network()
        }
    }

    fn server(&self, names: &[String]) -> ServerConfig {
        let params = CertificateParams::new(names).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf: CertificateDer<'static> = params.signed_by(&key, &self.issuer).unwrap().into();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)
            .unwrap();
        config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        config
    }
}

fn localhost() -> Vec<String> {
    vec!["localhost".into(), "127.0.0.1".into()]
}

/// A TLS server that reports the kind of each handshake and the bytes of each read.
fn serve_tls(
    config: ServerConfig,
    respond: impl Fn(&mut dyn Write) + Send + 'static,
) -> (SocketAddr, mpsc::Receiver<(HandshakeKind, Vec<u8>)>) {
    let config = Arc::new(config);
    let (sender, receiver) = mpsc::channel();
    let address = serve(move |mut stream| {
        let mut connection = ServerConnection::new(config.clone()).unwrap();
        while connection.is_handshaking() {
            if connection.complete_io(&mut stream).is_err() {
                return;
            }
        }
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        let mut chunk = [0; 4096];
        while let Ok(n) = tls.read(&mut chunk) {
            if n == 0 {
                break;
            }
            let kind = tls.conn.handshake_kind().unwrap();
            let _ = sender.send((kind, chunk[..n].to_vec()));
            respond(&mut tls);
            let _ = tls.flush();
        }
    });
    (address, receiver)
}

/// A proxy that opens every tunnel, and records the heads of the requests.
fn tunnelling_proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = requests.clone();
    let address = serve(move |mut client| {
        let head = read_head(&mut client);
        let target = head.split(' ').nth(1).unwrap().to_owned();
        log.lock().unwrap().push(head);
        let mut server = TcpStream::connect(target).unwrap();
        client
            .write_all(
                b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 Connection established\nVia: x\n\n",
            )
            .unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from, &mut to));
        thread::spawn(move || std::io::copy(&mut server, &mut client));
    });
    (address, requests)
}

/// Whether the message names a time of 500 ms at most. How much of it is left for a step depends on how busy the
/// machine is.
fn says_how_long(failure: &Error) -> bool {
    let within = failure.message.split_once(" within ");
    let ms = within.and_then(|(_, rest)| rest.split_once(" ms")?.0.parse().ok());
    ms.is_some_and(|ms: u64| (1..=500).contains(&ms))
}
