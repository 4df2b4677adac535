//! Clients for the tests: a usual one, and one that sees every byte.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use clopos_sandbox::{
    AUTH_PATH, CLIENT_ID, CLIENT_SECRET, Sandbox, Settings, TEST_BRAND, TEST_INTEGRATOR,
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

pub fn start() -> Sandbox {
    start_with(|_| ())
}

pub fn start_with(change: impl FnOnce(&mut Settings)) -> Sandbox {
    let mut settings = Settings::default();
    change(&mut settings);
    Sandbox::start(settings).expect("the sandbox starts")
}

pub fn credentials() -> Value {
    json!({
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "brand": TEST_BRAND,
        "integrator_id": TEST_INTEGRATOR,
    })
}

/// A usual client that trusts only this CA.
pub fn agent(ca_pem: &str) -> ureq::Agent {
    let ca = Certificate::from_pem(ca_pem.as_bytes()).expect("a PEM certificate");
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[ca]))
        .build();
    let config = ureq::config::Config::builder()
        .tls_config(tls)
        .proxy(None)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build();
    config.new_agent()
}

/// Asks for a token and reads the JSON answer.
pub fn ask(sandbox: &Sandbox, body: &Value) -> Response<Value> {
    let url = sandbox.url() + AUTH_PATH;
    read(
        agent(sandbox.ca_pem())
            .post(url)
            .content_type("application/json")
            .send(body.to_string()),
    )
}

pub fn read(sent: Result<Response<ureq::Body>, ureq::Error>) -> Response<Value> {
    let (parts, mut body) = sent.expect("an answer").into_parts();
    let text = body.read_to_string().expect("a body");
    Response::from_parts(parts, serde_json::from_str(&text).expect("a JSON body"))
}

pub fn header<'a>(response: &'a Response<Value>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().expect("visible ASCII"))
}

/// A TLS client below HTTP.
pub struct RawClient(Arc<ClientConfig>);

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Closed by the server.
    Closed,
    /// Reset by the server.
    Reset,
    /// Open, but nothing came any more.
    Quiet,
    /// Open, and more came than any client should read.
    Flood,
    /// What came was no TLS.
    NoTls,
}

impl RawClient {
    pub fn new(sandbox: &Sandbox) -> Self {
        Self::with_versions(sandbox, rustls::DEFAULT_VERSIONS)
    }

    pub fn with_versions(
        sandbox: &Sandbox,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let ca = CertificateDer::from_pem_slice(sandbox.ca_pem().as_bytes()).expect("a PEM");
        let mut roots = RootCertStore::empty();
        roots.add(ca).expect("a CA certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        RawClient(Arc::new(config))
    }

    pub fn connect(
        &self,
        sandbox: &Sandbox,
        patience: Duration,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let tcp = TcpStream::connect(("127.0.0.1", sandbox.port()))?;
        tcp.set_read_timeout(Some(patience))?;
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(tls, tcp))
    }

    /// Asks for a token and returns all that came until the connection ended, and how it ended.
    /// The connection is quiet once nothing comes for `patience`.
    pub fn see(&self, sandbox: &Sandbox, keep: &str, patience: Duration) -> (Vec<u8>, End) {
        let mut seen = Vec::new();
        let end = match self.try_see(sandbox, keep, patience, &mut seen) {
            Ok(()) if seen.len() as u64 == FLOOD => End::Flood,
            Ok(()) => End::Closed,
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => End::Closed,
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => End::Quiet,
                io::ErrorKind::InvalidData => End::NoTls,
                _ => panic!("unforeseen end: {error}"),
            },
        };
        (seen, end)
    }

    fn try_see(
        &self,
        sandbox: &Sandbox,
        keep: &str,
        patience: Duration,
        seen: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut stream = self.connect(sandbox, patience)?;
        stream.write_all(&request(keep))?;
        stream.take(FLOOD).read_to_end(seen)?;
        Ok(())
    }
}

const FLOOD: u64 = 256 * 1024;

/// An auth request in bytes; `keep` is its `Connection` header.
pub fn request(keep: &str) -> Vec<u8> {
    let body = credentials().to_string();
    let length = body.len();
    format!(
        "POST {AUTH_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: {keep}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
