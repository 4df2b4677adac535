//! The lower limit of the comparison in ../../exchange.h: a TLS connection, a request written by hand, and a search
//! for the token's quotes. No retries, no thread, no JSON parser.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const TIMEOUT: Duration = Duration::from_secs(10);
const BODY: &str = "{\"client_id\":\"sandbox_client\",\"client_secret\":\"sandbox_secret\",\
                    \"brand\":\"sandbox\",\"integrator_id\":\"test_sandbox\"}";

struct Client {
    address: String,
    host: String,
    config: Arc<ClientConfig>,
    kept: Option<StreamOwned<ClientConnection, TcpStream>>,
}

impl Client {
    fn new(url: &str, ca_file: &str) -> Client {
        let address = url.strip_prefix("https://").expect("https").to_owned();
        let mut roots = RootCertStore::empty();
        let found = CertificateDer::pem_file_iter(ca_file).expect("CA_FILE");
        roots.add_parsable_certificates(found.map(|der| der.expect("a certificate")));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(1);
        let host = address.split(':').next().expect("host").to_owned();
        Client {
            address,
            host,
            config: Arc::new(config),
            kept: None,
        }
    }

    fn connect(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from(self.host.clone()).expect("host name");
        let socket = TcpStream::connect(&self.address).expect("connect");
        socket.set_nodelay(true).expect("TCP_NODELAY");
        socket.set_read_timeout(Some(TIMEOUT)).expect("SO_RCVTIMEO");
        socket
            .set_write_timeout(Some(TIMEOUT))
            .expect("SO_SNDTIMEO");
        let connection = ClientConnection::new(self.config.clone(), name).expect("TLS");
        StreamOwned::new(connection, socket)
    }

    fn exchange(&mut self) -> String {
        let mut stream = self.kept.take().unwrap_or_else(|| self.connect());
        let request = format!(
            "POST /open-api/v2/auth HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{BODY}",
            self.address,
            BODY.len()
        );
        stream.write_all(request.as_bytes()).expect("send");
        let (mut response, mut len) = ([0; 8192], 0);
        let end = loop {
            let text = std::str::from_utf8(&response[..len]).expect("text");
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                let (_, rest) = head.split_once("Content-Length: ").expect("a length");
                let length = rest.lines().next().expect("a length").parse::<usize>();
                if body.len() == length.expect("a number") {
                    break head.contains("Connection: close");
                }
            }
            match stream.read(&mut response[len..]).expect("receive") {
                0 => panic!("closed"),
                more => len += more,
            }
        };
        let text = std::str::from_utf8(&response[..len]).expect("text");
        let (_, rest) = text.split_once("\"token\":\"").expect("a token");
        let token = rest[..rest.find('"').expect("its end")].to_owned();
        if !end {
            self.kept = Some(stream);
        }
        token
    }
}

fn heap() -> f64 {
    // SAFETY: only reads the allocator's counters.
    unsafe { libc::mallinfo2() }.uordblks as f64
}

fn run(client: &mut Client, exchanges: usize) -> Vec<u128> {
    let mut times = Vec::with_capacity(exchanges);
    for _ in 0..exchanges {
        let from = Instant::now();
        assert!(client.exchange().len() > 100);
        times.push(from.elapsed().as_nanos());
    }
    times
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| {
        arguments
            .get(at)
            .map_or(1, |text| text.parse().expect("a number"))
    };
    let (mut exchanges, count): (usize, usize) = (number(3), number(4));
    let mut clients: Vec<Client> = (0..count)
        .map(|_| Client::new(&arguments[1], &arguments[2]))
        .collect();
    let mut from = Instant::now();
    let mut times = if count == 1 {
        run(&mut clients[0], exchanges)
    } else {
        exchanges = (exchanges - 1).max(1);
        clients[0].exchange();
        let one = heap();
        for client in &mut clients[1..] {
            client.exchange();
        }
        println!("heap_per_client {:.0}", (heap() - one) / (count - 1) as f64);
        from = Instant::now();
        let first = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| *first.lock().expect("lock") = run(client, exchanges));
            }
        });
        first.into_inner().expect("lock")
    };
    println!(
        "first_ns {}\nall_ns {}",
        times[0],
        from.elapsed().as_nanos() / (exchanges * count) as u128
    );
    if exchanges > 1 {
        times[1..].sort();
        println!("other_ns {}", times[1 + (exchanges - 1) / 2]);
    }
}
