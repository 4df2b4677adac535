//! When an operation has to be over.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use ureq::Timeout;
use ureq::unversioned::transport::NextTimeout;

/// When an operation has to be over.
pub(super) struct Deadline {
    at: Option<Instant>,
    allowed: Duration,
    reason: Timeout,
}

impl Deadline {
    pub(super) fn new(timeout: NextTimeout) -> Deadline {
        let allowed = *timeout.after;
        Deadline {
            // Too far away to be counted is never.
            at: Instant::now().checked_add(allowed),
            allowed,
            reason: timeout.reason,
        }
    }

    /// The time left, `None` for no limit; never zero.
    pub(super) fn left(&self) -> Result<Option<Duration>, ureq::Error> {
        let Some(at) = self.at else { return Ok(None) };
        match at.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ureq::Error::Timeout(self.reason)),
            left => Ok(Some(left)),
        }
    }

    /// The whole time, for messages: `250 ms`.
    pub(super) fn allowed(&self) -> String {
        format!("{} ms", (self.allowed.as_micros() + 500) / 1000)
    }
}
