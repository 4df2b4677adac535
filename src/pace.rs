//! When may the next request leave? One policy answers, from what happened so far; retries, backoff
//! and throttling are all this. Pure: the time and the random number are arguments.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;
use crate::{Error, Status};

/// The span that `requests_per_minute` counts in.
const WINDOW: Duration = Duration::from_secs(60);

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
}

impl Trouble {
    const COUNT: usize = 5;

    /// What a failed attempt is. `connected`: whether the service can have seen it.
    pub fn of(error: &Error, connected: bool) -> Trouble {
        match error.status() {
            Status::Proxy if !error.is_retryable() => Trouble::Broken,
            Status::Dns | Status::Proxy => Trouble::Unreachable,
            Status::Connect | Status::Timeout if !connected => Trouble::Unreachable,
            Status::RateLimited => Trouble::RateLimited,
            Status::Tls | Status::Clock | Status::Protocol => Trouble::Broken,
            Status::Rejected => Trouble::Rejected,
            _ => Trouble::Service,
        }
    }

    /// Whether waiting can mend it, so that a caller may as well wait.
    pub fn passes(self) -> bool {
        !matches!(self, Trouble::Broken | Trouble::Rejected)
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
    /// How often each trouble came since the last success.
    counts: [u32; Trouble::COUNT],
}

impl Pace {
    pub fn new(requests_per_minute: u32) -> Pace {
        Pace {
            requests_per_minute: requests_per_minute as usize,
            sent: VecDeque::with_capacity(requests_per_minute as usize),
            not_before: Instant::from_nanos(0),
            last: None,
            counts: [0; Trouble::COUNT],
        }
    }

    /// The earliest time at which the next request may leave.
    pub fn next(&self) -> Instant {
        let window_opens = match self.sent.front() {
            Some(&oldest) if self.sent.len() >= self.requests_per_minute => oldest + WINDOW,
            _ => Instant::from_nanos(0),
        };
        self.not_before.max(window_opens)
    }

    /// Whether a caller may as well wait for [`Pace::next`]: not where somebody has to mend something.
    pub fn is_worth_waiting(&self) -> bool {
        self.last.is_none_or(Trouble::passes)
    }

    /// A request leaves.
    pub fn sent(&mut self, now: Instant) {
        while self.sent.len() >= self.requests_per_minute {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }

    /// The request that left last was answered with a token.
    pub fn succeeded(&mut self) {
        self.not_before = Instant::from_nanos(0);
        self.last = None;
        self.counts = [0; Trouble::COUNT];
    }

    /// The request that left last failed at `now`. `hint` is what the server asked for; `random` is
    /// uniform in 0..1.
    pub fn failed(&mut self, now: Instant, trouble: Trouble, hint: Option<Duration>, random: f64) {
        if trouble == Trouble::Unreachable {
            self.sent.pop_back();
        }
        let count = &mut self.counts[trouble as usize];
        let wait = wait(trouble, *count, hint, random.clamp(0.0, 1.0));
        *count = count.saturating_add(1);
        self.last = Some(trouble);
        self.not_before = now + wait;
    }
}

/// How long to stay away after a trouble that came `count` times before.
fn wait(trouble: Trouble, count: u32, hint: Option<Duration>, random: f64) -> Duration {
    let secs = Duration::from_secs;
    let half_to_whole = |wait: Duration| wait.mul_f64(0.5 + random / 2.0);
    let backoff = |cap: Duration| half_to_whole(grow(Duration::from_millis(500), 3, count, cap));
    match trouble {
        Trouble::Service => backoff(secs(60)).max(hint.unwrap_or_default().min(secs(60))),
        Trouble::Unreachable => backoff(secs(5)),
        Trouble::RateLimited => hint
            .unwrap_or_else(|| grow(secs(10), 2, count, secs(60)))
            .clamp(secs(1), secs(600))
            .mul_f64(1.0 + random / 4.0),
        Trouble::Broken => grow(secs(5), 2, count, secs(60)),
        Trouble::Rejected => grow(secs(5), 2, count, secs(300)),
    }
}

/// `first × factor^count`, at most `cap`.
fn grow(first: Duration, factor: u32, count: u32, cap: Duration) -> Duration {
    let factor = factor.checked_pow(count).unwrap_or(u32::MAX);
    first.checked_mul(factor).unwrap_or(cap).min(cap)
}
