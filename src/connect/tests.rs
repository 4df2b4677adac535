//! The promises of `connect`, against real sockets on the loopback interface.
#![forbid(unsafe_code)]

#[cfg(unix)]
mod certificates;

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

use super::race::{Dial, Lost, ThreadDial, dialer, race};
use super::*;
use crate::clock::{Clock, Instant as ClockInstant, TimeSource};
use crate::config::{ProxyChoice, Roots};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BODY: &str = r#"{"client_secret":"hunter2"}"#;

// --- helpers ---

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
    agent_that_finds(network, timeout_ms, resolve::system).0
}

/// With another resolver than the system's.
fn agent_that_finds(
    network: &Network,
    timeout_ms: u64,
    look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
) -> (ureq::Agent, Arc<Notes>) {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_millis(timeout_ms)))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build();
    agent_with(network, "agent/1", config, Arc::new(look_up)).unwrap()
}

fn post(agent: &ureq::Agent, url: &str) -> Result<String, ureq::Error> {
    agent.post(url).send(BODY)?.body_mut().read_to_string()
}

fn failure(result: Result<String, ureq::Error>) -> Failure {
    match result {
        Err(ureq::Error::Other(other)) => *other.downcast::<Failure>().unwrap(),
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

/// An address that refuses.
fn refusing() -> SocketAddr {
    listen().1
}

/// An address that does not answer: a listener whose queue is full. Keeps what fills it.
struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    fn new() -> BlackHole {
        let (listener, address) = listen();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
            queue.push(stream);
        }
        BlackHole {
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

fn took(start: Instant, from_ms: u64, to_ms: u64) {
    let ms = start.elapsed().as_millis() as u64;
    assert!((from_ms..to_ms).contains(&ms), "{ms} ms");
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

/// A TLS server; it tells the kind of each handshake and what the first read of each brought.
fn serve_tls(
    config: ServerConfig,
    answer: impl Fn(&mut dyn Write) + Send + 'static,
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
            answer(&mut tls);
            let _ = tls.flush();
        }
    });
    (address, receiver)
}

// --- plain connections ---

#[test]
fn head_and_body_leave_in_one_send() {
    let (sender, receiver) = mpsc::channel();
    let address = serve(move |mut stream| {
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk).unwrap();
        sender.send(chunk[..n].to_vec()).unwrap();
        stream.write_all(ANSWER).unwrap();
    });
    let agent = agent_for(&network(), 2000);
    assert_eq!(post(&agent, &format!("http://{address}/a")).unwrap(), "ok");
    let first = receiver.recv().unwrap();
    assert!(first.starts_with(b"POST /a HTTP/1.1\r\n") && first.ends_with(BODY.as_bytes()));
}

#[test]
fn a_body_larger_than_the_buffer_arrives_whole() {
    let authority = Authority::new();
    let large = "x".repeat(100_000);
    let expected = large.len();
    let handle = move |stream: &mut dyn ReadWrite| {
        read_head(stream);
        let mut body = vec![0; expected];
        stream.read_exact(&mut body).unwrap();
        assert!(body.iter().all(|byte| *byte == b'x'));
        stream.write_all(ANSWER).unwrap();
        stream.flush().unwrap();
    };
    let config = Arc::new(authority.server(&localhost()));
    let plain = serve(move |mut stream| handle(&mut stream));
    let secure = serve(move |stream| {
        let connection = ServerConnection::new(config.clone()).unwrap();
        handle(&mut rustls::StreamOwned::new(connection, stream));
    });
    let agent = agent_for(&authority.network(), 5000);
    for url in [format!("http://{plain}/"), format!("https://{secure}/")] {
        let answer = agent.post(&url).send(&large).unwrap();
        assert_eq!(answer.into_body().read_to_string().unwrap(), "ok");
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[test]
fn a_server_that_drips_still_meets_the_deadline() {
    let address = serve(|mut stream| {
        read_request(&mut stream);
        for byte in ANSWER.iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let start = Instant::now();
    let result = post(&agent_for(&network(), 150), &format!("http://{address}/"));
    assert!(matches!(result, Err(ureq::Error::Timeout(_))), "{result:?}");
    took(start, 150, 300);
}

#[test]
fn a_silent_server_meets_the_deadline_with_and_without_tls() {
    let (listener, address) = listen();
    for scheme in ["http", "https"] {
        let start = Instant::now();
        let result = post(
            &agent_for(&network(), 120),
            &format!("{scheme}://{address}/"),
        );
        assert!(matches!(result, Err(ureq::Error::Timeout(_))), "{result:?}");
        took(start, 120, 270);
    }
    drop(listener);
}

#[test]
fn a_peer_that_reads_nothing_meets_the_deadline() {
    let (_listener, address) = listen();
    let start = Instant::now();
    let huge = vec![0_u8; 64 << 20];
    let result = agent_for(&network(), 200)
        .post(format!("http://{address}/"))
        .send(&huge[..]);
    assert!(matches!(result, Err(ureq::Error::Timeout(_))), "{result:?}");
    took(start, 200, 400);
}

#[test]
fn a_connection_is_kept_for_the_next_request_but_not_once_it_was_closed() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    let (sender, closed) = mpsc::channel();
    let address = serve(move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        for _ in 0..3 {
            read_request(&mut stream);
            stream.write_all(ANSWER).unwrap();
        }
        drop(stream);
        sender.send(()).unwrap();
    });
    let agent = agent_for(&network(), 2000);
    for request in 1..=4 {
        assert_eq!(post(&agent, &format!("http://{address}/")).unwrap(), "ok");
        if request == 3 {
            closed.recv().unwrap();
        }
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_head_that_is_too_long_is_named_so() {
    let address = serve(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        let _ = stream.write_all(&[b'x'; 40_000]);
    });
    let result = post(&agent_for(&network(), 2000), &format!("http://{address}/"));
    assert!(
        matches!(result, Err(ureq::Error::LargeResponseHeader(..))),
        "{result:?}"
    );
}

#[test]
fn a_refusal_names_host_port_and_reason() {
    let address = refusing();
    let url = format!("http://127.0.0.1:{}/", address.port());
    let failure = failure(post(&agent_for(&network(), 2000), &url));
    assert_eq!(failure.status, Status::Connect);
    let expected = format!("cannot connect to {address}: 127.0.0.1: connection refused");
    assert_eq!(failure.message, expected);
}

#[test]
fn a_connect_that_hangs_says_how_long_it_waited() {
    let hole = BlackHole::new();
    let start = Instant::now();
    let url = format!("http://{}/", hole.address);
    let failure = failure(post(&agent_for(&network(), 150), &url));
    took(start, 150, 300);
    assert_eq!(failure.status, Status::Connect);
    assert!(failure.message.contains("no answer within "), "{failure}");
    assert!(says_how_long(&failure), "{failure}");
}

/// What is left of 150 ms for a step depends on how busy the machine is.
fn says_how_long(failure: &Failure) -> bool {
    let said = failure.message.split_once(" within ");
    let ms = said.and_then(|(_, rest)| rest.split_once(" ms")?.0.parse().ok());
    ms.is_some_and(|ms: u64| (100..=150).contains(&ms))
}

#[test]
fn a_name_that_does_not_resolve_is_a_dns_failure_with_the_name() {
    let url = "https://no-such-host.invalid/";
    let failure = failure(post(&agent_for(&network(), 20_000), url));
    assert_eq!(failure.status, Status::Dns);
    let start = "cannot resolve no-such-host.invalid: ";
    assert!(failure.message.starts_with(start), "{failure}");
    assert!(!failure.message.contains("lookup"), "{failure}");
}

#[test]
fn without_permission_plain_http_connects_to_loopback_addresses_only() {
    let (listener, address) = listen();
    listener.set_nonblocking(true).unwrap();
    let confined = Network {
        allow_plain_http: false,
        ..network()
    };
    let url = format!("http://localhost:{}/", address.port());
    // On Linux, a connection to this address arrives here, too, but it is not a loopback address.
    let elsewhere = [0, 0, 0, 0];
    let (agent, _) = agent_that_finds(&confined, 2000, move |_, port| {
        Ok(vec![(elsewhere, port).into()])
    });
    let failure = failure(post(&agent, &url));
    assert_eq!(failure.status, Status::Dns);
    for words in ["cannot resolve localhost", "0.0.0.0", "not this device"] {
        assert!(failure.message.contains(words), "{failure}");
    }
    // Nor does a proxy get the secret, which would resolve the name itself.
    let (proxy, asked) = tunnelling_proxy();
    let through_proxy = Network {
        proxy: through(proxy, "").proxy,
        ..confined
    };
    let found = move |_: &str, port| {
        Ok(vec![
            (elsewhere, port).into(),
            ([127, 0, 0, 1], port).into(),
        ])
    };
    let (agent, _) = agent_that_finds(&through_proxy, 2000, found);
    let request = thread::spawn(move || post(&agent, &url));
    listener.set_nonblocking(false).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    assert!(stream.local_addr().unwrap().ip().is_loopback());
    read_request(&mut stream);
    stream.write_all(ANSWER).unwrap();
    assert_eq!(request.join().unwrap().unwrap(), "ok");
    assert!(asked.lock().unwrap().is_empty());
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "there was one connection");
}

/// A resolver that blocks until it is released, and how many look-ups have begun.
struct Hanging {
    begun: mpsc::Receiver<()>,
    release: Arc<AtomicBool>,
}

impl Hanging {
    fn new() -> (
        Hanging,
        impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) {
        let (sender, begun) = mpsc::channel();
        let release = Arc::new(AtomicBool::new(false));
        let released = release.clone();
        let look_up = move |_: &str, port| {
            let _ = sender.send(());
            let start = Instant::now();
            while !released.load(Ordering::Acquire) && start.elapsed().as_secs() < 30 {
                thread::park_timeout(Duration::from_millis(1));
            }
            Ok(vec![([127, 0, 0, 1], port).into()])
        };
        (Hanging { begun, release }, look_up)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.release.store(true, Ordering::Release);
    }
}

#[test]
fn a_look_up_that_hangs_ends_with_the_attempt_and_the_next_attempt_asks_again() {
    let address = serve(|mut stream| {
        read_request(&mut stream);
        stream.write_all(ANSWER).unwrap();
    });
    let (hanging, hang) = Hanging::new();
    let recovered = Arc::new(AtomicBool::new(false));
    let well = recovered.clone();
    let (agent, _) = agent_that_finds(&network(), 150, move |host, port| {
        match well.load(Ordering::Acquire) {
            true => Ok(vec![([127, 0, 0, 1], port).into()]),
            false => hang(host, port),
        }
    });
    let url = format!("http://a.example:{}/", address.port());
    let start = Instant::now();
    let failure = failure(post(&agent, &url));
    took(start, 150, 300);
    assert_eq!(failure.status, Status::Dns);
    assert!(failure.message.contains("took longer than "), "{failure}");
    hanging.begun.recv().unwrap();
    recovered.store(true, Ordering::Release);
    assert_eq!(post(&agent, &url).unwrap(), "ok");
}

#[test]
fn no_more_than_four_look_ups_hang_at_a_time() {
    let (hanging, hang) = Hanging::new();
    let (agent, _) = agent_that_finds(&network(), 20, hang);
    for _ in 0..resolve::MAX_RUNNING {
        failure(post(&agent, "http://a.example/"));
    }
    let start = Instant::now();
    let failure = failure(post(&agent, "http://a.example/"));
    assert_eq!(failure.status, Status::Dns);
    assert!(failure.message.contains("4 earlier look-ups"), "{failure}");
    took(start, 0, 20);
    assert_eq!(hanging.begun.try_iter().count(), resolve::MAX_RUNNING);
}

#[test]
fn shutdown_interrupts_the_wait_for_a_look_up() {
    let (hanging, hang) = Hanging::new();
    let (agent, _) = agent_that_finds(&network(), 20_000, hang);
    let worker = agent.clone();
    let request = thread::spawn(move || post(&worker, "http://a.example/"));
    hanging.begun.recv().unwrap();
    let start = Instant::now();
    agent.shutdown();
    request.join().unwrap().unwrap_err();
    took(start, 0, 1000);
}

#[test]
fn a_name_without_an_address_is_a_dns_failure() {
    for (found, words) in [
        (None, "cannot resolve a.example: the name has no address"),
        (
            Some(io::ErrorKind::TimedOut),
            "cannot resolve a.example: no answer",
        ),
    ] {
        let (agent, _) = agent_that_finds(&network(), 2000, move |_, _| match found {
            None => Ok(Vec::new()),
            Some(kind) => Err(kind.into()),
        });
        let failure = failure(post(&agent, "http://a.example/"));
        assert_eq!((failure.status, &*failure.message), (Status::Dns, words));
    }
}

#[test]
fn the_suspect_addresses_come_last_and_are_limited_in_number() {
    let notes = Notes::new(Clock::System);
    let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 443));
    for last in 1..=30 {
        notes.connected(address(last).ip(), Role::Server);
    }
    notes.connected(address(29).ip(), Role::Server);
    let mut addresses = [
        address(29),
        address(30),
        address(20),
        address(1),
        address(99),
    ];
    notes.suspect_last(&mut addresses);
    let expected = [
        address(1),
        address(99),
        address(20),
        address(30),
        address(29),
    ];
    assert_eq!(addresses, expected);
}

/// Two listeners on one port of two addresses.
fn listen_twice() -> [TcpListener; 2] {
    loop {
        let (first, address) = listen();
        if let Ok(second) = TcpListener::bind(("127.0.0.2", address.port())) {
            return [first, second];
        }
    }
}

#[test]
fn the_next_attempt_begins_with_an_address_that_has_not_just_failed() {
    type Fail = fn(TcpStream);
    let fails: [(&str, Fail); 3] = [
        ("http", |mut stream| {
            // Answers nothing, and closes.
            read_request(&mut stream);
        }),
        ("http", |mut stream| {
            read_request(&mut stream);
            let _ = stream.read(&mut [0]);
        }),
        ("https", |stream| drop(stream.peek(&mut [0]))),
    ];
    for (scheme, fail) in fails {
        let [bad, good] = listen_twice();
        let port = bad.local_addr().unwrap().port();
        thread::spawn(move || bad.incoming().flatten().for_each(fail));
        let (sender, reached) = mpsc::channel();
        thread::spawn(move || {
            for mut stream in good.incoming().flatten() {
                sender.send(()).unwrap();
                read_request(&mut stream);
                let _ = stream.write_all(ANSWER);
            }
        });
        let (agent, notes) = agent_that_finds(&network(), 200, |_, port| {
            Ok(vec![
                ([127, 0, 0, 1], port).into(),
                ([127, 0, 0, 2], port).into(),
            ])
        });
        let url = format!("{scheme}://a.example:{port}/");
        let first = post(&agent, &url).unwrap_err();
        assert!(reached.try_recv().is_err());
        let named = match first {
            ureq::Error::Other(_) => failure(Err(first)).message,
            _ => notes.peer("a.example"),
        };
        assert!(named.contains(" (127.0.0.1)"), "{named}");
        let _ = post(&agent, &url);
        reached.recv_timeout(Duration::from_secs(5)).unwrap();
        // Both have failed now, the first one longer ago.
        if scheme == "https" {
            post(&agent, &url).unwrap_err();
            assert!(notes.peer("a.example").contains("127.0.0.1"));
            post(&agent, &url).unwrap_err();
            // A response clears the address that it came from, and no other.
            notes.answered();
            post(&agent, &url).unwrap_err();
            assert!(notes.peer("a.example").contains("127.0.0.2"));
        }
    }
}

#[test]
fn shutdown_interrupts_connecting_shaking_hands_and_reading() {
    let hole = BlackHole::new();
    let (silent, silent_address) = listen();
    for url in [
        format!("http://{}/", hole.address),
        format!("https://{silent_address}/"),
        format!("http://{silent_address}/"),
    ] {
        let agent = agent_for(&network(), 20_000);
        let worker = agent.clone();
        let start = Instant::now();
        let request = thread::spawn(move || post(&worker, &url));
        thread::sleep(Duration::from_millis(60));
        agent.shutdown();
        request.join().unwrap().unwrap_err();
        took(start, 60, 1000);
    }
    drop(silent);
}

#[test]
fn after_a_shutdown_nothing_is_tried() {
    for address in [refusing(), BlackHole::new().address] {
        let agent = agent_for(&network(), 20_000);
        agent.clone().shutdown();
        let start = Instant::now();
        post(&agent, &format!("http://{address}/")).unwrap_err();
        took(start, 0, 1000);
    }
}

// --- racing ---

type Dialing = Box<dyn FnOnce(&[SocketAddr], u64) -> Result<Arc<TcpStream>, Lost>>;

fn dialers() -> [(&'static str, Dialing); 2] {
    fn run(dial: &mut impl Dial, to: &[SocketAddr], ms: u64) -> Result<Arc<TcpStream>, Lost> {
        let (address, stream) = race(to, &deadline(ms), dial)?;
        assert_eq!(stream.peer_addr().unwrap(), address);
        Ok(stream)
    }
    let limit = |ms| Some(Duration::from_millis(ms));
    [
        (
            "poll",
            Box::new(move |to, ms| run(&mut dialer(&|_| Ok(()), to.len() == 1, limit(ms)), to, ms)),
        ),
        (
            "threads",
            Box::new(move |to, ms| {
                run(
                    &mut ThreadDial::new(&|_| Ok(()), to.len() == 1, limit(ms)),
                    to,
                    ms,
                )
            }),
        ),
    ]
}

#[test]
fn a_dialer_without_a_limit_or_with_an_agent_that_is_shut_down_ends_too() {
    let (_listener, listening) = listen();
    for alone in [true, false] {
        let mut dialer = ThreadDial::new(&|_| Ok(()), alone, None);
        dialer.start(listening).unwrap();
        assert!(matches!(dialer.wait(None), Some((_, Ok(_)))));

        let shut_down = |_| Err(ureq::Error::ConnectionFailed);
        let mut dialer = ThreadDial::new(&shut_down, alone, None);
        let Err(Lost::Failed(reasons)) = race(&[listening], &deadline(2000), &mut dialer) else {
            panic!("it connected");
        };
        assert_eq!(reasons.len(), 1);
    }
}

#[test]
fn an_address_that_refuses_costs_no_time() {
    let (_listener, good) = listen();
    for (name, dial) in dialers() {
        let start = Instant::now();
        let stream = dial(&[refusing(), refusing(), good], 5000).expect(name);
        assert_eq!(stream.peer_addr().unwrap(), good);
        took(start, 0, 100);
    }
}

#[test]
fn an_address_that_hangs_costs_a_quarter_of_a_second() {
    let hole = BlackHole::new();
    let (_listener, good) = listen();
    for (name, dial) in dialers() {
        let start = Instant::now();
        let mut stream = dial(&[hole.address, good], 5000).expect(name);
        assert_eq!(stream.peer_addr().unwrap(), good);
        took(start, 250, 450);
        // And the winner blocks again.
        let stream = Arc::get_mut(&mut stream).unwrap();
        let wait = Duration::from_millis(30);
        stream.set_read_timeout(Some(wait)).unwrap();
        let start = Instant::now();
        stream.read(&mut [0]).unwrap_err();
        took(start, 30, 200);
    }
}

#[test]
fn a_refusal_beside_a_hanging_attempt_moves_on_at_once() {
    let hole = BlackHole::new();
    let (_listener, good) = listen();
    for (name, dial) in dialers() {
        let start = Instant::now();
        let stream = dial(&[hole.address, refusing(), good], 5000).expect(name);
        assert_eq!(stream.peer_addr().unwrap(), good);
        took(start, 250, 450);
    }
}

#[test]
fn when_all_fail_every_reason_is_told() {
    let hole = BlackHole::new();
    for (name, dial) in dialers() {
        let start = Instant::now();
        let refused = refusing();
        let Err(Lost::Failed(reasons)) = dial(&[refused, hole.address], 100) else {
            panic!("{name}");
        };
        took(start, 100, 250);
        assert_eq!(reasons[0], (refused, "connection refused".into()));
        assert_eq!(reasons[1].0, hole.address);
        assert!(reasons[1].1.starts_with("no answer"), "{reasons:?}");
    }
}

// --- TLS ---

#[test]
fn one_record_holds_head_and_body_and_the_second_connection_resumes() {
    let authority = Authority::new();
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let mut config = authority.server(&localhost());
        let provider = config.crypto_provider().clone();
        let resolver = config.cert_resolver.clone();
        let ticketer = config.ticketer.clone();
        config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.ticketer = ticketer;
        let (address, seen) = serve_tls(config, |tls| {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            tls.write_all(answer).unwrap();
        });
        let agent = agent_for(&authority.network(), 2000);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let url = format!("https://localhost:{}/", address.port());
            assert_eq!(post(&agent, &url).unwrap(), "ok");
            let (kind, first) = seen.recv().unwrap();
            assert_eq!(kind, expected);
            assert!(first.starts_with(b"POST / ") && first.ends_with(BODY.as_bytes()));
        }
    }
}

/// A server of localhost that speaks only these versions, and gives so many tickets at once in TLS 1.3.
fn server_of(
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
    tickets: usize,
) -> Arc<ServerConfig> {
    let config = authority.server(&localhost());
    let mut limited = ServerConfig::builder_with_provider(config.crypto_provider().clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(config.cert_resolver.clone());
    limited.ticketer = config.ticketer.clone();
    limited.send_tls13_tickets = tickets;
    Arc::new(limited)
}

/// Some servers do so: one whose context was made for client certificates, one that lost the extended
/// master secret.
#[test]
fn a_refused_session_is_not_offered_again() {
    let authority = Authority::new();
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        for refuse in [&[21_u8, 3, 3, 0, 2, 2, 40][..], &[]] {
            // More than are kept.
            let limited = server_of(&authority, versions, 8);
            let (sender, seen) = mpsc::channel();
            let mut connections = 0;
            let address = serve(move |mut stream| {
                connections += 1;
                if connections == 2 {
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(refuse);
                    return;
                }
                let mut connection = ServerConnection::new(limited.clone()).unwrap();
                let mut tls = rustls::Stream::new(&mut connection, &mut stream);
                read_request(&mut tls);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                tls.write_all(answer).unwrap();
                sender.send(tls.conn.handshake_kind().unwrap()).unwrap();
            });
            let agent = agent_for(&authority.network(), 2000);
            let url = format!("https://localhost:{}/", address.port());
            for _ in 0..2 {
                assert_eq!(post(&agent, &url).unwrap(), "ok");
                assert_eq!(seen.recv().unwrap(), HandshakeKind::Full);
            }
            // And the new one is.
            assert_eq!(post(&agent, &url).unwrap(), "ok");
            assert_eq!(seen.recv().unwrap(), HandshakeKind::Resumed);
        }
    }
}

/// Something on the way may let only full handshakes through.
#[test]
fn a_session_that_brought_silence_or_a_broken_connection_is_not_offered_again() {
    let authority = Authority::new();
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        for is_silent in [true, false] {
            let limited = server_of(&authority, versions, 2);
            let (sender, seen) = mpsc::channel();
            let mut connections = 0;
            let address = serve(move |mut stream| {
                connections += 1;
                if connections == 2 && is_silent {
                    let _ = stream.read_to_end(&mut Vec::new());
                    return;
                }
                let mut connection = ServerConnection::new(limited.clone()).unwrap();
                let mut tls = rustls::Stream::new(&mut connection, &mut stream);
                read_request(&mut tls);
                sender.send(tls.conn.handshake_kind().unwrap()).unwrap();
                if connections != 2 {
                    let answer =
                        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                    tls.write_all(answer).unwrap();
                }
            });
            let agent = agent_for(&authority.network(), 2000);
            let url = format!("https://localhost:{}/", address.port());
            assert_eq!(post(&agent, &url).unwrap(), "ok");
            assert_eq!(seen.recv().unwrap(), HandshakeKind::Full);
            let patience = Duration::from_millis(if is_silent { 100 } else { 2000 });
            let second = agent.post(&url).config().timeout_global(Some(patience));
            second.build().send(BODY).unwrap_err();
            if !is_silent {
                assert_eq!(seen.recv().unwrap(), HandshakeKind::Resumed);
            }
            assert_eq!(post(&agent, &url).unwrap(), "ok");
            assert_eq!(seen.recv().unwrap(), HandshakeKind::Full);
        }
    }
}

#[test]
fn an_answer_larger_than_every_buffer_arrives_whole() {
    let authority = Authority::new();
    let text: String = (0..200_000)
        .map(|i| char::from(b'a' + (i % 23) as u8))
        .collect();
    let sent = text.clone();
    let (address, _seen) = serve_tls(authority.server(&localhost()), move |tls| {
        write!(tls, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        for chunk in sent.as_bytes().chunks(7001) {
            write!(tls, "{:x}\r\n", chunk.len()).unwrap();
            tls.write_all(chunk).unwrap();
            tls.write_all(b"\r\n").unwrap();
        }
        tls.write_all(b"0\r\n\r\n").unwrap();
    });
    let agent = agent_for(&authority.network(), 5000);
    assert_eq!(post(&agent, &format!("https://{address}/")).unwrap(), text);
}

/// The input buffer holds the beginning of a head when a whole record of the largest size comes, and
/// small ones right behind it.
#[test]
fn records_for_which_there_is_no_room_wait_for_it_in_their_order() {
    let authority = Authority::new();
    let body: String = (0..18_000)
        .map(|i| char::from(b'a' + (i % 19) as u8))
        .collect();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let answer = [head.as_bytes(), body.as_bytes()].concat();
    for first in [1, 20, 200] {
        let config = Arc::new(authority.server(&localhost()));
        let answer = answer.clone();
        let address = serve(move |mut stream| {
            let mut connection = ServerConnection::new(config.clone()).unwrap();
            let mut request = [0; 4096];
            let amount = rustls::Stream::new(&mut connection, &mut stream).read(&mut request);
            assert!(amount.unwrap() > BODY.len());
            let (beginning, rest) = answer.split_at(first);
            let (record, rest) = rest.split_at(16 * 1024);
            // At once, so that they are read at once.
            let mut flight = Vec::new();
            for text in [beginning, record].into_iter().chain(rest.chunks(300)) {
                connection.writer().write_all(text).unwrap();
                while connection.wants_write() {
                    connection.write_tls(&mut flight).unwrap();
                }
            }
            stream.write_all(&flight).unwrap();
        });
        let agent = agent_for(&authority.network(), 5000);
        let came = post(&agent, &format!("https://{address}/")).unwrap();
        assert_eq!(came, body, "{first}");
    }
}

#[test]
fn a_host_that_no_certificate_can_be_for_is_named_so() {
    let (proxy, _asked) = tunnelling_proxy();
    let (_listener, target) = listen();
    let agent = agent_for(&through(proxy, ""), 2000);
    // A number that the system's resolver knows and no certificate does.
    let url = format!("https://0x7f.1:{}/", target.port());
    let failure = failure(post(&agent, &url));
    assert_eq!(failure.status, Status::Tls);
    assert!(
        failure.message.starts_with("0x7f.1 is not a host name"),
        "{failure}"
    );
    assert_eq!(failure.to_string(), failure.message);
}

#[test]
fn a_server_that_wants_a_certificate_of_ours_says_so_once_the_handshake_is_over() {
    let authority = Authority::new();
    let mut config = authority.server(&localhost());
    let provider = config.crypto_provider().clone();
    let roots = Arc::new(authority.network().added);
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .unwrap();
    let resolver = config.cert_resolver.clone();
    config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_cert_resolver(resolver);
    let (address, _seen) = serve_tls(config, |_| {});
    let agent = agent_for(&authority.network(), 2000);
    match post(&agent, &format!("https://{address}/")) {
        Err(ureq::Error::Rustls(rustls::Error::AlertReceived(alert))) => {
            assert_eq!(alert, AlertDescription::CertificateRequired);
        }
        other => panic!("{other:?}"),
    }
}

/// In TLS 1.2 the server has the last word of the handshake, and may say good-bye in the same breath.
#[test]
fn a_server_that_says_good_bye_with_the_end_of_the_handshake_gets_no_request() {
    let authority = Authority::new();
    let mut config = authority.server(&localhost());
    let (provider, resolver) = (
        config.crypto_provider().clone(),
        config.cert_resolver.clone(),
    );
    config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    let config = Arc::new(config);
    let (sender, receiver) = mpsc::channel();
    let address = serve(move |mut stream| {
        let mut connection = ServerConnection::new(config.clone()).unwrap();
        while connection.is_handshaking() {
            connection.read_tls(&mut stream).unwrap();
            connection.process_new_packets().unwrap();
            if !connection.is_handshaking() {
                connection.send_close_notify();
            }
            let mut flight = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut flight).unwrap();
            }
            stream.write_all(&flight).unwrap();
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        sender.send(rest.len()).unwrap();
    });
    let agent = agent_for(&authority.network(), 2000);
    let failure = failure(post(&agent, &format!("https://{address}/")));
    assert_eq!(failure.status, Status::Connect);
    assert!(
        failure.message.contains("during the TLS handshake"),
        "{failure}"
    );
    drop(agent);
    // No more than a good-bye.
    assert!(receiver.recv().unwrap() < BODY.len());
}

#[test]
fn a_certificate_larger_than_a_record_is_accepted() {
    let authority = Authority::new();
    let mut names = localhost();
    names.extend((0..1000).map(|i| format!("till-{i}.a-restaurant.example")));
    let (address, _seen) = serve_tls(authority.server(&names), |tls| {
        tls.write_all(ANSWER).unwrap();
    });
    let agent = agent_for(&authority.network(), 5000);
    assert_eq!(post(&agent, &format!("https://{address}/")).unwrap(), "ok");
}

#[test]
fn the_server_is_told_why_its_certificate_was_refused() {
    let authority = Authority::new();
    let config = Arc::new(authority.server(&localhost()));
    let (sender, receiver) = mpsc::channel();
    let address = serve(move |mut stream| {
        let mut connection = ServerConnection::new(config.clone()).unwrap();
        let error = connection.complete_io(&mut stream).unwrap_err();
        sender.send(error.to_string()).unwrap();
    });
    failure(post(
        &agent_for(&network(), 2000),
        &format!("https://{address}/"),
    ));
    let told = receiver.recv().unwrap();
    assert!(told.contains("UnknownCA"), "{told}");
}

#[test]
fn servers_that_do_not_speak_tls_as_they_should_are_explained() {
    type Peer = fn(TcpStream);
    let cases: [(Peer, Status, &str); 8] = [
        (
            |mut s| drop(s.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
            Status::Tls,
            "plain HTTP",
        ),
        (
            |mut s| drop(s.write_all(b"<html><body>Bad request")),
            Status::Tls,
            "plain HTTP",
        ),
        (
            |mut s| drop(s.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")),
            Status::Tls,
            "not TLS",
        ),
        (
            |mut s| drop(s.write_all(&[21, 3, 1, 0, 2, 2, 70])),
            Status::Tls,
            "older than 1.2",
        ),
        (
            |mut s| drop(s.write_all(&[21, 3, 3, 0, 2, 2, 40])),
            Status::Tls,
            "handshake_failure (40)",
        ),
        // A good-bye in place of an answer.
        (
            |mut s| drop(s.write_all(&[21, 3, 3, 0, 2, 1, 0])),
            Status::Connect,
            "during the TLS handshake",
        ),
        (
            |s| drop(s.shutdown(Shutdown::Write)),
            Status::Connect,
            "closed by the other side",
        ),
        // Closing with unread bytes resets.
        (
            |s| drop(s.peek(&mut [0])),
            Status::Connect,
            "connection reset",
        ),
    ];
    for (peer, status, words) in cases {
        let address = serve(move |mut stream| {
            if status == Status::Tls || words != "connection reset" {
                let _ = stream.read(&mut [0; 4096]);
            }
            peer(stream);
        });
        let failure = failure(post(
            &agent_for(&network(), 2000),
            &format!("https://{address}/"),
        ));
        assert_eq!(failure.status, status, "{words}: {failure}");
        assert!(failure.message.contains(words), "{words}: {failure}");
    }
}

#[test]
fn an_added_certificate_extends_the_other_roots() {
    let authority = Authority::new();
    let (address, _seen) = serve_tls(authority.server(&localhost()), |tls| {
        tls.write_all(ANSWER).unwrap();
    });
    for roots in [Roots::None, Roots::Bundled, Roots::System] {
        let network = Network {
            roots,
            ..authority.network()
        };
        let agent = agent_for(&network, 5000);
        assert_eq!(post(&agent, &format!("https://{address}/")).unwrap(), "ok");
    }
}

#[test]
fn no_roots_at_all_is_an_invalid_argument() {
    let nothing = Network {
        roots: Roots::None,
        ..network()
    };
    let error = agent(&nothing, "", ureq::Agent::config_builder().build())
        .map(drop)
        .unwrap_err();
    assert_eq!(error.status(), Status::InvalidArgument);
}

// --- proxies ---

/// A proxy that tunnels to wherever it is asked, and tells what it was asked.
fn tunnelling_proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
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
    (address, asked)
}

#[test]
fn https_and_http_pass_a_proxy_with_credentials() {
    let authority = Authority::new();
    let (secure, _seen) = serve_tls(authority.server(&localhost()), |tls| {
        tls.write_all(ANSWER).unwrap();
    });
    let plain = serve(|mut stream| {
        read_request(&mut stream);
        stream.write_all(ANSWER).unwrap();
    });
    let (proxy, asked) = tunnelling_proxy();
    let network = Network {
        proxy: through(proxy, "till%40a:p%3ass@").proxy,
        ..authority.network()
    };
    let agent = agent_for(&network, 2000);
    for (scheme, server) in [("https", secure), ("http", plain)] {
        let url = format!("{scheme}://localhost:{}/", server.port());
        assert_eq!(post(&agent, &url).unwrap(), "ok");
        let head = asked.lock().unwrap().pop().unwrap();
        let target = format!("localhost:{}", server.port());
        assert_eq!(
            head,
            format!(
                "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: agent/1\r\n\
                 Proxy-Authorization: Basic dGlsbEBhOnA6c3M=\r\n\r\n"
            )
        );
    }
}

#[test]
fn the_target_of_a_proxied_connection_is_not_resolved_here() {
    let proxy = serve(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
    });
    let agent = agent_for(&through(proxy, ""), 2000);
    let failure = failure(post(&agent, "https://no-such-host.invalid/"));
    assert_eq!(
        (failure.status, failure.http_status),
        (Status::Proxy, Some(502))
    );
}

#[test]
fn what_a_proxy_answers_is_explained() {
    const RESET: &[u8] = b"(reset)";
    let long = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; 20_000]].concat();
    for (answer, http_status, words) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
            Some(407),
            "asks for a user",
        ),
        (
            b"HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM\r\n\r\n",
            Some(407),
            "asks for a login by Negotiate or NTLM, and this library speaks only Basic",
        ),
        (
            b"HTTP/1.1 407 x\r\nProxy-Authenticate: Digest realm=\"a, b\", qop=\"auth\"\r\n\r\n",
            Some(407),
            "asks for a login by Digest, and",
        ),
        (
            b"HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM, basic realm=\"x\"\r\n\r\n",
            Some(407),
            "asks for a user name and password",
        ),
        (b"HTTP/1.1 429 x\r\n\r\n", Some(429), "too many requests"),
        (
            b"HTTP/1.0 403 Filtered\r\n\r\n<html>",
            Some(403),
            "does not allow this host",
        ),
        (
            b"HTTP/1.1 503 x\r\n\r\n",
            Some(503),
            "could not reach this host",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n",
            Some(302),
            "302 Found",
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            None,
            "not answer like an HTTP proxy",
        ),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            None,
            "not answer like an HTTP proxy",
        ),
        (
            b"HTTP/1.1 abc\r\n\r\n",
            None,
            "not answer like an HTTP proxy",
        ),
        (&long, None, "not answer like an HTTP proxy"),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 x\n\nHTTP/1.1 403 Forbidden\n\n",
            Some(403),
            "does not allow this host",
        ),
        (
            b"HTTP/1.1 200",
            None,
            "closed the connection without an answer",
        ),
        (b"", None, "closed the connection without an answer"),
        (RESET, None, "broke the connection: connection reset"),
    ] {
        let answer = answer.to_vec();
        let proxy = serve(move |mut stream| {
            if answer == RESET {
                // Closing with unread bytes resets.
                let _ = stream.peek(&mut [0]);
                return;
            }
            read_head(&mut stream);
            let _ = stream.write_all(&answer);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read(&mut [0]);
        });
        let agent = agent_for(&through(proxy, ""), 2000);
        let failure = failure(post(&agent, "https://a.example/"));
        assert_eq!(
            (failure.status, failure.http_status),
            (Status::Proxy, http_status),
            "{failure}"
        );
        assert!(failure.message.contains(words), "{failure}");
        assert!(failure.message.contains(&proxy.to_string()), "{failure}");
    }
}

#[test]
fn a_proxy_that_hangs_or_is_gone_is_named() {
    let (_listener, hanging) = listen();
    let hole = BlackHole::new();
    let unknown = Network {
        proxy: ProxyChoice::Url(ProxyUrl::parse("no-such-proxy.invalid:3128").unwrap()),
        ..network()
    };
    for (network, words) in [
        (through(hanging, ""), "did not answer within "),
        (through(hole.address, ""), "no answer within "),
        (through(refusing(), ""), "connection refused"),
        (unknown, "cannot resolve the proxy no-such-proxy.invalid: "),
    ] {
        let failure = failure(post(&agent_for(&network, 150), "https://a.example/"));
        assert_eq!((failure.status, failure.http_status), (Status::Proxy, None));
        assert!(failure.message.contains(words), "{failure}");
        assert!(
            !words.ends_with(" within ") || says_how_long(&failure),
            "{failure}"
        );
        assert!(failure.message.contains("the proxy "), "{failure}");
    }
}

#[test]
fn debug_output_of_a_connection_is_only_its_name() {
    let authority = Authority::new();
    let (address, _seen) = serve_tls(authority.server(&localhost()), |_| {});
    let reach = || {
        let stream = TcpStream::connect(address)?;
        Ok(Socket::new(Arc::new(stream), address.ip()))
    };
    let target = Endpoint {
        host: "localhost".into(),
        port: address.port(),
    };
    let network = authority.network();
    let settings = TlsSettings::new(&network, Arc::new(Notes::new(Clock::System))).unwrap();
    let tls = settings.connect(reach, &target, &deadline(5000)).unwrap();
    let plain = Plain::new(reach().unwrap(), Clock::System);
    let sessions = sessions::Sessions::default();
    let text = format!("{tls:?} {plain:?} {sessions:?}");
    assert_eq!(text, "Tls Plain Sessions");
}

#[test]
fn a_password_is_in_no_message_and_no_debug_output() {
    let secret = "hunter2";
    let (_listener, hanging) = listen();
    let network = through(hanging, &format!("till:{secret}@"));
    let agent = agent_for(&network, 60);
    let failure = failure(post(&agent, "https://a.example/"));
    for text in [
        format!("{failure:?}"),
        format!("{:?}", network.proxy),
        format!("{agent:?}"),
    ] {
        assert!(!text.contains(secret) && !text.contains("till"), "{text}");
    }
}
