//! What the server's clock shows, which may explain a certificate that is not valid by this device's date.
#![forbid(unsafe_code)]

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::{Clock, Instant};

#[derive(Debug)]
pub(crate) struct ServerClock {
    clock: Clock,
    /// Unix seconds on the server's clock, and when they were read.
    seen: Mutex<Option<(i64, Instant)>>,
}

impl ServerClock {
    pub(super) fn new(clock: Clock) -> ServerClock {
        ServerClock {
            clock,
            seen: Mutex::default(),
        }
    }

    /// A server that TLS has verified says what time it is.
    pub(crate) fn saw(&self, unix_seconds: i64) {
        let seen = Some((unix_seconds, self.clock.now()));
        *self.seen() = seen;
    }

    /// What it shows now, if it was ever seen; immune to changes of this device's date.
    pub(super) fn now(&self) -> Option<i64> {
        let (then, seen) = (*self.seen())?;
        let since = self.clock.now().since(seen).as_secs();
        Some(then.saturating_add_unsigned(since))
    }

    fn seen(&self) -> MutexGuard<'_, Option<(i64, Instant)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
