//! The device's real clocks, shifted by an offset that a test sets.
#![allow(dead_code)] // Every test program uses a part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use clopos_auth::testing::clock::{Clock, Instant, TimeSource};

#[derive(Default)]
pub struct ShiftedClock {
    lifetime_nanos: AtomicU64,
    date_seconds: AtomicI64,
}

impl ShiftedClock {
    pub fn new() -> Arc<ShiftedClock> {
        Arc::default()
    }

    /// Lets the device sleep: both clocks move on by `time`.
    pub fn sleep(&self, time: Duration) {
        self.lifetime_nanos
            .fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
        self.shift_date(time.as_secs() as i64);
    }

    /// Changes the device's date.
    pub fn shift_date(&self, seconds: i64) {
        self.date_seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    pub fn clock(self: &Arc<Self>) -> Clock {
        Clock::Injected(self.clone())
    }
}

impl TimeSource for ShiftedClock {
    fn now(&self) -> Instant {
        Clock::System.now() + Duration::from_nanos(self.lifetime_nanos.load(Ordering::SeqCst))
    }

    fn unix_seconds(&self) -> i64 {
        Clock::System.unix_seconds() + self.date_seconds.load(Ordering::SeqCst)
    }
}
