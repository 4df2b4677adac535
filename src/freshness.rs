//! When a token is fresh, when it is refreshed ahead of time, and when it is dead. Pure: the time and
//! the random number are arguments.
//!
//! ```text
//!   sent        refresh_at           fresh_until        ends
//!    |--- fresh ----|------ fresh ------|-- last resort --|
//!    | nobody needs | the first caller  | callers wait    |
//!    | to look      | starts a refresh, | for the refresh |
//!    |              | nobody waits      |                 |
//!                   <------------ 300 s or more ---------->
//!                                       <----- 60 s ------>    of a token that lives for an hour
//! ```
//!
//! What the spread of `refresh_at` does to the service is measured in `tests/simulation.rs`.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::clock::Instant;
use crate::jitter::part;

/// A token this close to its end is no longer fresh: what a caller does with it takes time, too. At
/// most a tenth of its life.
const MARGIN: Duration = Duration::from_secs(60);

/// A refresh starts at least this long before the end, so that an outage of four minutes is over
/// before anybody has to wait for it. At most a fifth of the token's life.
const AHEAD: Duration = Duration::from_secs(300);

/// How long a token has to serve before a refusal is taken for its end and not for a service that
/// refuses what it issues. At most half of its life.
const PROBATION: Duration = Duration::from_secs(60);

/// The points in a token's life, on the lifetime clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// From here on the token has proven itself: a refusal says nothing about the next one.
    pub proven_at: Instant,
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
    /// Refreshed ahead of time, with no failure since the token before: the fleet is spread already.
    Refreshed,
    /// After a start, a failure or a rejection: whatever happened here happened to other devices in
    /// the same moment.
    Scrambled,
}

/// Plans the life of a token whose request was sent at `sent` and that lives for `expires_in`.
/// `random` is uniform in the range of its type, drawn for each token.
///
/// A refreshed token is refreshed again during half of `AHEAD`; alone, that would let the wave of two
/// million terminals whose power came back together return every hour. So a scrambled token is
/// refreshed at any moment of a span as long as the mean cycle of those that follow: wherever the wave
/// began, it fills the cycle without gap or overlap, and then the narrow spread keeps it flat at no
/// cost. Tokens of an hour, busiest minute against the mean (`tests/simulation.rs`):
///
/// | rule | 2nd hour | 6th hour | 12th hour | requests in the end |
/// |---|---|---|---|---|
/// | this one | 1.05 | 1.05 | 1.05 | as few as the narrow spread |
/// | the narrow spread for every token | 8.3 | 8.5 | 7.1 | |
/// | a third of the life for every token | 2.9 | 1.4 | 1.06 | 17 % more |
/// | half of the life for every token | 1.6 | 1.04 | 1.05 | 31 % more |
pub fn plan(sent: Instant, expires_in: Duration, origin: Origin, random: u32) -> Lifetime {
    let margin = MARGIN.min(expires_in / 10);
    let ahead = AHEAD.min(expires_in / 5);
    let latest = expires_in - ahead;
    let spread = match origin {
        Origin::Refreshed => ahead / 2,
        Origin::Scrambled => latest - ahead / 4,
    };
    Lifetime {
        proven_at: sent + PROBATION.min(expires_in / 2),
        refresh_at: sent + (latest - part(spread, random)),
        fresh_until: sent + (expires_in - margin),
        ends: sent + expires_in,
    }
}
