//! One attempt: sends the request, reads the response, maps errors. It sends a second request only
//! if the server closed the kept connection or answered 408 on it. Retries after a failure, waiting
//! and caching are elsewhere.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::time::{Duration, Instant};

use once_cell::race::OnceBox;
use once_cell::sync::OnceCell;
use ureq::Agent;
use ureq::http::header::{
    ACCEPT, AsHeaderName, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER, TRANSFER_ENCODING, USER_AGENT,
};
use ureq::http::uri::Scheme;
use ureq::http::{HeaderMap, Uri};
use ureq_proto::client::MAX_RESPONSE_HEADERS;

use crate::connect::{self, Connections, Network};
use crate::protocol::{self, Grant, Head, MAX_BODY_BYTES, Request};
use crate::wiped::WipedBuffer;
use crate::{Config, Credentials, Error, Status, injected};

/// One less than the size to which the input buffer grows, to tell an oversized head from an
/// incomplete one.
const MAX_HEAD_BYTES: usize = 16 * 1024 - 1;
// The message in `explain` has this number.
const _: () = assert!(MAX_RESPONSE_HEADERS == 128);
/// The first size of the buffer for a body without a length. A usual response has 500 bytes.
const SMALL_BODY_BYTES: usize = 4 * 1024;

/// ureq's settings, the same for all clients. Made once for each process: ureq reads the proxy
/// variables when it makes them, although they are not used, and a host may call `setenv` on
/// another thread meanwhile. Not a `OnceCell`: it would stay locked in a child that is forked
/// meanwhile.
static SETTINGS: OnceBox<ureq::config::Config> = OnceBox::new();

/// Sends requests. Owns the kept connection and the TLS sessions.
pub(crate) struct HttpClient {
    url: Uri,
    host: Box<str>,
    user_agent: Box<str>,
    network: Network,
    connections: OnceCell<Connections>,
}

/// A response, before it is parsed.
struct RawResponse {
    http_status: u16,
    headers: HeaderMap,
    /// `None` if it was larger than [`MAX_BODY_BYTES`]. Empty if that of a failure could not be read.
    body: Option<WipedBuffer>,
}

/// An attempt without a token.
pub(crate) struct Failed {
    pub error: Error,
    /// Whether a connection was made, so that the service may have seen the request.
    pub connected: bool,
}

impl HttpClient {
    pub fn new(config: &Config) -> Result<HttpClient, Error> {
        let url = config.auth_url()?;
        let host = url.authority().map_or("", |authority| authority.as_str());
        Ok(HttpClient {
            host: host.into(),
            url,
            user_agent: config.user_agent.clone(),
            network: config.network.clone(),
            connections: OnceCell::new(),
        })
    }

    /// `HOST[:PORT]` of the URL, for messages.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Makes what the first attempt needs, so that errors in the settings are found when the
    /// client is made.
    pub fn prepare(&self) -> Result<(), Error> {
        let connections = self.connections()?;
        // The first request makes a global value of ureq's, under a lock. A fork at that moment
        // would leave it locked in the child. So it is made here, by a request that fails because
        // its URL has no host.
        let _ = connections.agent.get("/").call();
        Ok(())
    }

    /// Sends one request, for at most `timeout`. If the server closes the kept connection instead
    /// of responding, or answers there with 408 (RFC 9110, 15.5.9), sends it again on a new
    /// connection, provided that `may_send_again`.
    pub fn attempt(
        &self,
        credentials: &Credentials,
        timeout: Duration,
        may_send_again: impl FnOnce() -> bool,
    ) -> Result<Grant, Failed> {
        let connections = self.connections().map_err(|error| Failed {
            error,
            connected: false,
        })?;
        let started = Instant::now();
        let attempts = connections.addresses.connection_attempts();
        let max_idle = connections.agent.config().max_idle_age();
        let mut response = self.send(connections, credentials, timeout, max_idle);
        let kept = connections.addresses.connection_attempts() == attempts;
        let was_dropped = match &response {
            Ok(response) => response.http_status == 408,
            Err(error) => matches!(error, ureq::Error::Io(_)),
        };
        if kept && was_dropped && may_send_again() {
            // The server may have closed the idle connection at that moment: not a failure.
            let left = timeout.saturating_sub(started.elapsed());
            response = self.send(connections, credentials, left, Duration::ZERO);
        }
        let response = response.map_err(|error| self.explain(error, timeout))?;
        self.read(&response, credentials).map_err(|error| Failed {
            error,
            connected: true,
        })
    }

    /// Uses the kept connection if it was idle for less than `max_idle`.
    fn send(
        &self,
        connections: &Connections,
        credentials: &Credentials,
        timeout: Duration,
        max_idle: Duration,
    ) -> Result<RawResponse, ureq::Error> {
        injected::panic_if(credentials.brand.expose(), "panic in the flight");
        let body = protocol::request_body(credentials);
        let mut response = connections
            .agent
            .post(&self.url)
            .config()
            .timeout_global(Some(timeout))
            .max_idle_age(max_idle)
            .build()
            .header(USER_AGENT, &*self.user_agent)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .send(body.bytes())?;
        let length = response.body().content_length();
        let date = response.headers().get(DATE);
        if let Some(date) = date.and_then(|date| protocol::unix_seconds(date.to_str().ok()?))
            && self.url.scheme() == Some(&Scheme::HTTPS)
        {
            connections.server_clock.saw(date);
        }
        let mut body = read_body(&mut response.body_mut().as_reader(), length);
        if !response.status().is_success() && !matches!(body, Ok(Some(_))) {
            // The head says what failed, and when to come back.
            body = Ok(Some(WipedBuffer::default()));
        }
        let response = RawResponse {
            http_status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body: body?,
        };
        connections.addresses.answered();
        Ok(response)
    }

    fn read(&self, response: &RawResponse, credentials: &Credentials) -> Result<Grant, Error> {
        let Some(body) = &response.body else {
            return Err(Error {
                http_status: Some(response.http_status),
                ..self.unexpected("the body is larger than 64 KiB")
            });
        };
        let grant = protocol::parse_response(
            &response.head(),
            body.bytes(),
            self.network.clock.unix_seconds(),
            Request {
                host: &self.host,
                path: self.url.path(),
                secret: &credentials.client_secret,
            },
        )?;
        if response.has_unknown_transfer_encoding() {
            return Err(Error {
                http_status: Some(response.http_status),
                ..self.unexpected("its Transfer-Encoding is not just \"chunked\"")
            });
        }
        Ok(grant)
    }

    /// Interrupts the request in progress and closes the kept connection. Later requests fail, also the first
    /// one (in a forked child, where nothing is prepared).
    pub fn shut_down(&self) {
        if let Ok(connections) = self.connections() {
            connections.agent.clone().shutdown();
        }
    }

    fn connections(&self) -> Result<&Connections, Error> {
        self.connections.get_or_try_init(|| self.connect())
    }

    fn connect(&self) -> Result<Connections, Error> {
        let config = SETTINGS.get_or_init(|| {
            let builder = Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_response_header_size(MAX_HEAD_BYTES)
                .accept_encoding("identity")
                .proxy(None)
                .max_idle_connections(1);
            Box::new(builder.build())
        });
        Connections::new(&self.network, &self.user_agent, config.clone())
    }

    /// Maps an error of ureq. The message never quotes what was received.
    fn explain(&self, error: ureq::Error, timeout: Duration) -> Failed {
        let host = &match self.connections.get() {
            Some(connections) => connections.addresses.peer(&self.host),
            None => self.host.to_string(),
        };
        let broke = |how: &str| {
            Error::new(
                Status::Connect,
                format!("the connection to {host} broke before the response was complete ({how})"),
            )
        };
        let error = match error {
            ureq::Error::Other(other) => match other.downcast::<Error>() {
                Ok(error) => {
                    return Failed {
                        error: *error,
                        connected: false,
                    };
                }
                Err(_) => self.unexpected("it is not HTTP"),
            },
            ureq::Error::Timeout(_) => Error::new(
                Status::Timeout,
                format!("{host} did not answer within {} ms", timeout.as_millis()),
            ),
            ureq::Error::Io(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => broke("closed by the peer"),
                io::ErrorKind::Other => broke(&error.to_string()),
                kind => broke(&kind.to_string()),
            },
            ureq::Error::LargeResponseHeader(..) => {
                self.unexpected("its headers are larger than 16 KiB")
            }
            ureq::Error::Rustls(error) => Error::new(
                Status::Tls,
                format!(
                    "TLS error on the connection to {host}: {}",
                    connect::tls_problem(&error)
                ),
            ),
            ureq::Error::ConnectionFailed | ureq::Error::BodyStalled => broke("no more data"),
            ureq::Error::Protocol(ureq_proto::Error::HttpParseTooManyHeaders) => {
                self.unexpected("it has over 128 header fields, the most that this library reads")
            }
            ureq::Error::Protocol(ureq_proto::Error::ChunkExpectedCrLf) => self.unexpected(
                "a chunk has another length than it says, or the line with its length has over 20 \
                 bytes, the most that this library reads",
            ),
            _ => self.unexpected("it is not HTTP"),
        };
        Failed {
            error,
            connected: true,
        }
    }

    fn unexpected(&self, problem: &str) -> Error {
        protocol::unexpected(&self.host, problem)
    }
}

/// The body, or `None` if it is larger than [`MAX_BODY_BYTES`].
fn read_body(reader: &mut impl Read, length: Option<u64>) -> io::Result<Option<WipedBuffer>> {
    let expected = length.map_or(SMALL_BODY_BYTES, |length| {
        usize::try_from(length).unwrap_or(usize::MAX)
    });
    if expected > MAX_BODY_BYTES {
        return Ok(None);
    }
    // One more byte, so that a read after the last byte sees the end.
    let mut body = WipedBuffer::with_capacity(expected + 1);
    loop {
        if body.room().is_empty() && !body.grow(MAX_BODY_BYTES + 1) {
            return Ok(None);
        }
        let amount = reader.read(body.room())?;
        if amount == 0 {
            return Ok(Some(body));
        }
        body.appended(amount);
    }
}

impl RawResponse {
    /// Whether the body has a transfer encoding other than chunked, which is the only one that is
    /// decoded.
    fn has_unknown_transfer_encoding(&self) -> bool {
        let values = self.headers.get_all(TRANSFER_ENCODING).iter();
        let mut others = values.filter(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked"));
        others.next().is_some()
    }

    fn head(&self) -> Head<'_> {
        fn all(headers: &HeaderMap, name: impl AsHeaderName) -> Vec<&str> {
            let values = headers.get_all(name).iter();
            values.filter_map(|value| value.to_str().ok()).collect()
        }
        let one = |name| self.headers.get(name)?.to_str().ok();
        Head {
            http_status: self.http_status,
            date: one(DATE),
            location: one(LOCATION),
            retry_after: all(&self.headers, RETRY_AFTER),
            rate_limit_reset: all(&self.headers, "ratelimit-reset"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_was_shut_down_before_its_first_request_sends_none() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let mut config = Config::new();
        let url = format!("http://{}", server.local_addr().unwrap());
        config
            .set_base_url(&url)
            .unwrap()
            .set_proxy("none")
            .unwrap();
        let client = HttpClient::new(&config).unwrap();
        client.shut_down();
        let credentials = Credentials::new("id", "secret", "brand", "integrator").unwrap();
        let sent = client.attempt(&credentials, Duration::from_secs(1), || true);
        assert!(sent.is_err());
        let error = server.accept().map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "it connected");
    }

    #[test]
    fn an_error_in_the_middle_of_a_request_names_the_host_and_no_details() {
        let client = HttpClient::new(&Config::new()).unwrap();
        let unknown = Box::<dyn std::error::Error + Send + Sync>::from("secret");
        for (error, status, part) in [
            (
                ureq::Error::Rustls(rustls::Error::DecryptError),
                Status::Tls,
                "TLS error on the connection",
            ),
            (ureq::Error::BodyStalled, Status::Connect, "no more data"),
            (
                ureq::Error::Io(io::ErrorKind::BrokenPipe.into()),
                Status::Connect,
                "broken pipe",
            ),
            (ureq::Error::Other(unknown), Status::Protocol, "not HTTP"),
        ] {
            let failed = client.explain(error, Duration::from_secs(1));
            assert!(failed.connected);
            assert_eq!(failed.error.status(), status);
            let text = failed.error.to_string();
            assert!(
                text.contains(part) && text.contains(client.host()),
                "{text}"
            );
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
