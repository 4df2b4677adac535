//! The store and the country: what the two policies do to the service when everybody follows them.
//!
//! Virtual time, the library's own `freshness::plan` and `Pace`, a generator with a fixed seed: a run is
//! the same every time. A terminal here does what `Client` does: a look every few seconds, a flight of
//! at most three attempts when there is no fresh token or a refresh is due, each attempt when the pace
//! allows. Every terminal keeps a real `Pace` from its first request until its token comes; then the
//! pace is dropped, which changes nothing: a success clears it, and what is left, the requests of the
//! last minute, is over when the refresh comes (asserted).
//!
//! The limiter stands in front of the service: what it refuses uses no capacity, what it lets through
//! counts whether the service answers with a token or not.
//!
//! `cargo test --release --test simulation -- --nocapture` runs the full country and prints the tables,
//! with `CLOPOS_UPDATE_PLOTS=1` it draws tests/bench/country.svg, too. A debug build runs a hundredth.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clopos_auth::testing::clock::Instant;
use clopos_auth::testing::freshness::{self, Spread};
use clopos_auth::testing::pace::{FailureKind, Pace};

// ---- The world: times are milliseconds since the power came back. ----

const SECOND: u32 = 1000;
const MINUTE: u32 = 60 * SECOND;
const HOUR: u32 = 60 * MINUTE;
/// Events that fall into one tick happen at the same time.
const TICK: u32 = 10;

/// The settings of a client that matter here, at their defaults.
const REQUESTS_PER_MINUTE: u32 = 12;
const MAX_ATTEMPTS: u8 = 3;
const PATIENCE: u32 = 30 * SECOND;
const ATTEMPT_TIMEOUT: u32 = 10 * SECOND;
const EXPIRES_IN: Duration = Duration::from_secs(3600);

/// The service's limit for one IP address.
const LIMIT_PER_IP: u32 = 60;
/// From the request to the answer, when the service has nothing else to do.
const ROUND_TRIP: u32 = 100;

/// What the service does with requests beyond its capacity.
#[derive(Clone, Copy, PartialEq)]
enum Overload {
    /// Answers 503 at once to whoever would wait for more than a second.
    Sheds,
    /// Lets everybody queue; who is not served within 8 s gets the gateway's 504.
    Stalls,
}

#[derive(Clone)]
struct Scenario {
    seed: u64,
    venues: u32,
    terminals_per_venue: u32,
    /// Each venue has its power back at some moment of this span, and its terminals ask within the
    /// same second.
    boot_span: u32,
    /// A caller looks for a token at random intervals of up to twice this; 0: all the time.
    looks_every: u32,
    /// Tokens a second.
    capacity: u32,
    overload: Overload,
    /// The service answers 503, with this `Retry-After` in seconds.
    outage: Range<u32>,
    outage_hint: Option<u64>,
    /// Every other endpoint of the service refuses every token.
    refusing: Range<u32>,
    until: u32,
}

/// SplitMix64.
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

    /// What the policies take.
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

/// Rounded up: nothing happens early.
fn millis(at: Instant) -> u32 {
    u32::try_from(at.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

// ---- The service. ----

enum Answer {
    Token,
    /// 503 or 504, with its `Retry-After`.
    Failed(Option<Duration>),
    /// 429, with its `RateLimit-Reset`.
    TooMany(Duration),
}

/// What the limiter knows of one address: a fixed window of a minute that begins with a request, and
/// for the record the requests in each of the last sixty seconds.
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
    /// When it will have served all that it has let in, in microseconds.
    busy_until: u64,
}

impl Service {
    fn answer(&mut self, scenario: &Scenario, address: u32, now: u32) -> (Answer, u32) {
        let address = &mut self.addresses[address as usize];
        if address.used == 0 || now >= address.window_began + MINUTE {
            (address.window_began, address.used) = (now, 0);
        }
        if address.used >= LIMIT_PER_IP {
            let left = address.window_began + MINUTE - now;
            let reset = Duration::from_secs(left.div_ceil(SECOND).into());
            return (Answer::TooMany(reset), ROUND_TRIP);
        }
        address.used += 1;
        if scenario.outage.contains(&now) {
            let hint = scenario.outage_hint.map(Duration::from_secs);
            return (Answer::Failed(hint), ROUND_TRIP);
        }
        let now = u64::from(now) * 1000;
        let starts = self.busy_until.max(now);
        let wait = ((starts - now) / 1000) as u32;
        match scenario.overload {
            Overload::Sheds if wait > SECOND => (Answer::Failed(None), ROUND_TRIP),
            Overload::Stalls if wait > 8 * SECOND => (Answer::Failed(None), 8 * SECOND),
            _ => {
                self.busy_until = starts + u64::from(1_000_000 / scenario.capacity);
                (Answer::Token, wait + ROUND_TRIP)
            }
        }
    }
}

impl Address {
    /// Notes a request; returns how many there were in the sixty seconds that end with this one.
    fn note(&mut self, now: u32) -> u32 {
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

// ---- The terminals. ----

#[derive(Default)]
struct Terminal {
    /// From the first request that has no token yet until the token, and as long as tokens are refused.
    pace: Option<Box<Pace>>,
    proven_at: u32,
    fresh_until: u32,
    ends: u32,
    /// Attempts of the flight in the air; its next one leaves at the terminal's next event.
    attempts: Option<u8>,
    had_a_token: bool,
    /// Since the last token.
    failed: bool,
}

/// Each terminal has one event to come. A list for each tick, linked through the terminals.
struct Agenda {
    first: Vec<u32>,
    next: Vec<u32>,
}

const NOBODY: u32 = u32::MAX;

impl Agenda {
    fn put(&mut self, terminal: u32, at: u32) {
        if let Some(first) = self.first.get_mut(at.div_ceil(TICK) as usize) {
            self.next[terminal as usize] = std::mem::replace(first, terminal);
        }
    }

    fn take(&mut self, tick: usize) -> Option<u32> {
        let terminal = self.first[tick];
        if terminal == NOBODY {
            return None;
        }
        self.first[tick] = self.next[terminal as usize];
        Some(terminal)
    }
}

struct Simulation {
    scenario: Scenario,
    random: Random,
    service: Service,
    terminals: Vec<Terminal>,
    agenda: Agenda,
    record: Record,
}

/// What happened.
#[derive(Default)]
struct Record {
    /// Requests and tokens in each second.
    requests: Vec<u32>,
    tokens: Vec<u32>,
    /// When each terminal had its first token, in the order of time.
    first_tokens: Vec<u32>,
    /// When the last terminal had its token that had failed and was served after all was well again.
    back_at: u32,
    /// How many were.
    back: u32,
    /// The most requests from one address within a minute: ever, and without the first minute.
    most_in_a_minute: u32,
    most_later: u32,
    /// How often a token came to its end before the next one was there.
    ran_dry: u32,
}

impl Simulation {
    fn run(scenario: &Scenario) -> Record {
        let count = scenario.venues * scenario.terminals_per_venue;
        let mut random = Random(scenario.seed);
        let mut agenda = Agenda {
            first: vec![NOBODY; (scenario.until / TICK) as usize],
            next: vec![NOBODY; count as usize],
        };
        for venue in 0..scenario.venues {
            let power = random.below(scenario.boot_span);
            for terminal in 0..scenario.terminals_per_venue {
                let boots = power + random.below(SECOND);
                agenda.put(venue * scenario.terminals_per_venue + terminal, boots);
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
            terminals: (0..count).map(|_| Terminal::default()).collect(),
            agenda,
            record: Record {
                requests: vec![0; seconds],
                tokens: vec![0; seconds + 60],
                ..Record::default()
            },
        };
        for tick in 0..simulation.agenda.first.len() {
            while let Some(terminal) = simulation.agenda.take(tick) {
                let now = tick as u32 * TICK;
                let next = match simulation.terminals[terminal as usize].attempts {
                    Some(_) => simulation.attempt(terminal, now),
                    None => simulation.look(terminal, now),
                };
                simulation.agenda.put(terminal, next.max(now + TICK));
            }
        }
        simulation.record.first_tokens.sort_unstable();
        simulation.record
    }

    /// The first time after `time` at which a caller looks.
    fn first_look(&mut self, time: u32) -> u32 {
        time + self.random.below(2 * self.scenario.looks_every)
    }

    /// `Client::get_token` of a caller whom the token does not satisfy. Returns the time of the
    /// terminal's next event.
    fn look(&mut self, id: u32, now: u32) -> u32 {
        let terminal = &mut self.terminals[id as usize];
        let pace = terminal
            .pace
            .get_or_insert_with(|| Box::new(Pace::new(REQUESTS_PER_MINUTE)));
        if now < terminal.fresh_until && self.scenario.refusing.contains(&now) {
            // The caller has used it, and reports its 401.
            pace.token_refused(
                instant(now),
                instant(terminal.proven_at),
                self.random.draw(),
            );
            terminal.fresh_until = 0;
            terminal.failed = true;
        }
        let next = millis(pace.next(instant(now)));
        if next <= now {
            terminal.attempts = Some(0);
            return self.attempt(id, now);
        }
        let is_fresh = now < terminal.fresh_until;
        if !is_fresh && pace.is_worth_waiting(instant(now)) {
            if next < now + PATIENCE {
                terminal.attempts = Some(0);
                return next;
            }
            return self.first_look(next - PATIENCE);
        }
        let until = if is_fresh {
            next.min(terminal.fresh_until)
        } else {
            next
        };
        self.first_look(until)
    }

    /// One round of `Shared::try_fly`. Returns the time of the terminal's next event.
    fn attempt(&mut self, id: u32, now: u32) -> u32 {
        let venue = id / self.scenario.terminals_per_venue;
        let record = &mut self.record;
        record.requests[(now / SECOND) as usize] += 1;
        let in_a_minute = self.service.addresses[venue as usize].note(now);
        record.most_in_a_minute = record.most_in_a_minute.max(in_a_minute);
        // Sixty seconds that begin after the first minute end after the second.
        if now >= 2 * MINUTE + self.scenario.boot_span {
            record.most_later = record.most_later.max(in_a_minute);
        }

        let refusing = &self.scenario.refusing;
        let terminal = &mut self.terminals[id as usize];
        let pace = terminal.pace.as_mut().expect("it was made by a look");
        let attempts = terminal.attempts.map_or(1, |attempts| attempts + 1);
        pace.sent(instant(now));
        let (answer, latency) = self.service.answer(&self.scenario, venue, now);
        assert!(latency <= ATTEMPT_TIMEOUT, "it would have given up");
        let answered = now + latency;
        let (kind, hint) = match answer {
            Answer::Token => {
                terminal.attempts = None;
                let origin = if now < terminal.fresh_until && !terminal.failed {
                    Spread::Narrow
                } else {
                    Spread::Wide
                };
                if terminal.had_a_token {
                    record.ran_dry += u32::from(answered > terminal.ends);
                } else {
                    record.first_tokens.push(answered);
                }
                let is_well = now >= self.scenario.outage.end && answered >= refusing.end;
                if terminal.failed && is_well {
                    record.back_at = record.back_at.max(answered);
                    record.back += 1;
                }
                terminal.had_a_token = true;
                terminal.failed = false;
                record.tokens[(answered / SECOND) as usize] += 1;
                let lifetime =
                    freshness::plan(instant(now), EXPIRES_IN, origin, self.random.draw());
                pace.succeeded(lifetime.proven_at);
                if refusing.is_empty() {
                    terminal.pace = None;
                }
                terminal.proven_at = millis(lifetime.proven_at);
                terminal.fresh_until = millis(lifetime.fresh_until);
                terminal.ends = millis(lifetime.ends);
                let refresh_at = millis(lifetime.refresh_at);
                assert!(refresh_at >= now + MINUTE, "the last minute would count");
                if refusing.contains(&answered) {
                    // The call that asked for it uses it at once.
                    return answered;
                }
                if now < refusing.start {
                    return self.first_look(refusing.start);
                }
                return self.first_look(refresh_at);
            }
            Answer::Failed(hint) => (FailureKind::Service, hint),
            Answer::TooMany(reset) => (FailureKind::RateLimited, Some(reset)),
        };
        terminal.failed = true;
        pace.failed(instant(answered), kind, hint, self.random.draw());
        let next = millis(pace.next(instant(answered)));
        let goes_on = attempts < MAX_ATTEMPTS && kind.is_transient();
        terminal.attempts = goes_on.then_some(attempts);
        if goes_on {
            return next;
        }
        // The flight has landed. With a fresh token nobody looks before the pace allows it.
        if now < terminal.fresh_until {
            let fresh_until = terminal.fresh_until;
            return self.first_look(next.min(fresh_until));
        }
        self.first_look(answered)
    }
}

// ---- The store. ----

/// One address, where nothing goes wrong.
fn store(looks_every: u32) -> Scenario {
    Scenario {
        seed: 0,
        venues: 1,
        terminals_per_venue: 25,
        boot_span: 1,
        looks_every,
        capacity: 5000,
        overload: Overload::Sheds,
        outage: 0..0,
        outage_hint: None,
        refusing: 0..0,
        until: 10 * MINUTE,
    }
}

/// Runs it with many seeds and prints the worst of each.
fn worst_store(
    name: &str,
    outage: Range<u32>,
    outage_hint: Option<u64>,
    looks_every: u32,
) -> Worst {
    let mut worst = Worst::default();
    for seed in 0..200 {
        let record = Simulation::run(&Scenario {
            seed,
            outage: outage.clone(),
            outage_hint,
            ..store(looks_every)
        });
        assert_eq!(record.first_tokens.len(), 25, "every terminal has a token");
        worst.all_have_a_token = worst.all_have_a_token.max(record.first_tokens[24]);
        worst.in_a_minute_later = worst.in_a_minute_later.max(record.most_later);
        let minutes = record.requests.chunks(60).take(worst.minutes.len());
        for (most, minute) in worst.minutes.iter_mut().zip(minutes) {
            *most = (*most).max(minute.iter().sum());
        }
    }
    println!(
        "{name:<34}|{:>9.1} s |{:>8} |{:>5?}",
        f64::from(worst.all_have_a_token) / 1000.0,
        worst.in_a_minute_later,
        worst.minutes,
    );
    worst
}

#[derive(Default)]
struct Worst {
    all_have_a_token: u32,
    in_a_minute_later: u32,
    minutes: [u32; 7],
}

#[test]
fn a_store_of_25_terminals_is_served_at_once_and_stays_under_its_limit_through_an_outage() {
    let outage = 0..5 * MINUTE;
    println!(
        "25 terminals, one address        | all have one | later   | requests in minutes 1 to 7"
    );
    for (callers, looks_every) in [("", 5 * SECOND), (", tight loop", 0)] {
        let healthy = worst_store(&format!("healthy{callers}"), 0..0, None, looks_every);
        assert!(healthy.all_have_a_token <= 2 * SECOND);
        assert!(healthy.in_a_minute_later <= LIMIT_PER_IP);
        for hint in [None, Some(30), Some(60), Some(3600)] {
            let name = hint.map_or(String::new(), |hint| format!(", Retry-After {hint}"));
            let name = format!("503 for 5 min{name}{callers}");
            let failing = worst_store(&name, outage.clone(), hint, looks_every);
            assert!(failing.all_have_a_token <= outage.end + 90 * SECOND);
            assert!(failing.in_a_minute_later <= LIMIT_PER_IP);
        }
    }
}

#[test]
fn a_store_whose_tokens_are_all_refused_stays_under_its_limit_and_is_back_within_five_minutes() {
    println!("25 terminals, tokens refused for 20 min | in a minute | back after");
    for (callers, looks_every) in [("", 5 * SECOND), (", tight loop", 0)] {
        for (name, start) in [("from the start", 0), ("later", 5 * MINUTE)] {
            let refusing = start..start + 20 * MINUTE;
            let (mut most, mut back_after) = (0, 0);
            for seed in 0..200 {
                let record = Simulation::run(&Scenario {
                    seed,
                    refusing: refusing.clone(),
                    until: refusing.end + 6 * MINUTE,
                    ..store(looks_every)
                });
                assert_eq!(record.back, 25, "every terminal has a token again");
                most = most.max(record.most_in_a_minute);
                back_after = back_after.max(record.back_at - refusing.end);
            }
            println!(
                "{:<40}|{most:>12} |{:>9.1} s",
                format!("{name}{callers}"),
                f64::from(back_after) / 1000.0
            );
            assert!(most < LIMIT_PER_IP);
            assert!(back_after <= 5 * MINUTE);
        }
    }
}

// ---- The country. ----

/// A hundredth in a debug build, so that `cargo test` stays quick.
const PARTS: u32 = if cfg!(debug_assertions) { 100 } else { 1 };
/// The seconds over which a peak is looked for. In a small country chance alone makes minutes differ.
const SPAN: usize = if PARTS == 1 { 60 } else { 300 };

fn country(overload: Overload, outage: Range<u32>, until: u32) -> Record {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let scenario = Scenario {
        seed: 2026,
        venues: 100_000 / PARTS,
        terminals_per_venue: 20,
        boot_span: 2 * MINUTE,
        looks_every: 5 * SECOND,
        capacity: 5000 / PARTS,
        overload,
        outage,
        outage_hint: None,
        refusing: 0..0,
        until,
    };
    let record = Simulation::run(&scenario);
    let count = scenario.venues * scenario.terminals_per_venue;
    println!(
        "{} venues of 20 terminals boot within 2 min; the service answers {} a second and {}",
        scenario.venues,
        scenario.capacity,
        match overload {
            Overload::Sheds => "the others with 503",
            Overload::Stalls => "lets the others wait, 504 after 8 s",
        }
    );
    println!(
        "a token: 50 % after {:.0} s, 99 % after {:.0} s, 100 % after {:.0} s",
        record.part_served(count, 50),
        record.part_served(count, 99),
        record.part_served(count, 100),
    );
    println!(
        "requests of one address in a minute: at most {}, later {}; ran dry: {} tokens",
        record.most_in_a_minute, record.most_later, record.ran_dry
    );
    println!("hour | requests/s | busiest second     | busiest {SPAN} s");
    for hour in 0..record.requests.len() / 3600 {
        let load = record.load(hour);
        println!(
            "{:>4} | {:>10.0} | {:>8.0}  {:>5.2} x  | {:>8.0}  {:>5.2} x",
            hour + 1,
            load.mean,
            load.second,
            load.second / load.mean,
            load.span,
            load.span / load.mean
        );
    }
    record
}

/// Requests a second, in one hour.
struct Load {
    mean: f64,
    /// In the busiest second.
    second: f64,
    /// In the busiest [`SPAN`].
    span: f64,
}

impl Record {
    fn load(&self, hour: usize) -> Load {
        let busiest = |span: usize| {
            let requests = &self.requests[hour * 3600..(hour + 1) * 3600];
            let sums = requests.chunks(span).map(|span| span.iter().sum::<u32>());
            f64::from(sums.max().unwrap_or_default()) / span as f64
        };
        Load {
            mean: busiest(3600),
            second: busiest(1),
            span: busiest(SPAN),
        }
    }

    /// The seconds until so many percent of all terminals had a token.
    fn part_served(&self, count: u32, percent: u32) -> f64 {
        let needed = (u64::from(count) * u64::from(percent)).div_ceil(100) as usize;
        let time = self.first_tokens.get(needed - 1);
        f64::from(*time.expect("so many have a token")) / 1000.0
    }
}

#[test]
fn a_country_that_boots_at_once_is_served_as_fast_as_the_service_can_and_the_wave_flattens() {
    let record = country(Overload::Sheds, 0..0, 12 * HOUR);
    let count = 2_000_000 / PARTS;
    // 400 s is what the service needs if it never idles.
    assert!(record.part_served(count, 100) <= 480.0);
    assert!(record.most_later <= LIMIT_PER_IP);
    assert_eq!(record.ran_dry, 0);
    for hour in 2..12 {
        let load = record.load(hour);
        let peak = if PARTS == 1 { load.second } else { load.span };
        assert!(peak <= 1.3 * load.mean, "hour {}", hour + 1);
    }
    if PARTS == 1 && std::env::var_os("CLOPOS_UPDATE_PLOTS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/country.svg");
        std::fs::write(path, plot(&record)).expect("the plot can be written");
    }
}

#[test]
fn a_country_in_front_of_a_service_that_stalls_is_served_as_well() {
    let record = country(Overload::Stalls, 0..0, HOUR);
    assert!(record.part_served(2_000_000 / PARTS, 100) <= 480.0);
    assert!(record.most_later <= LIMIT_PER_IP);
}

#[test]
fn an_outage_in_the_sixth_hour_is_over_within_90_s_and_leaves_no_wave() {
    let outage = 5 * HOUR + 20 * MINUTE..5 * HOUR + 25 * MINUTE;
    let record = country(Overload::Sheds, outage.clone(), 12 * HOUR);
    assert!(record.back_at <= outage.end + 90 * SECOND);
    let tail = &record.requests[(outage.end / SECOND) as usize + 90..6 * 3600];
    let mean = record.load(4).mean;
    for span in tail.chunks_exact(SPAN) {
        let requests = f64::from(span.iter().sum::<u32>()) / SPAN as f64;
        assert!(requests <= 1.3 * mean, "the backlog is done");
    }
    for hour in 6..12 {
        let load = record.load(hour);
        assert!(load.span <= 1.3 * load.mean, "hour {}", hour + 1);
    }
    assert!(record.most_later <= LIMIT_PER_IP);
}

// ---- The plot. ----

/// Two views of one curve: the first twelve minutes on a logarithmic axis, the twelve hours on a linear
/// one. Colours that can be read on white and on black.
fn plot(record: &Record) -> String {
    const TOP: f64 = 56.0;
    const BOTTOM: f64 = 316.0;
    const LEFT: Range<f64> = 62.0..372.0;
    const RIGHT: Range<f64> = 450.0..870.0;
    const REQUESTS: &str = "#3b82f6";
    const TOKENS: &str = "#10a37f";
    const CAPACITY: &str = "#e0662f";
    const LINEAR_TOP: f64 = 1000.0;

    let logarithmic = |value: f64| {
        let part = (value.max(10.0).log10() - 1.0) / 4.0;
        BOTTOM - part.clamp(0.0, 1.0) * (BOTTOM - TOP)
    };
    let linear = |value: f64| BOTTOM - (value / LINEAR_TOP).clamp(0.0, 1.0) * (BOTTOM - TOP);
    let minute_x = |minute: f64| LEFT.start + minute / 12.0 * (LEFT.end - LEFT.start);
    let hour_x = |hour: f64| RIGHT.start + hour / 12.0 * (RIGHT.end - RIGHT.start);
    let mean = |requests: &[u32]| requests.iter().sum::<u32>() as f64 / requests.len() as f64;
    let line = |points: &[(f64, f64)], style: &str| {
        let points: Vec<_> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        format!("<polyline points=\"{}\" {style}/>\n", points.join(" "))
    };
    let text = |x: f64, y: f64, style: &str, text: &str| {
        format!("<text x=\"{x:.0}\" y=\"{y:.0}\" {style}>{text}</text>\n")
    };

    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 372\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"#808890\">\n\
         <title>Requests a second at the service after a power cut: 2 million terminals</title>\n",
    );
    // Axes.
    for (value, label) in [
        (10.0, "10"),
        (100.0, "100"),
        (1e3, "1 000"),
        (1e4, "10 000"),
        (1e5, "100 000"),
    ] {
        let y = logarithmic(value);
        svg += &line(
            &[(LEFT.start, y), (LEFT.end, y)],
            "stroke=\"#808890\" stroke-opacity=\".3\"",
        );
        svg += &text(LEFT.start - 6.0, y + 4.0, "text-anchor=\"end\"", label);
    }
    for value in [0, 250, 500, 750, 1000] {
        let y = linear(value.into());
        svg += &line(
            &[(RIGHT.start, y), (RIGHT.end, y)],
            "stroke=\"#808890\" stroke-opacity=\".3\"",
        );
        svg += &text(
            RIGHT.start - 6.0,
            y + 4.0,
            "text-anchor=\"end\"",
            &value.to_string(),
        );
    }
    for step in (0..=12).step_by(2) {
        let label = step.to_string();
        let middle = "text-anchor=\"middle\"";
        svg += &text(minute_x(step.into()), BOTTOM + 18.0, middle, &label);
        svg += &text(hour_x(step.into()), BOTTOM + 18.0, middle, &label);
    }
    let middle = "text-anchor=\"middle\"";
    svg += &text(
        minute_x(6.0),
        BOTTOM + 40.0,
        middle,
        "minutes since the power came back",
    );
    svg += &text(
        hour_x(6.0),
        BOTTOM + 40.0,
        middle,
        "hours since the power came back",
    );
    svg += &text(
        LEFT.start,
        20.0,
        "font-weight=\"bold\"",
        "The first minutes: requests a second (log)",
    );
    svg += &text(
        RIGHT.start,
        20.0,
        "font-weight=\"bold\"",
        "Twelve hours: requests a second",
    );

    // The first minutes.
    let curve = |counts: &[u32]| -> Vec<(f64, f64)> {
        let points = counts[..720].chunks(5).enumerate();
        points
            .map(|(i, chunk)| (minute_x((i as f64 + 0.5) / 12.0), logarithmic(mean(chunk))))
            .collect()
    };
    let thick = |colour: &str| format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"");
    svg += &line(&curve(&record.requests), &thick(REQUESTS));
    svg += &line(&curve(&record.tokens), &thick(TOKENS));
    let capacity = logarithmic(5000.0);
    svg += &line(
        &[(LEFT.start, capacity), (LEFT.end, capacity)],
        &format!("stroke=\"{CAPACITY}\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\""),
    );
    let legend = [
        (REQUESTS, "requests"),
        (TOKENS, "tokens"),
        (CAPACITY, "capacity, 5 000"),
    ];
    for (place, (colour, label)) in legend.into_iter().enumerate() {
        let x = LEFT.start + 85.0 * place as f64;
        svg += &text(x, 42.0, &format!("fill=\"{colour}\""), label);
    }

    // The twelve hours, two minutes a point.
    let points = |value: &dyn Fn(&[u32]) -> f64| -> Vec<(f64, f64)> {
        let chunks = record.requests.chunks(120).enumerate();
        chunks
            .map(|(i, chunk)| (hour_x((i as f64 + 0.5) / 30.0), linear(value(chunk))))
            .collect()
    };
    let busiest = |chunk: &[u32]| chunk.iter().max().map_or(0.0, |&max| max.into());
    svg += &line(
        &points(&busiest),
        &format!("fill=\"none\" stroke=\"{REQUESTS}\" stroke-opacity=\".45\""),
    );
    svg += &line(&points(&mean), &thick(REQUESTS));
    svg += &text(
        RIGHT.start,
        42.0,
        &format!("fill=\"{REQUESTS}\""),
        "mean of two minutes",
    );
    svg += &text(
        RIGHT.start + 135.0,
        42.0,
        &format!("fill=\"{REQUESTS}\" fill-opacity=\".6\""),
        "their busiest second",
    );
    svg + "</svg>\n"
}
