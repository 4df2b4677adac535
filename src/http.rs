//! One attempt: sends the request, reads the answer within its limits, and says in this library's
//! words what went wrong. Retries, waiting and caching are not its business.
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
use crate::protocol::{self, Asked, Grant, Head, MAX_BODY_BYTES};
use crate::wiped::WipedBuffer;
use crate::{Config, Credentials, Error, Status, planted};

/// One byte less than the input buffer grows to, so that a head that is too long is told from one that
/// stopped.
const MAX_HEAD_BYTES: usize = 16 * 1024 - 1;
// As the message in `explain` says.
const _: () = assert!(MAX_RESPONSE_HEADERS == 128);
/// What a body without a length is read into at first; the usual answer has 500 bytes.
const SMALL_BODY_BYTES: usize = 4 * 1024;

/// ureq's settings, the same for all. Made once in a process: ureq reads the proxy variables when it makes
/// them, although they are not used, and a host may call `setenv` on another thread meanwhile. Not a
/// `OnceCell`, which would stay locked in a child that is forked while they are made.
static SETTINGS: OnceBox<ureq::config::Config> = OnceBox::new();

/// Everything that one attempt needs. Keeps the connection pool and the TLS sessions.
pub(crate) struct HttpClient {
    url: Uri,
    host: Box<str>,
    user_agent: Box<str>,
    network: Network,
    connections: OnceCell<Connections>,
}

/// A response as it came.
struct Answer {
    http_status: u16,
    headers: HeaderMap,
    /// `None` if it was larger than [`MAX_BODY_BYTES`].
    body: Option<WipedBuffer>,
}

/// An attempt that brought no token.
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

    /// `HOST:PORT` as it stands in the URL, for messages.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Makes everything that the first attempt would make, and says what stands in its way.
    pub fn prepare(&self) -> Result<(), Error> {
        let connections = self.connections()?;
        // ureq has a value of its own that the first request makes, under a lock. In a child that is
        // forked at that moment it would stay locked: so it is made here, before there is a flight,
        // by a request that ends when it is seen to have no host.
        let _ = connections.agent.get("/").call();
        Ok(())
    }

    /// Asks the service once, for at most `timeout`. If the server drops the kept connection instead of
    /// answering, or says that it waited there too long (408: RFC 9110, 15.5.9), asks on a new one, if
    /// `may_ask_again`.
    pub fn attempt(
        &self,
        credentials: &Credentials,
        timeout: Duration,
        may_ask_again: impl FnOnce() -> bool,
    ) -> Result<Grant, Failed> {
        let connections = self.connections().map_err(|error| Failed {
            error,
            connected: false,
        })?;
        let started = Instant::now();
        let dialled = connections.addresses.dialled();
        let max_idle = connections.agent.config().max_idle_age();
        let mut answer = self.ask(connections, credentials, timeout, max_idle);
        let kept = connections.addresses.dialled() == dialled;
        let was_dropped = match &answer {
            Ok(answer) => answer.http_status == 408,
            Err(error) => matches!(error, ureq::Error::Io(_)),
        };
        if kept && was_dropped && may_ask_again() {
            // It was dropped in this very moment, as far as anybody can know: nobody's failure.
            let left = timeout.saturating_sub(started.elapsed());
            answer = self.ask(connections, credentials, left, Duration::ZERO);
        }
        let answer = answer.map_err(|error| self.explain(error, timeout))?;
        self.read(&answer, credentials).map_err(|error| Failed {
            error,
            connected: true,
        })
    }

    /// Uses the kept connection if it was idle for less than `max_idle`.
    fn ask(
        &self,
        connections: &Connections,
        credentials: &Credentials,
        timeout: Duration,
        max_idle: Duration,
    ) -> Result<Answer, ureq::Error> {
        planted::panic_if(credentials.brand.expose(), "panic in the flight");
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
        let answer = Answer {
            http_status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body: read_body(&mut response.body_mut().as_reader(), length)?,
        };
        connections.addresses.answered();
        Ok(answer)
    }

    fn read(&self, answer: &Answer, credentials: &Credentials) -> Result<Grant, Error> {
        let Some(body) = &answer.body else {
            return Err(Error {
                http_status: Some(answer.http_status),
                ..self.unexpected("the body is larger than 64 KiB")
            });
        };
        let grant = protocol::parse_response(
            &answer.head(),
            body.bytes(),
            self.network.clock.unix_seconds(),
            Asked {
                host: &self.host,
                path: self.url.path(),
                secret: &credentials.client_secret,
            },
        )?;
        if answer.has_transfer_encoding_of_its_own() {
            return Err(Error {
                http_status: Some(answer.http_status),
                ..self.unexpected("its Transfer-Encoding is not just \"chunked\"")
            });
        }
        Ok(grant)
    }

    /// Breaks off what is in the air and closes the kept connections. There is no way back.
    pub fn shut_down(&self) {
        if let Some(connections) = self.connections.get() {
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

    /// Puts an error of the HTTP client into this library's words. Never quotes what was received.
    fn explain(&self, error: ureq::Error, timeout: Duration) -> Failed {
        let host = &match self.connections.get() {
            Some(connections) => connections.addresses.peer(&self.host),
            None => self.host.to_string(),
        };
        let broke = |how: &str| {
            Error::new(
                Status::Connect,
                format!("the connection to {host} broke before the answer was complete ({how})"),
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
    // One more, so that the end of a body of that length is seen.
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

impl Answer {
    /// Whether the body was sent in a transfer encoding other than the only one that is read.
    fn has_transfer_encoding_of_its_own(&self) -> bool {
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
    fn what_breaks_in_the_middle_is_put_into_words_with_the_host() {
        let client = HttpClient::new(&Config::new()).unwrap();
        let strange = Box::<dyn std::error::Error + Send + Sync>::from("secret");
        for (error, status, words) in [
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
            (ureq::Error::Other(strange), Status::Protocol, "not HTTP"),
        ] {
            let failed = client.explain(error, Duration::from_secs(1));
            assert!(failed.connected);
            assert_eq!(failed.error.status(), status);
            let text = failed.error.to_string();
            assert!(
                text.contains(words) && text.contains(client.host()),
                "{text}"
            );
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
