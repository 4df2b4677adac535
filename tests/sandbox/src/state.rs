//! The state of the service, shared by its connections and by the user of [`Sandbox`](crate::Sandbox).

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;

use crate::faults::FaultQueue;
use crate::limit::Limiter;
use crate::settings::Settings;
use crate::token::Signer;

/// How many requests and tokens are remembered, so that a sandbox can run for days.
const REMEMBERED: usize = 10_000;

/// The last second that an HTTP date can name: the end of the year 9999.
const LAST_HTTP_DATE: i64 = 253_402_300_799;

/// A request as it arrived, `/sandbox/*` excepted.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method, such as `POST`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; empty if it did not arrive completely.
    pub body: Vec<u8>,
    /// When the head arrived.
    pub at: Instant,
}

/// A token and its expiry.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub token: String,
    pub expires_at: i64,
    /// The same time on the monotonic clock, to the nanosecond.
    pub ends: Instant,
}

pub(crate) struct State {
    pub tls: Option<Arc<ServerConfig>>,
    pub ca_pem: String,
    pub signer: Signer,
    pub connections: Counter,
    pub handshakes_full: Counter,
    pub handshakes_resumed: Counter,
    pub auth_requests: Counter,
    pub scripts_ended: Counter,
    pub tokens_issued: Counter,
    pub limiter: Shared<Limiter>,
    pub faults: Shared<FaultQueue>,
    pub settings: Shared<Settings>,
    pub requests: Shared<Memory<Recorded>>,
    pub tokens: Shared<Memory<Issued>>,
}

impl State {
    pub(crate) fn new(settings: Settings) -> io::Result<Self> {
        let tls = settings
            .tls
            .then(|| crate::tls::make(&settings))
            .transpose()?;
        let (tls, ca_pem) = tls.map(|tls| (tls.server, tls.ca_pem)).unzip();
        Ok(State {
            tls,
            ca_pem: ca_pem.unwrap_or_default(),
            signer: Signer::new().map_err(io::Error::other)?,
            connections: Counter::default(),
            handshakes_full: Counter::default(),
            handshakes_resumed: Counter::default(),
            auth_requests: Counter::default(),
            scripts_ended: Counter::default(),
            tokens_issued: Counter::default(),
            limiter: Shared::default(),
            faults: Shared::default(),
            settings: Shared(Mutex::new(settings)),
            requests: Shared::default(),
            tokens: Shared::default(),
        })
    }

    /// Unix seconds on the server's clock.
    pub(crate) fn now(&self) -> i64 {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let real = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
        real.saturating_add(self.settings.lock().clock_offset)
    }

    /// The `Date` header by the server's clock, limited to the range of HTTP dates.
    pub(crate) fn date(&self) -> String {
        let seconds = self.now().clamp(0, LAST_HTTP_DATE).unsigned_abs();
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
    }
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A mutex that stays usable after a panic, so that one connection's panic does not affect the others.
#[derive(Default)]
pub(crate) struct Shared<T>(Mutex<T>);

impl<T> Shared<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last [`REMEMBERED`] items.
pub(crate) struct Memory<T>(VecDeque<T>);

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Memory(VecDeque::new())
    }
}

impl<T: Clone> Memory<T> {
    pub(crate) fn push(&mut self, item: T) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(item);
    }

    pub(crate) fn last(&self) -> Option<T> {
        self.0.back().cloned()
    }

    /// The newest item for which `matches` returns true.
    pub(crate) fn find(&self, matches: impl Fn(&T) -> bool) -> Option<T> {
        self.0.iter().rev().find(|item| matches(item)).cloned()
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.iter().cloned().collect()
    }
}
