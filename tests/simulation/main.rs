//! What the policies do to the service when all devices of a store, or of a country, follow them.
//!
//! The simulation and its rules are in `model.rs`. Time is virtual and the random generator has a fixed seed, so
//! every run is the same.
//!
//! `cargo test --release --test simulation -- --nocapture` simulates the full country and prints the tables. With
//! `CLOPOS_UPDATE_PLOTS=1` it also draws tests/bench/country.svg. A debug build simulates a hundredth.

mod model;
mod plot;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use model::{HOUR, LIMIT_PER_IP, MINUTE, Overload, Record, SECOND, Scenario, Simulation};

// ---- The store. ----

/// A store behind one address, without failures.
fn store(call_interval: u32) -> Scenario {
    Scenario {
        seed: 0,
        venues: 1,
        tills_per_venue: 25,
        boot_span: 1,
        call_interval,
        capacity: 5000,
        overload: Overload::Sheds,
        outage: 0..0,
        outage_hint: None,
        refusing: 0..0,
        until: 10 * MINUTE,
    }
}

/// Runs a store with 200 seeds, prints the worst values and returns them.
fn worst_store(
    name: &str,
    outage: Range<u32>,
    outage_hint: Option<u64>,
    call_interval: u32,
) -> Worst {
    let mut worst = Worst::default();
    for seed in 0..200 {
        let record = Simulation::run(&Scenario {
            seed,
            outage: outage.clone(),
            outage_hint,
            ..store(call_interval)
        });
        assert_eq!(record.first_tokens.len(), 25, "every till has a token");
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
fn a_store_of_25_tills_stays_within_its_limit_and_has_tokens_90_s_after_an_outage() {
    let outage = 0..5 * MINUTE;
    println!(
        "25 tills, one address            | all have one | later   | requests in minutes 1 to 7"
    );
    for (callers, call_interval) in [("", 5 * SECOND), (", tight loop", 0)] {
        let healthy = worst_store(&format!("healthy{callers}"), 0..0, None, call_interval);
        assert!(healthy.all_have_a_token <= 2 * SECOND);
        assert!(healthy.in_a_minute_later <= LIMIT_PER_IP);
        for hint in [None, Some(30), Some(60), Some(3600)] {
            let name = hint.map_or(String::new(), |hint| format!(", Retry-After {hint}"));
            let name = format!("503 for 5 min{name}{callers}");
            let failing = worst_store(&name, outage.clone(), hint, call_interval);
            assert!(failing.all_have_a_token <= outage.end + 90 * SECOND);
            assert!(failing.in_a_minute_later <= LIMIT_PER_IP);
        }
    }
}

#[test]
fn a_store_whose_tokens_are_refused_stays_below_its_limit_and_recovers_within_five_minutes() {
    println!("25 tills, tokens refused for 20 min     | in a minute | back after");
    for (callers, call_interval) in [("", 5 * SECOND), (", tight loop", 0)] {
        for (name, start) in [("from the start", 0), ("later", 5 * MINUTE)] {
            let refusing = start..start + 20 * MINUTE;
            let (mut most, mut back_after) = (0, 0);
            for seed in 0..200 {
                let record = Simulation::run(&Scenario {
                    seed,
                    refusing: refusing.clone(),
                    until: refusing.end + 6 * MINUTE,
                    ..store(call_interval)
                });
                assert_eq!(record.recovered, 25, "every till has a token again");
                most = most.max(record.most_in_a_minute);
                back_after = back_after.max(record.recovered_at - refusing.end);
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
/// The seconds over which a peak is averaged. In a small country the minutes differ by chance.
const SPAN: usize = if PARTS == 1 { 60 } else { 300 };

fn country(overload: Overload, outage: Range<u32>, until: u32) -> Record {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let scenario = Scenario {
        seed: 2026,
        venues: 100_000 / PARTS,
        tills_per_venue: 20,
        boot_span: 2 * MINUTE,
        call_interval: 5 * SECOND,
        capacity: 5000 / PARTS,
        overload,
        outage,
        outage_hint: None,
        refusing: 0..0,
        until,
    };
    let record = Simulation::run(&scenario);
    let count = scenario.venues * scenario.tills_per_venue;
    println!(
        "{} venues of 20 tills boot within 2 min; the service answers {} a second and {}",
        scenario.venues,
        scenario.capacity,
        match overload {
            Overload::Sheds => "the others with 503",
            Overload::Stalls => "lets the others wait, 504 after 8 s",
        }
    );
    println!(
        "a token: 50 % after {:.0} s, 99 % after {:.0} s, 100 % after {:.0} s",
        record.seconds_to_serve(count, 50),
        record.seconds_to_serve(count, 99),
        record.seconds_to_serve(count, 100),
    );
    println!(
        "requests of one address in a minute: at most {}, later {}; expired tokens: {}",
        record.most_in_a_minute, record.most_later, record.expired_tokens
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

    /// The seconds until this percentage of all tills had a token.
    fn seconds_to_serve(&self, count: u32, percent: u32) -> f64 {
        let needed = (u64::from(count) * u64::from(percent)).div_ceil(100) as usize;
        let time = self.first_tokens.get(needed - 1);
        f64::from(*time.expect("that many tills have a token")) / 1000.0
    }
}

#[test]
fn a_country_that_boots_together_has_tokens_within_480_s_and_its_load_evens_out() {
    let record = country(Overload::Sheds, 0..0, 12 * HOUR);
    let count = 2_000_000 / PARTS;
    // The service needs 400 s if it is never idle.
    assert!(record.seconds_to_serve(count, 100) <= 480.0);
    assert!(record.most_later <= LIMIT_PER_IP);
    assert_eq!(record.expired_tokens, 0);
    for hour in 2..12 {
        let load = record.load(hour);
        let peak = if PARTS == 1 { load.second } else { load.span };
        assert!(peak <= 1.3 * load.mean, "hour {}", hour + 1);
    }
    if PARTS == 1 && std::env::var_os("CLOPOS_UPDATE_PLOTS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/country.svg");
        std::fs::write(path, plot::draw(&record)).expect("the plot can be written");
    }
}

#[test]
fn a_country_has_tokens_within_480_s_if_the_service_stalls() {
    let record = country(Overload::Stalls, 0..0, HOUR);
    assert!(record.seconds_to_serve(2_000_000 / PARTS, 100) <= 480.0);
    assert!(record.most_later <= LIMIT_PER_IP);
}

#[test]
fn a_country_recovers_within_90_s_of_an_outage_and_its_load_stays_even() {
    let outage = 5 * HOUR + 20 * MINUTE..5 * HOUR + 25 * MINUTE;
    let record = country(Overload::Sheds, outage.clone(), 12 * HOUR);
    assert!(record.recovered_at <= outage.end + 90 * SECOND);
    let tail = &record.requests[(outage.end / SECOND) as usize + 90..6 * 3600];
    let mean = record.load(4).mean;
    for span in tail.chunks_exact(SPAN) {
        let requests = f64::from(span.iter().sum::<u32>()) / SPAN as f64;
        assert!(requests <= 1.3 * mean, "requests are still delayed");
    }
    for hour in 6..12 {
        let load = record.load(hour);
        assert!(load.span <= 1.3 * load.mean, "hour {}", hour + 1);
    }
    assert!(record.most_later <= LIMIT_PER_IP);
}
