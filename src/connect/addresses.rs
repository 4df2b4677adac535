//! Which addresses the connections of one agent used, and which of them are suspect.
#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::endpoint::with_address;

/// How many addresses are remembered as suspect; a host behind a CDN can have a dozen.
pub(super) const MAX_SUSPECT: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Addresses {
    attempts: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The server's, of the last connection; `None` if a proxy connects to it.
    server: Option<IpAddr>,
    /// The server's or the proxy's, of the last connection.
    last: Option<IpAddr>,
    /// Those to which a connection was made that brought no response, the last one at the end.
    suspect: Vec<IpAddr>,
}

impl Addresses {
    /// A connection is tried.
    pub(super) fn count_attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of connections that were tried: unchanged by a request that used a kept one.
    pub(crate) fn connection_attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// A connection was made: its address is suspect until [`Addresses::answered`] says otherwise.
    pub(super) fn connected(&self, address: IpAddr, is_proxy: bool) {
        let mut known = self.known();
        known.server = (!is_proxy).then_some(address);
        known.last = Some(address);
        known.suspect.retain(|other| *other != address);
        if known.suspect.len() == MAX_SUSPECT {
            known.suspect.remove(0);
        }
        known.suspect.push(address);
    }

    /// A whole response has come: the address that it came from is not suspect any more.
    pub(crate) fn answered(&self) {
        let mut known = self.known();
        let last = known.last;
        known.suspect.retain(|other| Some(*other) != last);
    }

    /// Moves suspect addresses to the end, the one that failed last to the very end.
    pub(super) fn suspect_last(&self, addresses: &mut [SocketAddr]) {
        let suspect = &self.known().suspect;
        // `None` sorts first.
        addresses.sort_by_key(|address| suspect.iter().position(|other| *other == address.ip()));
    }

    /// `host` with the address that it had for the last connection, for messages: `a.example (192.0.2.1)`.
    pub(crate) fn peer(&self, host: &str) -> String {
        with_address(host, host, self.known().server)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
