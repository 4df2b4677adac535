//! The simulation: a service with a limiter, and tills that do what `Client` does, with the library's own
//! `freshness::plan` and `Pace`.
//!
//! A till calls every few seconds. Without a fresh token, or if a refresh is due, it starts a sign-in of at most
//! three attempts, each when the pace permits it. It keeps a `Pace` from its first request until its token comes. Then
//! the pace is dropped, which changes nothing: a success clears it, except for the requests of the last minute, and
//! that minute is over when the refresh comes (asserted).
//!
//! The limiter counts a request that it accepts whether or not the service responds with a token.

use std::ops::Range;
use std::time::Duration;

use clopos_auth::testing::clock::Instant;
use clopos_auth::testing::freshness::{self, Spread};
use clopos_auth::testing::pace::{FailureKind, Pace};

// Times are milliseconds since the power came back.

pub const SECOND: u32 = 1000;
pub const MINUTE: u32 = 60 * SECOND;
pub const HOUR: u32 = 60 * MINUTE;
/// Events that fall into one tick happen at the same time.
const TICK: u32 = 10;

/// The defaults of the client's settings.
const REQUESTS_PER_MINUTE: u32 = 12;
const MAX_ATTEMPTS: u8 = 3;
const TIMEOUT: u32 = 30 * SECOND;
const ATTEMPT_TIMEOUT: u32 = 10 * SECOND;
const EXPIRES_IN: Duration = Duration::from_secs(3600);

/// The service's limit for one IP address.
pub const LIMIT_PER_IP: u32 = 60;
/// The time from a request to its response if the service is idle.
const ROUND_TRIP: u32 = 100;

/// What the service does with requests beyond its capacity.
#[derive(Clone, Copy, PartialEq)]
pub enum Overload {
    /// A request that would wait for more than a second gets 503 immediately.
    Sheds,
    /// All requests wait. One that would wait for more than 8 s gets 504 from the gateway after that time.
    Stalls,
}

#[derive(Clone)]
pub struct Scenario {
    pub seed: u64,
    pub venues: u32,
    pub tills_per_venue: u32,
    /// The power comes back at a random time within this span, one for each venue. All tills of a venue send
    /// their first request within a second.
    pub boot_span: u32,
    /// The mean interval between calls of a till. The intervals are random; 0: calls without a pause.
    pub call_interval: u32,
    /// Tokens a second.
    pub capacity: u32,
    pub overload: Overload,
    /// The time in which the service responds with 503, and the `Retry-After` of that in seconds.
    pub outage: Range<u32>,
    pub outage_hint: Option<u64>,
    /// The time in which the other endpoints of the service refuse every token.
    pub refusing: Range<u32>,
    pub until: u32,
}

/// A random generator (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A random number for the policies.
    fn draw(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    fn below(&mut self, limit: u32) -> u32 {
        (self.unit() * f64::from(limit)) as u32
    }
}

fn instant(at: u32) -> Instant {
    Instant::from_nanos(u64::from(at) * 1_000_000)
}

/// Rounded up, so that no event is early.
fn millis(at: Instant) -> u32 {
    u32::try_from(at.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

// ---- The service. ----

enum Response {
    Token,
    /// 503 or 504, with its `Retry-After`.
    Failed(Option<Duration>),
    /// 429, with its `RateLimit-Reset`.
    TooMany(Duration),
}

/// The limiter's state for one address: a fixed window of a minute that begins with a request. The requests of
/// the last sixty seconds are only for the record.
#[derive(Clone)]
struct Address {
    window_began: u32,
    used: u32,
    seconds: [u8; 60],
    latest: u32,
    in_a_minute: u32,
}

struct Service {
    addresses: Vec<Address>,
    /// When the service will have served all accepted requests, in microseconds.
    busy_until: u64,
}

impl Service {
    /// The response to a request, and the time until it comes. The limiter is in front of the service: a request
    /// that it refuses uses no capacity.
    fn respond(&mut self, scenario: &Scenario, address: u32, now: u32) -> (Response, u32) {
        let address = &mut self.addresses[address as usize];
        if address.used == 0 || now >= address.window_began + MINUTE {
            (address.window_began, address.used) = (now, 0);
        }
        if address.used >= LIMIT_PER_IP {
            let left = address.window_began + MINUTE - now;
            let reset = Duration::from_secs(left.div_ceil(SECOND).into());
            return (Response::TooMany(reset), ROUND_TRIP);
        }
        address.used += 1;
        if scenario.outage.contains(&now) {
            let hint = scenario.outage_hint.map(Duration::from_secs);
            return (Response::Failed(hint), ROUND_TRIP);
        }
        let now = u64::from(now) * 1000;
        let starts = self.busy_until.max(now);
        let wait = ((starts - now) / 1000) as u32;
        match scenario.overload {
            Overload::Sheds if wait > SECOND => (Response::Failed(None), ROUND_TRIP),
            Overload::Stalls if wait > 8 * SECOND => (Response::Failed(None), 8 * SECOND),
            _ => {
                self.busy_until = starts + u64::from(1_000_000 / scenario.capacity);
                (Response::Token, wait + ROUND_TRIP)
            }
        }
    }
}

impl Address {
    /// Records a request. Returns the number of requests in the sixty seconds that end with it.
    fn record(&mut self, now: u32) -> u32 {
        let second = now / SECOND;
        for passed in (self.latest + 1..=second).take(60) {
            let slot = &mut self.seconds[(passed % 60) as usize];
            self.in_a_minute -= u32::from(std::mem::take(slot));
        }
        self.latest = second;
        self.seconds[(second % 60) as usize] += 1;
        self.in_a_minute += 1;
        self.in_a_minute
    }
}

// ---- The tills. ----

#[derive(Default)]
struct Till {
    /// From the first request until its token, and as long as tokens are refused.
    pace: Option<Box<Pace>>,
    proven_at: u32,
    fresh_until: u32,
    ends: u32,
    /// The attempts of the running sign-in so far. The till's next event is its next attempt.
    attempts: Option<u8>,
    had_a_token: bool,
    /// Whether an attempt has failed or a token was refused since the last token.
    failed: bool,
}

/// The next event of each till: a linked list of tills for each tick.
struct EventQueue {
    first: Vec<u32>,
    next: Vec<u32>,
}

const END_OF_LIST: u32 = u32::MAX;

impl EventQueue {
    fn put(&mut self, till: u32, at: u32) {
        if let Some(first) = self.first.get_mut(at.div_ceil(TICK) as usize) {
            self.next[till as usize] = std::mem::replace(first, till);
        }
    }

    fn take(&mut self, tick: usize) -> Option<u32> {
        let till = self.first[tick];
        if till == END_OF_LIST {
            return None;
        }
        self.first[tick] = self.next[till as usize];
        Some(till)
    }
}

pub struct Simulation {
    scenario: Scenario,
    random: Random,
    service: Service,
    tills: Vec<Till>,
    events: EventQueue,
    record: Record,
}

/// The results of a run.
#[derive(Default)]
pub struct Record {
    /// Requests and tokens in each second.
    pub requests: Vec<u32>,
    pub tokens: Vec<u32>,
    /// When each till got its first token, sorted.
    pub first_tokens: Vec<u32>,
    /// Tills that had a failure and got a token after the outage or refusal was over: when the last one got it,
    /// and their number.
    pub recovered_at: u32,
    pub recovered: u32,
    /// The most requests from one address within a minute: in all, and without the first minute.
    pub most_in_a_minute: u32,
    pub most_later: u32,
    /// How often a token expired before the next one came.
    pub expired_tokens: u32,
}

impl Simulation {
    /// Runs a scenario.
    pub fn run(scenario: &Scenario) -> Record {
        let count = scenario.venues * scenario.tills_per_venue;
        let mut random = Random(scenario.seed);
        let mut events = EventQueue {
            first: vec![END_OF_LIST; (scenario.until / TICK) as usize],
            next: vec![END_OF_LIST; count as usize],
        };
        for venue in 0..scenario.venues {
            let power = random.below(scenario.boot_span);
            for till in 0..scenario.tills_per_venue {
                let boots = power + random.below(SECOND);
                events.put(venue * scenario.tills_per_venue + till, boots);
            }
        }
        let address = Address {
            window_began: 0,
            used: 0,
            seconds: [0; 60],
            latest: 0,
            in_a_minute: 0,
        };
        let seconds = (scenario.until / SECOND) as usize;
        let mut simulation = Simulation {
            scenario: scenario.clone(),
            random,
            service: Service {
                addresses: vec![address; scenario.venues as usize],
                busy_until: 0,
            },
            tills: (0..count).map(|_| Till::default()).collect(),
            events,
            record: Record {
                requests: vec![0; seconds],
                tokens: vec![0; seconds + 60],
                ..Record::default()
            },
        };
        for tick in 0..simulation.events.first.len() {
            while let Some(till) = simulation.events.take(tick) {
                let now = tick as u32 * TICK;
                let next = match simulation.tills[till as usize].attempts {
                    Some(_) => simulation.attempt(till, now),
                    None => simulation.call(till, now),
                };
                simulation.events.put(till, next.max(now + TICK));
            }
        }
        simulation.record.first_tokens.sort_unstable();
        simulation.record
    }

    /// The time of the till's first call after `time`.
    fn first_call(&mut self, time: u32) -> u32 {
        time + self.random.below(2 * self.scenario.call_interval)
    }

    /// `Client::get_token` without a fresh token, or with a refresh that is due. Returns the time of the
    /// till's next event.
    fn call(&mut self, id: u32, now: u32) -> u32 {
        let till = &mut self.tills[id as usize];
        let pace = till
            .pace
            .get_or_insert_with(|| Box::new(Pace::new(REQUESTS_PER_MINUTE)));
        if now < till.fresh_until && self.scenario.refusing.contains(&now) {
            // The caller has used the token and reports its 401.
            pace.token_refused(instant(now), instant(till.proven_at), self.random.draw());
            till.fresh_until = 0;
            till.failed = true;
        }
        let next = millis(pace.next(instant(now)));
        if next <= now {
            till.attempts = Some(0);
            return self.attempt(id, now);
        }
        let is_fresh = now < till.fresh_until;
        if !is_fresh && pace.is_worth_waiting(instant(now)) {
            if next < now + TIMEOUT {
                till.attempts = Some(0);
                return next;
            }
            return self.first_call(next - TIMEOUT);
        }
        let until = if is_fresh {
            next.min(till.fresh_until)
        } else {
            next
        };
        self.first_call(until)
    }

    /// One attempt of a sign-in. Returns the time of the till's next event.
    fn attempt(&mut self, id: u32, now: u32) -> u32 {
        let venue = id / self.scenario.tills_per_venue;
        let record = &mut self.record;
        record.requests[(now / SECOND) as usize] += 1;
        let in_a_minute = self.service.addresses[venue as usize].record(now);
        record.most_in_a_minute = record.most_in_a_minute.max(in_a_minute);
        // These sixty seconds began after the first minute.
        if now >= 2 * MINUTE + self.scenario.boot_span {
            record.most_later = record.most_later.max(in_a_minute);
        }

        let refusing = &self.scenario.refusing;
        let till = &mut self.tills[id as usize];
        let pace = till.pace.as_mut().expect("a call has made it");
        let attempts = till.attempts.map_or(1, |attempts| attempts + 1);
        pace.sent(instant(now));
        let (response, latency) = self.service.respond(&self.scenario, venue, now);
        assert!(
            latency <= ATTEMPT_TIMEOUT,
            "the attempt would have timed out"
        );
        let answered = now + latency;
        let (kind, hint) = match response {
            Response::Token => {
                till.attempts = None;
                let spread = if now < till.fresh_until && !till.failed {
                    Spread::Narrow
                } else {
                    Spread::Wide
                };
                if till.had_a_token {
                    record.expired_tokens += u32::from(answered > till.ends);
                } else {
                    record.first_tokens.push(answered);
                }
                let is_over = now >= self.scenario.outage.end && answered >= refusing.end;
                if till.failed && is_over {
                    record.recovered_at = record.recovered_at.max(answered);
                    record.recovered += 1;
                }
                till.had_a_token = true;
                till.failed = false;
                record.tokens[(answered / SECOND) as usize] += 1;
                let lifetime =
                    freshness::plan(instant(now), EXPIRES_IN, spread, self.random.draw());
                pace.succeeded(lifetime.proven_at);
                if refusing.is_empty() {
                    till.pace = None;
                }
                till.proven_at = millis(lifetime.proven_at);
                till.fresh_until = millis(lifetime.fresh_until);
                till.ends = millis(lifetime.ends);
                let refresh_at = millis(lifetime.refresh_at);
                // The pace was dropped. It would only have counted the requests of the last minute.
                assert!(refresh_at >= now + MINUTE);
                if refusing.contains(&answered) {
                    // The caller uses the token immediately.
                    return answered;
                }
                if now < refusing.start {
                    return self.first_call(refusing.start);
                }
                return self.first_call(refresh_at);
            }
            Response::Failed(hint) => (FailureKind::Service, hint),
            Response::TooMany(reset) => (FailureKind::RateLimited, Some(reset)),
        };
        till.failed = true;
        pace.failed(instant(answered), kind, hint, self.random.draw());
        let next = millis(pace.next(instant(answered)));
        let goes_on = attempts < MAX_ATTEMPTS && kind.is_transient();
        till.attempts = goes_on.then_some(attempts);
        if goes_on {
            return next;
        }
        // The sign-in is completed. With a fresh token the next call that matters is when the pace permits one.
        if now < till.fresh_until {
            let fresh_until = till.fresh_until;
            return self.first_call(next.min(fresh_until));
        }
        self.first_call(answered)
    }
}
