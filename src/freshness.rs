//! When a token is fresh, when it is refreshed ahead of time, and when it is dead. Pure: the time and
//! the random number are arguments.
//!
//! ```text
//!   sent            refresh ahead        margin      end
//!    |------ fresh ------|------ fresh ------|-- last resort --|
//!    0                   refresh_at          fresh_until       ends
//! ```
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::clock::Instant;

/// The points in a token's life, on the lifetime clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// From here on the first caller to notice starts a refresh. Nobody waits for it.
    pub refresh_at: Instant,
    /// From here on callers wait for the refresh; the token serves if there is none.
    pub fresh_until: Instant,
    /// From here on the token is never handed out.
    pub ends: Instant,
}

/// How a token came to be, which decides how far its refresh is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Refreshed ahead of time at the first attempt: the fleet is spread already.
    Refreshed,
    /// After a start, a failure or a rejection: whatever happened here happened to other devices in
    /// the same moment.
    Scrambled,
}

/// Plans the life of a token whose request was sent at `sent` and that lives for `expires_in`.
/// `random` is uniform in 0..1, drawn for each token.
pub fn plan(sent: Instant, expires_in: Duration, origin: Origin, random: f64) -> Lifetime {
    let margin = (expires_in / 10).min(Duration::from_secs(60));
    let ahead = (expires_in / 5).min(Duration::from_secs(300));
    let widest = expires_in - ahead;
    let extra = match origin {
        Origin::Refreshed => ahead / 2,
        Origin::Scrambled => widest - widest / 10,
    };
    Lifetime {
        refresh_at: sent + (widest - extra.mul_f64(random.clamp(0.0, 1.0))),
        fresh_until: sent + (expires_in - margin),
        ends: sent + expires_in,
    }
}
