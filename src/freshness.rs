//! Decides when a token is refreshed, when it is not fresh any more, and when it expires. Pure: the time
//! and the random number are arguments.
//!
//! ```text
//!   sent        refresh_at           fresh_until        ends
//!    |--- fresh ----|------ fresh ------|----- stale -----|
//!    | nobody needs | the first caller  | callers wait    |
//!    | to look      | starts a refresh, | for the refresh |
//!    |              | nobody waits      |                 |
//!                   <------------ 300 s or more ---------->
//!                                       <----- 60 s ------>    of a token that lives for an hour
//! ```
//!
//! What the spread of `refresh_at` does to the service is measured in `tests/simulation`.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::clock::Instant;
use crate::jitter::part;

/// A token this close to its expiry is not fresh: the caller has yet to use it. At most a tenth of its life.
const MARGIN: Duration = Duration::from_secs(60);

/// A refresh starts at least this long before the expiry, so that no caller waits for an outage of four
/// minutes. At most a fifth of the token's life.
const AHEAD: Duration = Duration::from_secs(300);

/// If a token is refused later than this after its issue, the token is taken to have ended; earlier, the
/// service is taken to refuse the tokens that it issues. At most half of its life.
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
    /// The expiry: from here on the token is never returned.
    pub ends: Instant,
}

/// Over how long a span of time the refreshes of many devices are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// For a token that was refreshed ahead of time, with no failure since the one before: the devices are
    /// spread already.
    Narrow,
    /// After a start, a failure or a rejection, which may have hit many devices at the same time.
    Wide,
}

/// Plans the life of a token whose request was sent at `sent` and that lives for `expires_in`.
/// `random` is uniform in the range of its type, drawn for each token.
///
/// If the power of two million tills returns at one time, the narrow spread, half of `AHEAD`, would repeat that
/// peak every hour. So the wide spread is as long as the mean time between two refreshes: the peak is
/// spread over all of it, without gap or overlap, and then the narrow spread keeps it flat at no cost.
/// Tokens of an hour, busiest minute against the mean (`tests/simulation`):
///
/// | rule | 2nd hour | 6th hour | 12th hour | requests in the end |
/// |---|---|---|---|---|
/// | this one | 1.05 | 1.05 | 1.05 | as few as the narrow spread |
/// | the narrow spread for every token | 8.3 | 8.5 | 7.1 | |
/// | a third of the life for every token | 2.9 | 1.4 | 1.06 | 17 % more |
/// | half of the life for every token | 1.6 | 1.04 | 1.05 | 31 % more |
pub fn plan(sent: Instant, expires_in: Duration, spread: Spread, random: u32) -> Lifetime {
    let margin = MARGIN.min(expires_in / 10);
    let ahead = AHEAD.min(expires_in / 5);
    let latest = expires_in - ahead;
    let span = match spread {
        Spread::Narrow => ahead / 2,
        Spread::Wide => latest - ahead / 4,
    };
    Lifetime {
        proven_at: sent + PROBATION.min(expires_in / 2),
        refresh_at: sent + (latest - part(span, random)),
        fresh_until: sent + (expires_in - margin),
        ends: sent + expires_in,
    }
}
