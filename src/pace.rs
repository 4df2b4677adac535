//! When may the next request leave? One policy answers, from what happened so far; retries, backoff
//! and throttling are all this. Pure: the time and the random number are arguments.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;
use crate::jitter::part;
use crate::{Error, Status};

/// The span that `requests_per_minute` counts in.
const WINDOW: Duration = Duration::from_secs(60);

/// The first wait after a failure that passes by itself. Short: most are a dropped packet.
const BACKOFF: Duration = Duration::from_millis(500);

/// How much longer each further wait is. With 3, twenty-five terminals that boot in front of a failing
/// service sent 95 requests in their second minute, over the 60 that their address may: the more they
/// send in the first, the more they are refused with 429 and the more of them still retry quickly
/// then. With 4, and one counter for 503 and 429, it is 53 (66 or 65 with only one of the two).
const BACKOFF_FACTOR: u32 = 4;

/// The longest wait where the service failed, whatever it asked for: everybody is back within 75 s of
/// its return (60 s and the stretch of a `Retry-After`).
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// The longest wait where the service saw nothing: trying costs it nothing, and somebody may just
/// have plugged the cable in.
const LONGEST_UNREACHABLE: Duration = Duration::from_secs(5);

/// The first wait after a 429 that does not say how long; doubles up to [`WINDOW`].
const RATE_LIMITED: Duration = Duration::from_secs(10);

/// The bounds of what the service may ask for, after a 429 or with a rejection. An absurd value, or a
/// date in the place of seconds, must not put a till out of order for the day.
const SHORTEST_ASKED: Duration = Duration::from_secs(1);
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// The first wait where somebody has to mend something; doubles.
const MEND: Duration = Duration::from_secs(5);
const LONGEST_BROKEN: Duration = Duration::from_secs(60);
/// Longer, since each further rejection may be the one that locks the store out.
const LONGEST_REJECTED: Duration = Duration::from_secs(300);

/// The longest wait where the service refuses the tokens that it issues: with the stretch and the time to
/// the caller's next request, tokens are used again within five minutes after the cause is gone.
const LONGEST_REFUSED: Duration = Duration::from_secs(225);
/// And the most requests in a minute: 25 terminals together stay under the 60 of their address.
const REQUESTS_PER_MINUTE_REFUSED: usize = 2;

/// What a failed attempt says about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The service failed, did not answer in time, or the connection broke after it was made.
    Service,
    /// No connection: the service saw nothing.
    Unreachable,
    /// The service asked to slow down.
    RateLimited,
    /// Something between here and the service is wrong, and somebody has to mend it.
    Broken,
    /// The credentials are wrong, and asking again may lock the store out.
    Rejected,
    /// The service refuses the tokens that it issues: another one would be refused as well.
    TokenRefused,
}

impl Trouble {
    const COUNTERS: usize = 5;

    /// What a failed attempt is. `connected`: whether the service can have seen it.
    pub fn of(error: &Error, connected: bool) -> Trouble {
        match error.status() {
            Status::Proxy if !error.is_retryable() => Trouble::Broken,
            Status::Dns | Status::Proxy => Trouble::Unreachable,
            Status::Connect | Status::Timeout | Status::Internal if !connected => {
                Trouble::Unreachable
            }
            Status::RateLimited => Trouble::RateLimited,
            Status::Tls | Status::Clock | Status::Protocol => Trouble::Broken,
            Status::Rejected => Trouble::Rejected,
            _ => Trouble::Service,
        }
    }

    /// Whether waiting can mend it, so that a caller may as well wait.
    pub fn passes(self) -> bool {
        !matches!(
            self,
            Trouble::Broken | Trouble::Rejected | Trouble::TokenRefused
        )
    }

    /// Which counter it moves. What the service itself answers counts together: terminals that are
    /// refused by turns with 503 and 429 would else start again from the shortest wait.
    fn counter(self) -> usize {
        match self {
            Trouble::Service | Trouble::RateLimited => 0,
            Trouble::Unreachable => 1,
            Trouble::Broken => 2,
            Trouble::Rejected => 3,
            Trouble::TokenRefused => 4,
        }
    }
}

/// The policy's memory of one client.
#[derive(Debug)]
pub struct Pace {
    requests_per_minute: usize,
    /// When the requests of the last minute left, oldest first.
    sent: VecDeque<Instant>,
    not_before: Instant,
    last: Option<Trouble>,
    /// How often each kind of trouble came since the last success, and refused tokens since the last
    /// token that proved itself.
    counts: [u32; Trouble::COUNTERS],
    /// When the last token, unless it was refused, will have proven itself.
    proven_at: Instant,
}

impl Pace {
    /// A client that has sent nothing yet and will send at most `requests_per_minute` (at least 1) in
    /// any sixty seconds.
    pub fn new(requests_per_minute: u32) -> Pace {
        let requests_per_minute = requests_per_minute.max(1) as usize;
        Pace {
            requests_per_minute,
            sent: VecDeque::with_capacity(requests_per_minute),
            not_before: Instant::from_nanos(0),
            last: None,
            counts: [0; Trouble::COUNTERS],
            proven_at: Instant::NEVER,
        }
    }

    /// The earliest time at which the next request may leave, as far as is known at `now`.
    pub fn next(&self, now: Instant) -> Instant {
        let limit = if self.is_on_probation(now) {
            REQUESTS_PER_MINUTE_REFUSED.min(self.requests_per_minute)
        } else {
            self.requests_per_minute
        };
        let window_opens = match self.sent.len().checked_sub(limit) {
            Some(first_of_a_full_window) => self.sent[first_of_a_full_window] + WINDOW,
            None => Instant::from_nanos(0),
        };
        self.not_before.max(window_opens)
    }

    /// What the next request has to wait for: what came last, or the refused tokens.
    pub fn trouble(&self, now: Instant) -> Option<Trouble> {
        let refused = self.is_on_probation(now).then_some(Trouble::TokenRefused);
        self.last.or(refused)
    }

    /// Whether a caller may as well wait for [`Pace::next`]: not where somebody has to mend something.
    pub fn is_worth_waiting(&self, now: Instant) -> bool {
        self.trouble(now).is_none_or(Trouble::passes)
    }

    /// Whether a token was refused and none has proven itself since.
    fn is_on_probation(&self, now: Instant) -> bool {
        self.refused_tokens() > 0 && now < self.proven_at
    }

    /// A request leaves.
    pub fn sent(&mut self, now: Instant) {
        if now >= self.proven_at {
            *self.refused_tokens_mut() = 0;
        }
        while self.sent.len() >= self.requests_per_minute {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }

    /// The request that left last was answered with a token, which will have proven itself at `proven_at`
    /// (see [`crate::freshness::Lifetime`]).
    pub fn succeeded(&mut self, proven_at: Instant) {
        let refused_tokens = self.refused_tokens();
        self.not_before = Instant::from_nanos(0);
        self.last = None;
        self.counts = [0; Trouble::COUNTERS];
        *self.refused_tokens_mut() = refused_tokens;
        self.proven_at = proven_at;
    }

    /// The service refused a token at `now` that will have proven itself, or has, at `proven_at`. If it
    /// has, the next one is as good as any. Otherwise returns how long the next request has to wait.
    pub fn token_refused(
        &mut self,
        now: Instant,
        proven_at: Instant,
        random: u32,
    ) -> Option<Duration> {
        if now >= proven_at {
            return None;
        }
        let not_before = self.not_before;
        self.failed(now, Trouble::TokenRefused, None, random);
        self.not_before = self.not_before.max(not_before);
        self.proven_at = Instant::NEVER;
        Some(self.next(now).since(now))
    }

    /// The request that left last failed at `now`. `hint` is how long the server asked to stay away;
    /// `random` is uniform in the range of its type. A request that the service never saw leaves the window again.
    pub fn failed(&mut self, now: Instant, trouble: Trouble, hint: Option<Duration>, random: u32) {
        if trouble == Trouble::Unreachable {
            self.sent.pop_back();
        }
        let count = &mut self.counts[trouble.counter()];
        let wait = wait(trouble, *count, hint, random);
        *count = count.saturating_add(1);
        self.last = Some(trouble);
        self.not_before = now + wait;
    }

    /// How many tokens were refused since the last one that proved itself.
    fn refused_tokens(&self) -> u32 {
        self.counts[Trouble::TokenRefused.counter()]
    }

    fn refused_tokens_mut(&mut self) -> &mut u32 {
        &mut self.counts[Trouble::TokenRefused.counter()]
    }
}

/// How long to stay away after a trouble whose kind came `count` times before. Never the same for all:
/// a wait of our own is anything from a half of it to the whole, one that the service asked for (or
/// that somebody uses to mend something) is up to a quarter longer, never shorter.
fn wait(trouble: Trouble, count: u32, hint: Option<Duration>, random: u32) -> Duration {
    let spread = |wait: Duration| wait / 2 + part(wait / 2, random);
    let stretch = |wait: Duration| wait + part(wait / 4, random);
    let backoff = |longest| spread(grow(BACKOFF, BACKOFF_FACTOR, count, longest));
    let asked = |longest| hint.unwrap_or_default().min(longest);
    match trouble {
        Trouble::Service => backoff(LONGEST_BACKOFF).max(stretch(asked(LONGEST_BACKOFF))),
        Trouble::Unreachable => backoff(LONGEST_UNREACHABLE),
        Trouble::RateLimited => stretch(
            hint.unwrap_or_else(|| grow(RATE_LIMITED, 2, count, WINDOW))
                .clamp(SHORTEST_ASKED, LONGEST_ASKED),
        ),
        Trouble::Broken => stretch(grow(MEND, 2, count, LONGEST_BROKEN)),
        Trouble::Rejected => {
            stretch(grow(MEND, 2, count, LONGEST_REJECTED).max(asked(LONGEST_ASKED)))
        }
        Trouble::TokenRefused => stretch(grow(MEND, 2, count, LONGEST_REFUSED)),
    }
}

/// `first × factor^count`, at most `cap`.
fn grow(first: Duration, factor: u32, count: u32, cap: Duration) -> Duration {
    let factor = factor.checked_pow(count).unwrap_or(u32::MAX);
    first.checked_mul(factor).unwrap_or(cap).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_of_an_attempt_is_the_trouble_that_decides_its_pace() {
        let table = [
            (Status::Timeout, true, Trouble::Service),
            (Status::Timeout, false, Trouble::Unreachable),
            (Status::Connect, true, Trouble::Service),
            (Status::Connect, false, Trouble::Unreachable),
            (Status::Dns, false, Trouble::Unreachable),
            (Status::Proxy, false, Trouble::Unreachable),
            (Status::Server, true, Trouble::Service),
            (Status::Internal, true, Trouble::Service),
            (Status::Internal, false, Trouble::Unreachable),
            (Status::RateLimited, true, Trouble::RateLimited),
            (Status::Tls, true, Trouble::Broken),
            (Status::Clock, true, Trouble::Broken),
            (Status::Protocol, true, Trouble::Broken),
            (Status::Rejected, true, Trouble::Rejected),
        ];
        for (status, connected, trouble) in table {
            let error = Error::new(status, "");
            assert_eq!(Trouble::of(&error, connected), trouble, "{status:?}");
        }
    }

    #[test]
    fn a_proxy_that_refuses_is_broken_and_one_that_fails_is_unreachable() {
        let table = [
            (403, Trouble::Broken),
            (407, Trouble::Broken),
            (408, Trouble::Unreachable),
            (429, Trouble::Unreachable),
            (502, Trouble::Unreachable),
        ];
        for (http_status, trouble) in table {
            let error = Error {
                http_status: Some(http_status),
                ..Error::new(Status::Proxy, "")
            };
            assert_eq!(Trouble::of(&error, false), trouble, "{http_status}");
        }
    }
}
