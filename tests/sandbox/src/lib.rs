//! A test server for the Clopos Open API v2 on loopback, with TLS and its own CA.
//!
//! It responds to `POST /open-api/v2/auth` as documented, rate limits included, and injects the faults
//! of [`Fault::NAMED`] on command. `GET /open-api/v2/venues` checks the tokens.
//!
//! ```
//! use clopos_sandbox::{Fault, Sandbox, Settings};
//!
//! # fn main() -> std::io::Result<()> {
//! let sandbox = Sandbox::start(Settings::default())?;
//! // Point a client at sandbox.url(), with sandbox.ca_pem() as its only root.
//! sandbox.fail_times(Fault::Status503, 2);
//! sandbox.update(|settings| settings.clock_offset = -3600);
//! assert_eq!(sandbox.auth_requests(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! The known credentials are the constants [`CLIENT_ID`] to [`DISABLED_CLIENT`]. The fields of a request are
//! checked first, then the credentials, then the environment.
//!
//! # Control over HTTP
//!
//! For tests in other languages, on [`Sandbox::control_url`] and on the service itself:
//!
//! | request | body | does |
//! |---|---|---|
//! | `POST /sandbox/faults` | `{"name": "status-503", "times": 2}` | [`Sandbox::fail_times`]; without `times` [`Sandbox::fail`] |
//! | `DELETE /sandbox/faults` | | [`Sandbox::heal`] |
//! | `POST /sandbox/settings` | any of `lifetime`, `latency_ms`, `clock_offset`, `requests_per_minute` | [`Sandbox::update`] |
//! | `GET /sandbox/stats` | | the counters |
//! | `GET /sandbox/ca.pem` | | [`Sandbox::ca_pem`] |
//!
//! The control port is plain HTTP and has no faults: on the service's own port, a connection fault
//! would affect the connection with the command.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod auth;
mod control;
mod effects;
mod faults;
mod limit;
mod script;
mod server;
mod service;
mod settings;
mod state;
mod tls;
mod token;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::runtime;
use tokio::sync::oneshot;

pub use auth::{
    CLIENT_ID, CLIENT_SECRET, DISABLED_CLIENT, DISABLED_INTEGRATOR, PRODUCTION_BRAND,
    PRODUCTION_INTEGRATOR, TEST_BRAND, TEST_INTEGRATOR, UNICODE_BRAND,
};
pub use faults::Fault;
pub use script::Step;
pub use service::{AUTH_PATH, VENUES_PATH};
pub use settings::{Certificate, Settings, StandIn};
pub use state::Recorded;

use state::State;

/// A running sandbox. Dropping it stops it and closes its connections.
///
/// It runs on its own thread. Every method may be called from any thread at any time.
#[must_use = "a sandbox stops when it is dropped"]
pub struct Sandbox {
    state: Arc<State>,
    service: SocketAddr,
    control: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sandbox {
    /// Starts a sandbox, which accepts connections when this returns.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on, a name that cannot be in a certificate, or a path that
    /// is not a path.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let path = &settings.auth_path;
        if !path.starts_with('/') || path.contains(['{', '}', '?', '#']) || path == VENUES_PATH {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "auth_path: not a path",
            ));
        }
        let service_listener = TcpListener::bind(settings.listen)?;
        let control_listener = TcpListener::bind(settings.control)?;
        let (service, control) = (
            service_listener.local_addr()?,
            control_listener.local_addr()?,
        );
        service_listener.set_nonblocking(true)?;
        control_listener.set_nonblocking(true)?;

        let state = Arc::new(State::new(settings)?);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (service_listener, control_listener) = {
            let _inside = runtime.enter();
            (
                tokio::net::TcpListener::from_std(service_listener)?,
                tokio::net::TcpListener::from_std(control_listener)?,
            )
        };

        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        let thread = thread::Builder::new()
            .name("clopos-sandbox".into())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::spawn(async move {
                        let router = control::router(Arc::clone(&shared));
                        tokio::spawn(server::serve(service_listener, shared));
                        axum::serve(control_listener, router).await
                    });
                    // A message and a dropped sender both mean stop.
                    let _ = stopped.await;
                });
                // Dropping the runtime closes every connection.
            })?;
        Ok(Sandbox {
            state,
            service,
            control,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The service's base URL, such as `https://localhost:40123`.
    pub fn url(&self) -> String {
        let scheme = if self.state.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://localhost:{}", self.port())
    }

    /// The service's port.
    pub fn port(&self) -> u16 {
        self.service.port()
    }

    /// The base URL of the control port, such as `http://127.0.0.1:40124`.
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control)
    }

    /// The CA's certificate; empty without TLS.
    pub fn ca_pem(&self) -> &str {
        &self.state.ca_pem
    }

    /// Injects this fault every time, until [`heal`](Self::heal) or another `fail`. Faults queued
    /// with [`fail_times`](Self::fail_times) come first.
    pub fn fail(&self, fault: Fault) {
        self.state.faults.lock().set_standing(fault);
    }

    /// Injects this fault the next `times` times, after what is already queued.
    ///
    /// The queue is in order: while a connection fault is first, requests on open connections
    /// succeed, and while a request fault is first, new connections do.
    pub fn fail_times(&self, fault: Fault, times: u32) {
        self.state.faults.lock().push(fault, times);
    }

    /// Removes all faults. A connection that has already one keeps it.
    pub fn heal(&self) {
        self.state.faults.lock().heal();
    }

    /// Changes settings while it runs.
    pub fn update(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state.settings.lock());
    }

    /// TCP connections accepted on the service's port.
    pub fn connections(&self) -> u64 {
        self.state.connections.get()
    }

    /// TLS handshakes completed without a ticket.
    pub fn handshakes_full(&self) -> u64 {
        self.state.handshakes_full.get()
    }

    /// TLS handshakes that resumed a session.
    pub fn handshakes_resumed(&self) -> u64 {
        self.state.handshakes_resumed.get()
    }

    /// Auth requests whose whole head arrived.
    pub fn auth_requests(&self) -> u64 {
        self.state.auth_requests.get()
    }

    /// Fault scripts that have ended. Their connections are closed, unless the last step was
    /// [`Step::Proceed`].
    pub fn scripts_ended(&self) -> u64 {
        self.state.scripts_ended.get()
    }

    /// The last request that arrived.
    pub fn last_request(&self) -> Option<Recorded> {
        self.state.requests.lock().last()
    }

    /// The requests that arrived, the last 10 000 at most.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.requests.lock().all()
    }

    /// The tokens that were issued, the last 10 000 at most.
    pub fn issued_tokens(&self) -> Vec<String> {
        self.state
            .tokens
            .lock()
            .all()
            .into_iter()
            .map(|issued| issued.token)
            .collect()
    }

    /// When an issued token expires: its time of issue plus [`Settings::lifetime`]. (Its claim `exp` has whole
    /// seconds.) `None` for a token that is not among the last 10 000.
    pub fn end_of(&self, token: &str) -> Option<Instant> {
        let issued = self.state.tokens.lock().find(|is| is.token == token);
        issued.map(|issued| issued.ends)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been printed.
            let _ = thread.join();
        }
    }
}
