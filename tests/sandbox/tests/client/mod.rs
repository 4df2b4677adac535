//! Clients for the tests: an HTTP client, and one that returns every byte.
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

/// An HTTP client that trusts only this CA.
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

/// Requests a token and reads the JSON response.
pub fn sign_in(sandbox: &Sandbox, body: &Value) -> Response<Value> {
    let url = sandbox.url() + AUTH_PATH;
    read(
        agent(sandbox.ca_pem())
            .post(url)
            .content_type("application/json")
            .send(body.to_string()),
    )
}

pub fn read(sent: Result<Response<ureq::Body>, ureq::Error>) -> Response<Value> {
    let (parts, mut body) = sent.expect("a response").into_parts();
    let text = body.read_to_string().expect("a body");
    Response::from_parts(parts, serde_json::from_str(&text).expect("a JSON body"))
}

pub fn header<'a>(response: &'a Response<Value>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().expect("visible ASCII"))
}

/// A TLS client without HTTP.
pub struct RawClient(Arc<ClientConfig>);

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Closed by the server.
    Closed,
    /// Reset by the server.
    Reset,
    /// Open, and no more bytes came.
    Quiet,
    /// Open, and more bytes came than a client should read.
    Flood,
    /// The bytes were no TLS.
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
        timeout: Duration,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let tcp = TcpStream::connect(("127.0.0.1", sandbox.port()))?;
        tcp.set_read_timeout(Some(timeout))?;
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(tls, tcp))
    }

    /// Requests a token and returns the bytes until the connection ended, and how it ended. It is quiet if no byte
    /// comes for `timeout`.
    pub fn send_request(&self, sandbox: &Sandbox, keep: &str, timeout: Duration) -> (Vec<u8>, End) {
        let mut received = Vec::new();
        let end = match self.try_send_request(sandbox, keep, timeout, &mut received) {
            Ok(()) if received.len() as u64 == FLOOD => End::Flood,
            Ok(()) => End::Closed,
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => End::Closed,
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => End::Quiet,
                io::ErrorKind::InvalidData => End::NoTls,
                _ => panic!("unexpected end: {error}"),
            },
        };
        (received, end)
    }

    fn try_send_request(
        &self,
        sandbox: &Sandbox,
        keep: &str,
        timeout: Duration,
        received: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut stream = self.connect(sandbox, timeout)?;
        stream.write_all(&request(keep))?;
        stream.take(FLOOD).read_to_end(received)?;
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
