//! Decides when the next request may be sent: retries, backoff and the rate limit are one policy. Pure: the
//! time and the random number are arguments.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;
use crate::jitter::part;
use crate::{Error, Status};

/// The span that `requests_per_minute` counts in.
const WINDOW: Duration = Duration::from_secs(60);

/// The first wait after a transient failure. Short: most are a dropped packet.
const BACKOFF: Duration = Duration::from_millis(500);

/// How much longer each further wait is. With 3, twenty-five tills that boot in front of a failing
/// service sent 95 requests in their second minute, over the 60 that their address may: the more they
/// send in the first, the more they are refused with 429 and the more of them still retry quickly
/// then. With 4, and one counter for 503 and 429, it is 53 (66 or 65 with only one of the two).
const BACKOFF_FACTOR: u32 = 4;

/// The longest wait after a failure of the service, even if it asked for more: all clients are back within
/// 75 s of its recovery (60 s and the stretch of a `Retry-After`).
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// The longest wait if the service saw nothing: another try costs it nothing, and the cable may just have
/// been plugged in.
const LONGEST_UNREACHABLE: Duration = Duration::from_secs(5);

/// The first wait after a 429 that does not say how long; doubles up to [`WINDOW`].
const RATE_LIMITED: Duration = Duration::from_secs(10);

/// The bounds of what the service may ask for, after a 429 or with a rejection. A bad value, such
/// as a date in the place of seconds, must not disable a till for a day.
const SHORTEST_ASKED: Duration = Duration::from_secs(1);
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// The first wait after a failure that needs an operator; doubles.
const NEEDS_ACTION: Duration = Duration::from_secs(5);
const LONGEST_NEEDS_ACTION: Duration = Duration::from_secs(60);
/// Longer, since each further rejection may be the one that locks the store out.
const LONGEST_REJECTED: Duration = Duration::from_secs(300);

/// The longest wait if the service refuses the tokens that it issues. With the stretch and the time to the
/// caller's next request, tokens are used again within five minutes after the cause is gone.
const LONGEST_REFUSED: Duration = Duration::from_secs(225);
/// And the most requests in a minute: 25 tills together stay under the 60 of their address.
const REQUESTS_PER_MINUTE_REFUSED: usize = 2;

/// Kinds of failures, by what they mean for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The service failed, did not answer in time, or the connection broke after it was made.
    Service,
    /// No connection: the service saw nothing.
    Unreachable,
    /// The service asked to slow down.
    RateLimited,
    /// Something between this device and the service is wrong, and an operator has to fix it.
    NeedsAction,
    /// The credentials are wrong, and asking again may lock the store out.
    Rejected,
    /// The service refuses the tokens that it issues: another one would be refused as well.
    TokenRefused,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [FailureKind; 6] = [
        FailureKind::Service,
        FailureKind::Unreachable,
        FailureKind::RateLimited,
        FailureKind::NeedsAction,
        FailureKind::Rejected,
        FailureKind::TokenRefused,
    ];

    const COUNTERS: usize = 5;

    /// The kind of a failed attempt. `connected`: whether the service can have seen it.
    pub fn of(error: &Error, connected: bool) -> FailureKind {
        match error.status() {
            Status::Proxy if !error.is_retryable() => FailureKind::NeedsAction,
            Status::Dns | Status::Proxy => FailureKind::Unreachable,
            Status::Connect | Status::Timeout | Status::Internal if !connected => {
                FailureKind::Unreachable
            }
            Status::RateLimited => FailureKind::RateLimited,
            Status::Tls | Status::Clock | Status::Protocol => FailureKind::NeedsAction,
            Status::Rejected => FailureKind::Rejected,
            _ => FailureKind::Service,
        }
    }

    /// Whether it may go away by itself, so that it is worth waiting.
    pub fn is_transient(self) -> bool {
        !matches!(
            self,
            FailureKind::NeedsAction | FailureKind::Rejected | FailureKind::TokenRefused
        )
    }

    /// The index of its counter. 5xx and 429 share one, or alternating errors would start again from the
    /// shortest wait.
    fn counter(self) -> usize {
        match self {
            FailureKind::Service | FailureKind::RateLimited => 0,
            FailureKind::Unreachable => 1,
            FailureKind::NeedsAction => 2,
            FailureKind::Rejected => 3,
            FailureKind::TokenRefused => 4,
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
    last: Option<FailureKind>,
    /// Failures of each kind since the last success, and refused tokens since the last token that proved
    /// itself.
    counts: [u32; FailureKind::COUNTERS],
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
            counts: [0; FailureKind::COUNTERS],
            proven_at: Instant::NEVER,
        }
    }

    /// The earliest time at which the next request may be sent, as far as is known at `now`.
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

    /// Why the next request has to wait: the last failure, or a refused token.
    pub fn failure(&self, now: Instant) -> Option<FailureKind> {
        let refused = self
            .is_on_probation(now)
            .then_some(FailureKind::TokenRefused);
        self.last.or(refused)
    }

    /// Whether it is worth waiting for [`Pace::next`]: not if an operator has to fix something first.
    pub fn is_worth_waiting(&self, now: Instant) -> bool {
        self.failure(now).is_none_or(FailureKind::is_transient)
    }

    /// Whether a token was refused and none has proven itself since.
    fn is_on_probation(&self, now: Instant) -> bool {
        self.refused_tokens() > 0 && now < self.proven_at
    }

    /// A request is sent.
    pub fn sent(&mut self, now: Instant) {
        if now >= self.proven_at {
            *self.refused_tokens_mut() = 0;
        }
        while self.sent.len() >= self.requests_per_minute {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }

    /// The last request was answered with a token, which will have proven itself at `proven_at`
    /// (see [`crate::freshness::Lifetime`]).
    pub fn succeeded(&mut self, proven_at: Instant) {
        let refused_tokens = self.refused_tokens();
        self.not_before = Instant::from_nanos(0);
        self.last = None;
        self.counts = [0; FailureKind::COUNTERS];
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
        self.failed(now, FailureKind::TokenRefused, None, random);
        self.proven_at = Instant::NEVER;
        Some(self.next(now).since(now))
    }

    /// The last request failed at `now`. `hint` is how long the server asked to wait; `random` is uniform in
    /// the range of its type. A request that the service never saw does not count for the limit.
    pub fn failed(&mut self, now: Instant, kind: FailureKind, hint: Option<Duration>, random: u32) {
        if kind == FailureKind::Unreachable {
            self.sent.pop_back();
        }
        let count = &mut self.counts[kind.counter()];
        let wait = wait(kind, *count, hint, random);
        *count = count.saturating_add(1);
        self.last = Some(kind);
        // A token can be refused while a request is under way: the longer pause counts.
        self.not_before = self.not_before.max(now + wait);
    }

    /// How many tokens were refused since the last one that proved itself.
    fn refused_tokens(&self) -> u32 {
        self.counts[FailureKind::TokenRefused.counter()]
    }

    fn refused_tokens_mut(&mut self) -> &mut u32 {
        &mut self.counts[FailureKind::TokenRefused.counter()]
    }
}

/// The wait after a failure of a kind that occurred `count` times before. Random, so that clients spread: the
/// backoff is 50 to 100 % of its nominal value, all other waits are 100 to 125 %.
fn wait(kind: FailureKind, count: u32, hint: Option<Duration>, random: u32) -> Duration {
    let spread = |wait: Duration| wait / 2 + part(wait / 2, random);
    let stretch = |wait: Duration| wait + part(wait / 4, random);
    let backoff = |longest| spread(grow(BACKOFF, BACKOFF_FACTOR, count, longest));
    let asked = |longest| hint.unwrap_or_default().min(longest);
    match kind {
        FailureKind::Service => backoff(LONGEST_BACKOFF).max(stretch(asked(LONGEST_BACKOFF))),
        FailureKind::Unreachable => backoff(LONGEST_UNREACHABLE),
        FailureKind::RateLimited => stretch(
            hint.unwrap_or_else(|| grow(RATE_LIMITED, 2, count, WINDOW))
                .clamp(SHORTEST_ASKED, LONGEST_ASKED),
        ),
        FailureKind::NeedsAction => stretch(grow(NEEDS_ACTION, 2, count, LONGEST_NEEDS_ACTION)),
        FailureKind::Rejected => {
            stretch(grow(NEEDS_ACTION, 2, count, LONGEST_REJECTED).max(asked(LONGEST_ASKED)))
        }
        FailureKind::TokenRefused => stretch(grow(NEEDS_ACTION, 2, count, LONGEST_REFUSED)),
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
    fn every_failure_of_an_attempt_has_the_kind_that_decides_its_wait() {
        let table = [
            (Status::Timeout, true, FailureKind::Service),
            (Status::Timeout, false, FailureKind::Unreachable),
            (Status::Connect, true, FailureKind::Service),
            (Status::Connect, false, FailureKind::Unreachable),
            (Status::Dns, false, FailureKind::Unreachable),
            (Status::Proxy, false, FailureKind::Unreachable),
            (Status::Server, true, FailureKind::Service),
            (Status::Internal, true, FailureKind::Service),
            (Status::Internal, false, FailureKind::Unreachable),
            (Status::RateLimited, true, FailureKind::RateLimited),
            (Status::Tls, true, FailureKind::NeedsAction),
            (Status::Clock, true, FailureKind::NeedsAction),
            (Status::Protocol, true, FailureKind::NeedsAction),
            (Status::Rejected, true, FailureKind::Rejected),
        ];
        for (status, connected, kind) in table {
            let error = Error::new(status, "");
            assert_eq!(FailureKind::of(&error, connected), kind, "{status:?}");
        }
    }

    #[test]
    fn a_proxy_that_refuses_needs_action_and_one_that_fails_is_unreachable() {
        let table = [
            (403, FailureKind::NeedsAction),
            (407, FailureKind::NeedsAction),
            (408, FailureKind::Unreachable),
            (429, FailureKind::Unreachable),
            (502, FailureKind::Unreachable),
        ];
        for (http_status, kind) in table {
            let error = Error {
                http_status: Some(http_status),
                ..Error::new(Status::Proxy, "")
            };
            assert_eq!(FailureKind::of(&error, false), kind, "{http_status}");
        }
    }
}
