//! The client under many threads, failures and every kind of time, against the sandbox. Time is
//! injected, except where a test is about real waiting.

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use clopos_auth::testing::clock::{Clock, TimeSource};
use clopos_auth::{Client, Credentials, LogLevel, Status};
use clopos_sandbox::{Fault, StandIn};

use support::*;

/// A deadline that only an injected clock can pass: the call waits for its flight however long that
/// takes, but for no pause between attempts.
const SHORT: Option<Duration> = Some(MS);
const NOW: Option<Duration> = Some(Duration::ZERO);
const MINUTE: Duration = Duration::from_secs(60);

// ---------------------------------------------------------------------------------------------
// Single flight

#[test]
fn two_hundred_threads_on_a_cold_client_cause_one_request_and_get_its_token() {
    let bench = Bench::start();
    for round in 1..=10 {
        // A fast answer lands while others are still on their way; a slow one is waited for.
        bench.set_latency(if round % 2 == 0 {
            20 * MS
        } else {
            Duration::ZERO
        });
        let client = Arc::new(bench.client(&bench.config()));
        let tokens: BTreeSet<_> = together(200, move |_| value(client.get_token(None)))
            .into_iter()
            .collect();
        assert_eq!(tokens.len(), 1);
        assert_eq!(bench.requests(), round);
    }
}

#[test]
fn when_the_token_dies_under_two_hundred_threads_they_cause_one_request() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = Arc::new(bench.client(&bench.config_at(&clock)));
    for round in 1..=5 {
        let old = value(client.get_token(None));
        assert_eq!(bench.requests(), round);
        let (client, clock) = (client.clone(), clock.clone());
        let is_dead = AtomicBool::new(false);
        let came = together(200, move |number| {
            if number == 100 {
                clock.advance(HOUR);
                is_dead.store(true, Ordering::SeqCst);
            }
            // Longer than the hour that may pass inside the call.
            let patience = Some(2 * HOUR);
            (
                is_dead.load(Ordering::SeqCst),
                value(client.get_token(patience)),
            )
        });
        // Whoever came before its death may have got the old one.
        let new: BTreeSet<_> = came
            .into_iter()
            .filter_map(|(is_dead, token)| (is_dead || token != old).then_some(token))
            .collect();
        assert_eq!(new.len(), 1);
        assert!(!new.contains(&old), "a dead token was served");
        assert_eq!(bench.requests(), round + 1);
    }
}

#[test]
fn two_hundred_threads_get_the_error_of_the_one_request_that_failed() {
    for (fault, expected) in [
        (Fault::Status401, Status::Rejected),
        (Fault::Status503, Status::Server),
        (Fault::BodyHtml, Status::Protocol),
        (Fault::RequestClose, Status::Connect),
        (Fault::Status429, Status::RateLimited),
    ] {
        let bench = Bench::start();
        bench.set_latency(5 * MS);
        bench.sandbox.fail(fault);
        let clock = ManualClock::new();
        let mut config = bench.config_at(&clock);
        config.set_max_attempts(1).unwrap();
        let client = Arc::new(bench.client(&config));
        let statuses = together(200, move |_| status(client.get_token(SHORT)));
        assert!(statuses.iter().all(|&s| s == expected), "{statuses:?}");
        assert_eq!(bench.requests(), 1, "{expected:?}");
    }
}

#[test]
fn callers_of_one_failed_request_do_not_wait_for_another_one() {
    let bench = Bench::start();
    bench.set_latency(20 * MS);
    bench.sandbox.fail(Fault::Status503);
    let clock = ManualClock::new();
    let mut config = bench.config_at(&clock);
    config.set_max_attempts(1).unwrap();
    for round in 1..=20 {
        // Patient callers: on this clock, which stands, a second request would never leave.
        let client = Arc::new(bench.client(&config));
        let statuses = together(8, move |_| status(client.get_token(None)));
        assert!(statuses.iter().all(|&s| s == Status::Server));
        assert_eq!(bench.requests(), round);
    }
}

#[test]
fn authenticate_asks_again_though_there_is_a_token_and_joins_what_is_in_the_air() {
    let bench = Bench::start();
    let client = Arc::new(bench.client(&bench.config()));
    let first = value(client.get_token(None));
    let second = value(client.authenticate(None));
    assert_ne!(first, second);
    assert_eq!(bench.requests(), 2);
    assert_eq!(value(client.get_token(None)), second);

    bench.set_latency(300 * MS);
    let callers = waiters(10, {
        let client = client.clone();
        move || value(client.authenticate(None))
    });
    let tokens: BTreeSet<_> = callers.results().into_iter().collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(bench.requests(), 3);
}

// ---------------------------------------------------------------------------------------------
// Refresh ahead

#[test]
fn while_a_slow_refresh_is_in_the_air_nobody_waits_and_afterwards_its_token_is_there() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = Arc::new(bench.client(&bench.config_at(&clock)));
    let old = value(client.get_token(None));
    bench.set_latency(5 * SECOND);
    // Any refresh is due by then, and the token is fresh for another four minutes.
    clock.advance(HOUR - 300 * SECOND);

    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, old) = (client.clone(), old.clone());
            thread::spawn(move || {
                let mut calls = 0_u32;
                loop {
                    let sleeps = own_sleeps();
                    let (came, took) = timed(|| client.get_token(None));
                    let slept = own_sleeps() - sleeps;
                    // Whoever is preempted did not wait: only a thread that went to sleep did.
                    assert!(
                        took <= 5 * MS || slept == 0,
                        "{took:?}, and went to sleep {slept} times"
                    );
                    calls += 1;
                    if came.expect("a token is there").value() != old {
                        return calls;
                    }
                    if calls.is_multiple_of(64) {
                        thread::sleep(MS);
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        let calls = caller.join().unwrap();
        assert!(calls > 1000, "only {calls} calls");
    }
    assert_eq!(bench.requests(), 2);
    assert_ne!(value(client.get_token(NOW)), old);
    assert_eq!(bench.requests(), 2);
}

#[test]
fn a_failed_refresh_leaves_the_old_token_served_to_its_true_end_and_the_log_says_so() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let mut config = bench.config_at(&clock);
    config.set_max_attempts(1).unwrap();
    let client = bench.client(&config);
    let old = value(client.get_token(None));
    bench.sandbox.fail(Fault::Status503);

    clock.advance(HOUR - 300 * SECOND);
    assert_eq!(value(client.get_token(NOW)), old);
    bench.until_logged(LogLevel::Warn, "no new token: SERVER");
    bench.until_logged(LogLevel::Warn, "the current one is valid for 300 s");

    // Through the margin, whatever patience the caller has.
    for left in [299, 61, 60, 59, 30, 5, 2, 1] {
        let token = client.get_token(NOW).expect("it still lives");
        assert_eq!(token.value(), old);
        clock.advance(token.expires_in() - left * SECOND);
        for patience in [NOW, SHORT, None] {
            let token = noted(client.get_token(patience)).expect("it still lives");
            assert_eq!(token.value(), old);
            assert_eq!(token.expires_in(), left * SECOND);
        }
    }
    clock.advance(SECOND - Duration::from_nanos(1));
    assert_eq!(value(client.get_token(SHORT)), old);
    clock.advance(Duration::from_nanos(1));
    assert_eq!(status(client.get_token(SHORT)), Status::Server);
    assert!(matches!(
        status(client.get_token(NOW)),
        Status::Server | Status::WouldWait
    ));
    assert!(bench.requests() > 3, "it kept trying");
}

#[test]
fn a_refresh_that_hangs_costs_nobody_the_token_that_still_lives() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
    let old = value(client.get_token(None));
    bench.sandbox.fail(Fault::RequestHang);
    // In the margin, where callers wait for the refresh.
    clock.advance(HOUR - 20 * SECOND);
    let running = clock.run(20);
    let token = noted(client.get_token(None)).expect("the old one, before it ends");
    assert_eq!(token.value(), old);
    assert!(token.expires_in() > SECOND, "{token:?}");
    drop(running);
    client.close();
}

#[test]
fn a_failed_refresh_is_tried_again_when_the_pace_allows_and_not_before() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let mut config = bench.config_at(&clock);
    config.set_max_attempts(1).unwrap();
    let client = bench.client(&config);
    let old = value(client.get_token(None));
    bench.sandbox.fail_times(Fault::Status503, 1);
    clock.advance(HOUR - 300 * SECOND);
    assert_eq!(value(client.get_token(None)), old);
    bench.until_logged(LogLevel::Warn, "no new token");
    for _ in 0..100 {
        assert_eq!(value(client.get_token(None)), old);
    }
    assert_eq!(bench.requests(), 2);
    clock.advance(SECOND);
    until("a new token is there", || {
        value(client.get_token(NOW)) != old
    });
    assert_eq!(bench.requests(), 3);
}

#[test]
fn an_authenticate_that_fails_does_not_keep_the_token_from_being_refreshed() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let mut config = bench.config_at(&clock);
    config.set_max_attempts(1).unwrap();
    let client = Arc::new(bench.client(&config));
    let old = value(client.get_token(None));
    clock.advance(HOUR - 300 * SECOND);
    bench.sandbox.fail(Fault::RequestHang);
    let asking = waiters(1, {
        let client = client.clone();
        move || status(client.authenticate(None))
    });
    bench.until_requests(2);
    // Finds the other's request in the air and leaves it at that.
    assert_eq!(value(client.get_token(None)), old);
    client.cancel();
    for asked in asking.results() {
        assert_eq!(asked, Status::Cancelled);
    }
    bench.sandbox.heal();
    bench.until_logged(LogLevel::Warn, "no new token: TIMEOUT");
    clock.advance(5 * SECOND);
    until("a new token is there", || {
        value(client.get_token(NOW)) != old
    });
}

// ---------------------------------------------------------------------------------------------
// Clocks

#[test]
fn the_date_of_the_device_neither_kills_nor_prolongs_a_token() {
    const Y1970: i64 = 0;
    const Y2099: i64 = 4_070_908_800;
    let bench = Bench::start();
    let clock = ManualClock::new();
    clock.set_date(Y1970);
    let client = bench.client(&bench.config_at(&clock));
    let server_now = || {
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        now.as_secs() as i64
    };
    for (round, date) in [Y1970, Y2099, -86_400, server_now()]
        .into_iter()
        .enumerate()
    {
        clock.set_date(date);
        let token = noted(client.get_token(None)).unwrap();
        assert_eq!(bench.requests() as usize, 1 + 2 * round);
        assert_eq!(token.expires_in(), HOUR);
        // On the server's clock, which is this machine's.
        assert!((token.expires_at() - server_now() - 3600).abs() < 60);
        let is_same = |left: Duration| {
            let again = noted(client.get_token(NOW)).unwrap();
            assert_eq!(again.value(), token.value());
            assert_eq!(again.expires_at(), token.expires_at());
            assert_eq!(again.expires_in(), left);
        };
        // To and fro, while no refresh is due yet.
        let dates = [Y2099, Y1970, i64::MAX - 9, i64::MIN, server_now()];
        for (second, date) in dates.into_iter().enumerate() {
            clock.set_date(date);
            is_same(HOUR - second as u32 * SECOND);
            clock.advance(SECOND);
        }
        // With a server that fails, to its last nanosecond and no further.
        bench.sandbox.fail(Fault::Status401);
        clock.advance(HOUR - 5 * SECOND - Duration::from_nanos(1));
        clock.set_date(date);
        is_same(Duration::from_nanos(1));
        clock.set_date(Y1970);
        clock.advance(Duration::from_nanos(1));
        assert_eq!(status(client.get_token(SHORT)), Status::Rejected);
        bench.sandbox.heal();
        clock.advance(HOUR);
    }
}

#[test]
fn a_token_lives_from_when_it_was_asked_for_and_not_from_when_it_came() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    bench.set_latency(200 * MS);
    let client = Arc::new(bench.client(&bench.config_at(&clock)));
    let calling = waiters(1, {
        let client = client.clone();
        move || noted(client.get_token(None)).unwrap()
    });
    bench.until_requests(1);
    clock.advance(10 * SECOND);
    for call in calling.results() {
        assert_eq!(call.expires_in(), HOUR - 10 * SECOND);
    }
}

#[test]
fn a_token_that_expired_on_its_way_is_asked_for_again_and_never_handed_out() {
    for insists in [false, true] {
        let bench = Bench::start();
        bench.set_lifetime(SECOND);
        bench.set_latency(500 * MS);
        let clock = ManualClock::new();
        let client = Arc::new(bench.client(&bench.config_at(&clock)));
        let callers = waiters(3, {
            let client = client.clone();
            move || {
                noted(if insists {
                    client.authenticate(None)
                } else {
                    client.get_token(None)
                })
            }
        });
        bench.until_requests(1);
        // The answer took longer than the token lives, or the device slept meanwhile.
        clock.advance(SECOND);
        bench.until_logged(LogLevel::Warn, "attempt 1 failed: TIMEOUT");
        assert_eq!(status(client.get_token(SHORT)), Status::Timeout);
        bench.set_latency(Duration::ZERO);
        // The pause between two attempts, on a clock that stands afterwards.
        clock.advance(500 * MS);
        for came in callers.results() {
            assert_eq!(came.expect("the second one").expires_in(), SECOND);
        }
        assert_eq!(bench.requests(), 2);
    }
}

#[test]
fn where_every_token_expires_on_its_way_the_call_fails_and_none_is_kept() {
    let bench = Bench::start();
    bench.set_lifetime(SECOND);
    bench.set_latency(200 * MS);
    let clock = ManualClock::new();
    let mut config = bench.config_at(&clock);
    config.set_max_attempts(1).unwrap();
    let client = bench.client(&config);
    let running = clock.run(20);
    let error = failed(client.get_token(None));
    drop(running);
    assert_eq!(error.status(), Status::Timeout);
    assert!(error.is_retryable() && error.retry_after().is_some());
    let words = "had expired when it came";
    assert!(error.message().contains(words), "{error}");
    assert_ne!(status(client.get_token(NOW)), Status::Ok);
    assert_eq!(bench.log.count(LogLevel::Info, "signed in"), 0);
}

#[test]
fn the_servers_clock_may_be_wrong_by_a_day() {
    for offset in [-86_400, 86_400] {
        let bench = Bench::start();
        bench.sandbox.update(|settings| {
            settings.clock_offset = offset;
            settings.expires_in = Some(StandIn::Omit);
        });
        let clock = ManualClock::new();
        let client = bench.client(&bench.config_at(&clock));
        let token = noted(client.get_token(None)).unwrap();
        assert_eq!(token.expires_in(), HOUR);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_lifetime_clock_counts_the_time_that_the_device_sleeps() {
    const INSIDE: &str = "CLOPOS_TEST_INSIDE_TIME_NAMESPACE";
    const SLEPT: u64 = 7200;
    if std::env::var_os(INSIDE).is_some() {
        // In a time namespace, in which the device has slept for two hours.
        assert!(seconds_of(libc::CLOCK_BOOTTIME) > SLEPT);
        let boot = seconds_of(libc::CLOCK_BOOTTIME);
        let now = Clock::System.now().as_nanos() / 1_000_000_000;
        assert!(now.abs_diff(boot) <= 1, "{now} is not {boot}");
        assert!(now - seconds_of(libc::CLOCK_MONOTONIC) >= SLEPT);
        return;
    }
    let name = "the_lifetime_clock_counts_the_time_that_the_device_sleeps";
    let seconds = SLEPT.to_string();
    let namespace = ["unshare", "--user", "--map-root-user", "--time", "--fork"];
    let namespace = [&namespace[..], &["--boottime", &seconds]].concat();
    if run_under(&namespace, name, INSIDE).is_none() {
        // At least it is the right clock.
        let now = Clock::System.now().as_nanos() / 1_000_000_000;
        assert!(now.abs_diff(seconds_of(libc::CLOCK_BOOTTIME)) <= 1);
    }

    fn seconds_of(clock: libc::clockid_t) -> u64 {
        let mut time = std::mem::MaybeUninit::zeroed();
        // SAFETY: `time` is writable for the call, which initialises it.
        unsafe {
            assert_eq!(libc::clock_gettime(clock, time.as_mut_ptr()), 0);
            time.assume_init().tv_sec as u64
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Lifetimes

#[test]
fn tokens_of_a_second_and_of_thirty_days_live_exactly_that_long() {
    for lifetime in [SECOND, 30 * SECOND, HOUR, 24 * 30 * HOUR] {
        let bench = Bench::start();
        bench.set_lifetime(lifetime);
        let clock = ManualClock::new();
        let client = bench.client(&bench.config_at(&clock));
        let token = noted(client.get_token(None)).unwrap();
        assert_eq!(token.expires_in(), lifetime);
        bench.sandbox.fail(Fault::Status401);
        for percent in [1, 10, 50, 79, 85, 89, 91, 99] {
            let left = lifetime - lifetime * percent / 100;
            let now = noted(client.get_token(SHORT)).unwrap();
            clock.advance(now.expires_in() - left);
            let now = noted(client.get_token(SHORT)).unwrap();
            assert_eq!((now.value(), now.expires_in()), (token.value(), left));
        }
        clock.advance(lifetime / 100 - Duration::from_nanos(1));
        assert_eq!(value(client.get_token(SHORT)), token.value());
        clock.advance(Duration::from_nanos(1));
        assert_eq!(status(client.get_token(SHORT)), Status::Rejected);
    }
}

#[test]
fn a_client_in_use_always_has_a_living_token_and_asks_about_once_in_each_life() {
    for lifetime in [30 * SECOND, HOUR, 24 * 30 * HOUR] {
        let bench = Bench::start();
        bench.set_lifetime(lifetime);
        let clock = ManualClock::new();
        let client = bench.client(&bench.config_at(&clock));
        let mut requests = 0;
        for _ in 0..500 {
            let token = client.get_token(SHORT).unwrap();
            assert!(token.expires_in() > Duration::ZERO);
            if bench.requests() > requests {
                // A refresh is in the air: on this clock it takes no time.
                requests = bench.requests();
                let issued = || bench.sandbox.issued_tokens().pop();
                until("the refresh has landed", || {
                    issued().as_deref() == Some(client.get_token(NOW).unwrap().value())
                });
            }
            clock.advance(lifetime / 50);
        }
        // Ten lives; the first refresh after a start comes anywhere in the first life.
        assert!((10..=14).contains(&requests), "{requests} requests");
    }
}

#[test]
fn a_server_that_has_no_newer_token_is_not_asked_again_before_the_end() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
    let first = value(client.get_token(None));
    bench.sandbox.fail(Fault::SameToken);
    clock.advance(HOUR - 300 * SECOND);
    assert_eq!(value(client.get_token(None)), first);
    until("the refresh has landed", || {
        bench.log.count(LogLevel::Info, "signed in") == 2
    });
    // Whatever the server says of the time that is left, the token does not get younger.
    for minute in 0..5 {
        let token = noted(client.get_token(NOW)).unwrap();
        assert_eq!(token.value(), first);
        assert_eq!(token.expires_in(), (300 - 60 * minute) * SECOND);
        clock.advance(60 * SECOND);
    }
    assert_eq!(bench.requests(), 2);
    assert_eq!(status(client.get_token(None)), Status::Ok);
    assert_eq!(bench.requests(), 3);
}

#[test]
fn either_expiry_field_will_do_and_without_both_there_is_no_token() {
    let clock = ManualClock::new();
    let bench = Bench::start();
    let ask = |expires_in: Option<StandIn>, expires_at: Option<StandIn>| {
        bench.sandbox.update(|settings| {
            settings.expires_in = expires_in;
            settings.expires_at = expires_at;
        });
        noted(bench.client(&bench.config_at(&clock)).get_token(None))
    };
    let number = |n: i64| Some(StandIn::Value(n.into()));
    let server_now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;

    let token = ask(Some(StandIn::Omit), None).unwrap();
    assert_eq!(token.expires_in(), HOUR);
    let token = ask(None, Some(StandIn::Omit)).unwrap();
    assert_eq!(token.expires_in(), HOUR);
    assert!((token.expires_at() - server_now - 3600).abs() < 60);
    // What is left counts, not a date that lies in the past.
    let token = ask(None, number(1_000_000_000)).unwrap();
    assert_eq!(token.expires_in(), HOUR);
    assert_eq!(token.expires_at(), 1_000_000_000);
    // Only a date, and it has passed.
    let error = ask(Some(StandIn::Omit), number(1_000_000_000)).unwrap_err();
    assert_eq!(error.status(), Status::Protocol);
    assert!(error.message().contains("already expired"), "{error}");
    let error = ask(Some(StandIn::Omit), Some(StandIn::Omit)).unwrap_err();
    assert_eq!(error.status(), Status::Protocol);
    assert!(error.message().contains("expires_in"), "{error}");
    // Absurdly long ones do not overflow anything.
    let token = ask(number(i64::MAX), number(i64::MAX)).unwrap();
    assert!(token.expires_in() > 365 * 24 * HOUR);
}

// ---------------------------------------------------------------------------------------------
// Invalidate

#[test]
fn fifty_threads_that_present_the_same_rejected_token_cause_one_exchange() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = Arc::new(bench.client(&bench.config_at(&clock)));
    let mut rejected = value(client.get_token(None));
    for round in 2..=11 {
        bench.set_latency(if round % 2 == 0 {
            10 * MS
        } else {
            Duration::ZERO
        });
        clock.advance(MINUTE);
        let (callers, old) = (client.clone(), rejected.clone());
        let tokens: BTreeSet<_> = together(50, move |_| {
            callers.invalidate(Some(&old));
            value(callers.get_token(None))
        })
        .into_iter()
        .collect();
        assert_eq!(tokens.len(), 1);
        assert_eq!(bench.requests(), round);
        let new = tokens.into_iter().next().unwrap();
        assert_ne!(new, rejected);

        // Whoever comes late with the old one changes nothing.
        client.invalidate(Some(&rejected));
        client.invalidate(Some("never issued"));
        assert_eq!(value(client.get_token(NOW)), new);
        assert_eq!(bench.requests(), round);
        rejected = new;
    }
    clock.advance(MINUTE);
    client.invalidate(None);
    assert_ne!(value(client.get_token(None)), rejected);
    assert_eq!(bench.requests(), 12);
}

#[test]
fn where_the_service_refuses_what_it_issues_each_sign_in_waits_longer_and_calls_say_so_at_once() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
    let refuse = |by_value: bool| {
        let token = value(client.get_token(None));
        let requests = bench.requests();
        client.invalidate(by_value.then_some(&token));
        let waits = [None, NOW, SHORT].map(|patience| {
            let error = failed(client.get_token(patience));
            assert_eq!(error.status(), Status::Rejected);
            assert!(error.message().contains("refused a token"), "{error}");
            assert_eq!(error.http_status(), None);
            assert!(error.is_retryable(), "it ends by itself");
            error.retry_after().unwrap()
        });
        assert_eq!(waits, [waits[0]; 3]);
        assert_eq!(status(client.authenticate(None)), Status::Rejected);
        clock.advance(waits[0] - MS);
        assert_eq!(status(client.get_token(NOW)), Status::Rejected);
        assert_eq!(bench.requests(), requests, "another sign-in");
        clock.advance(MS);
        waits[0].as_secs()
    };
    assert!((5..=6).contains(&refuse(true)));
    // No third sign-in within a minute.
    assert_eq!(status(client.get_token(None)), Status::Ok);
    let error = failed(client.authenticate(None));
    assert_eq!(error.status(), Status::Rejected);
    assert!(error.message().contains("refused a token"), "{error}");
    assert!(error.is_retryable());
    assert!((53..=55).contains(&refuse(true)));
    assert!((20..=25).contains(&refuse(false)));
    assert!(bench.log.has(LogLevel::Error, "refused a token"));
    // A token that lives for a minute ends it: the next one is asked for at once.
    let lived = value(client.get_token(None));
    clock.advance(MINUTE);
    client.invalidate(Some(&lived));
    assert_ne!(value(client.get_token(None)), lived);
    assert!((5..=6).contains(&refuse(true)));
}

#[test]
fn callers_that_report_a_fresh_token_together_cause_no_request() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = Arc::new(bench.client(&bench.config_at(&clock)));
    for round in 1..=10 {
        let (callers, token) = (client.clone(), value(client.get_token(None)));
        let statuses = together(50, move |_| {
            callers.invalidate(Some(&token));
            status(callers.get_token(None))
        });
        assert!(statuses.iter().all(|&s| s == Status::Rejected));
        assert_eq!(bench.requests(), round);
        clock.advance(HOUR);
    }
}

// ---------------------------------------------------------------------------------------------
// Cancel and close

#[test]
fn a_cancel_wakes_every_waiter_and_leaves_the_client_usable() {
    let bench = Bench::start();
    let client = Arc::new(bench.client(&bench.config()));
    bench.set_latency(500 * MS);
    let callers = waiters(20, {
        let client = client.clone();
        move || status(client.get_token(None))
    });
    bench.until_requests(1);
    callers.until_asleep();
    for status in ends_promptly(|| client.cancel(), callers) {
        assert_eq!(status, Status::Cancelled);
    }
    // The request went on, for those who come later.
    assert_eq!(status(client.get_token(None)), Status::Ok);
    assert_eq!(bench.requests(), 1);
    client.cancel();
    assert_eq!(status(client.authenticate(None)), Status::Ok);
}

#[test]
fn a_cancel_wakes_those_who_wait_for_the_next_attempt() {
    let bench = Bench::start();
    let client = Arc::new(bench.client(&bench.config()));
    bench.sandbox.fail_times(Fault::Status429, 1);
    let callers = waiters(5, {
        let client = client.clone();
        move || status(client.get_token(Some(3600 * SECOND)))
    });
    bench.until_logged(LogLevel::Warn, "attempt 1 failed");
    callers.until_asleep();
    for status in ends_promptly(|| client.cancel(), callers) {
        assert_eq!(status, Status::Cancelled);
    }
    // The next attempt stays planned, for those who come later.
    let error = client.get_token(NOW).unwrap_err();
    assert_eq!(error.status(), Status::RateLimited);
    assert!(error.retry_after().unwrap() > SECOND, "{error}");
    assert_eq!(bench.requests(), 1);
}

#[test]
fn a_close_wakes_every_waiter_and_ends_the_client_for_good() {
    let bench = Bench::start();
    let client = Arc::new(bench.client(&bench.config()));
    bench.sandbox.fail(Fault::RequestHang);
    let callers = waiters(20, {
        let client = client.clone();
        move || status(client.get_token(None))
    });
    bench.until_requests(1);
    callers.until_asleep();
    for status in ends_promptly(|| client.close(), callers) {
        assert_eq!(status, Status::Cancelled);
    }
    bench.sandbox.heal();
    let lines = bench.log.lines().len();
    for patience in [None, NOW, SHORT] {
        assert_eq!(status(client.get_token(patience)), Status::Cancelled);
        assert_eq!(status(client.authenticate(patience)), Status::Cancelled);
    }
    client.invalidate(None);
    client.cancel();
    client.close();
    assert_eq!(bench.requests(), 1);
    assert_eq!(bench.log.lines().len(), lines, "the log is silent");
}

#[test]
fn a_closed_client_breaks_off_its_request_and_its_log_is_silent() {
    let bench = Bench::start();
    bench.sandbox.fail(Fault::RequestHang);
    let witness = Arc::new(());
    let mut config = bench.config();
    let held = witness.clone();
    config.set_log(LogLevel::Debug, move |_, line| {
        let _ = &held;
        transcribe(line);
    });
    let client = bench.client(&config);
    drop(config);
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    bench.until_requests(1);
    drop(client);
    // The flight's thread held the settings. It ends long before its ten seconds are over.
    let (_, took) = timed(|| until("it has ended", || Arc::strong_count(&witness) == 1));
    assert!(took < 3 * SECOND, "{took:?}");
}

#[test]
fn a_close_among_busy_callers_ends_every_call_with_a_token_or_cancelled() {
    let bench = Bench::start();
    for _ in 0..20 {
        let client = Arc::new(bench.client(&bench.config()));
        let statuses = together(8, move |number| {
            if number == 0 {
                thread::yield_now();
                client.close();
                return Status::Ok;
            }
            status(client.get_token(None))
        });
        let is_fine = |s: &Status| matches!(s, Status::Ok | Status::Cancelled);
        assert!(statuses.iter().all(is_fine), "{statuses:?}");
    }
}

#[test]
fn a_log_function_that_panics_costs_one_call_and_not_the_client() {
    let bench = Bench::start();
    let panics = Arc::new(AtomicBool::new(true));
    let mut config = bench.config();
    let switch = panics.clone();
    config.set_log(LogLevel::Debug, move |_, _| {
        assert!(!switch.swap(false, Ordering::SeqCst), "on purpose");
    });
    let client = bench.client(&config);
    assert_eq!(status(client.get_token(None)), Status::Internal);
    assert_eq!(status(client.get_token(None)), Status::Ok);
    assert_eq!(bench.requests(), 1);
}

#[test]
fn the_log_function_may_use_its_own_client() {
    let bench = Bench::start();
    let client: Arc<std::sync::OnceLock<Client>> = Arc::default();
    let seen = Arc::new(AtomicBool::new(false));
    let mut config = bench.config();
    let (logging, noting) = (client.clone(), seen.clone());
    config.set_log(LogLevel::Info, move |_, line| {
        transcribe(line);
        if let Some(client) = logging.get() {
            // The flight has landed when it is logged: its token is there.
            assert_eq!(status(client.get_token(NOW)), Status::Ok);
            client.cancel();
            client.close();
            noting.store(true, Ordering::SeqCst);
        }
    });
    let client = client.get_or_init(|| bench.client(&config));
    // The function may close the client before this call has seen what its request brought.
    let came = status(client.get_token(None));
    assert!(matches!(came, Status::Ok | Status::Cancelled), "{came:?}");
    until("the log function has run", || seen.load(Ordering::SeqCst));
    assert_eq!(status(client.get_token(None)), Status::Cancelled);
}

/// A call that a close has woken may hold the last reference, and what closed waits for that call.
#[test]
fn dropping_a_client_that_its_own_log_function_has_closed_waits_for_nothing() {
    let bench = Bench::start();
    let mut config = bench.config();
    let logging: Arc<OnceLock<Weak<Client>>> = Arc::default();
    let (found, (closed, close), (release, gate)) =
        (logging.clone(), mpsc::channel(), mpsc::channel::<()>());
    let gate = Mutex::new(gate);
    config.set_log(LogLevel::Debug, move |_, _| {
        let client = found.get().and_then(Weak::upgrade).expect("it is there");
        client.close();
        drop(client);
        closed.send(()).unwrap();
        let _ = gate.lock().unwrap().recv();
    });
    let client = Arc::new(bench.client(&config));
    logging.set(Arc::downgrade(&client)).unwrap();
    // The function may have closed the client before this call looks again.
    let came = status(client.get_token(NOW));
    assert!(
        matches!(came, Status::WouldWait | Status::Cancelled),
        "{came:?}"
    );
    close.recv().unwrap();
    let dropping = thread::spawn(move || drop(client));
    until("it is dropped", || dropping.is_finished());
    drop(release);
}

// ---------------------------------------------------------------------------------------------
// Retries and pace

#[test]
fn a_server_that_fails_twice_costs_two_pauses_and_no_error() {
    let bench = Bench::start();
    bench.sandbox.fail_times(Fault::RequestClose, 1);
    bench.sandbox.fail_times(Fault::Status503, 1);
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
    let start = clock.now();
    let running = clock.run(20);
    assert_eq!(status(client.get_token(None)), Status::Ok);
    drop(running);
    assert_eq!(bench.requests(), 3);
    let took = clock.now().since(start);
    // Half to all of 0.5 s and 2 s.
    assert!(took >= SECOND, "{took:?}");
    assert!(bench.log.has(LogLevel::Warn, "attempt 1 failed: CONNECT"));
    assert!(bench.log.has(LogLevel::Warn, "attempt 2 failed: SERVER"));
}

#[test]
fn three_attempts_are_all_that_one_call_causes() {
    let bench = Bench::start();
    bench.sandbox.fail(Fault::Status503);
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
    let running = clock.run(20);
    let error = failed(client.get_token(None));
    drop(running);
    assert_eq!(error.status(), Status::Server);
    assert_eq!(error.http_status(), Some(503));
    assert!(error.is_retryable());
    // The third pause: half to all of 8 s.
    let wait = error.retry_after().unwrap();
    assert!((4 * SECOND..=8 * SECOND).contains(&wait), "{wait:?}");
    assert_eq!(bench.requests(), 3);
}

#[test]
fn who_cannot_wait_for_the_next_attempt_gets_the_last_error_at_once() {
    let bench = Bench::start();
    bench.sandbox.fail(Fault::Status503);
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
    for patience in [SHORT, NOW, Some(100 * MS)] {
        // The clock stands: the flight waits for its second attempt for ever.
        let error = failed(client.get_token(patience));
        assert_eq!(error.status(), Status::Server);
        let wait = error.retry_after().unwrap();
        assert!((250 * MS..=500 * MS).contains(&wait), "{wait:?}");
        if patience == SHORT {
            continue;
        }
        let error = failed(client.authenticate(patience));
        assert_eq!(error.status(), Status::Server);
    }
    assert_eq!(bench.requests(), 1);
    // And the pause is kept to the millisecond.
    clock.advance(249 * MS);
    assert_eq!(status(client.get_token(NOW)), Status::Server);
    assert_eq!(bench.requests(), 1);
    clock.advance(251 * MS);
    bench.until_requests(2);
}

#[test]
fn a_rate_limit_is_kept_however_the_server_says_it() {
    let http_date = |offset: i64| {
        let now = SystemTime::now();
        let time = if offset < 0 {
            now - Duration::from_secs(offset.unsigned_abs())
        } else {
            now + Duration::from_secs(offset.unsigned_abs())
        };
        httpdate::fmt_http_date(time)
    };
    let text = |text: &str| Some(text.to_owned());
    // Retry-After, RateLimit-Reset, the seconds that count. Up to a quarter is added to them.
    let table = [
        (text("7"), None, 7),
        (None, text("40"), 40),
        (text("7"), text("40"), 40),
        (text("40"), text("7"), 40),
        (text(&http_date(30)), None, 30),
        (text(&http_date(30)), text("5"), 30),
        // Both absent: the library's own pause.
        (None, None, 10),
        // Absurd: one second at least, ten minutes at most, and what is no number is not there.
        (text("0"), None, 1),
        (text(&http_date(-86_400)), None, 1),
        (text("86400"), None, 600),
        (text("99999999999999999999999999"), None, 600),
        (text("Fri, 31 Dec 9999 23:59:59 GMT"), None, 600),
        (None, text("99999999999999999999999999"), 600),
        (text("-5"), None, 10),
        (text("1e9"), None, 10),
        (text("soon"), text("soon"), 10),
        (text(""), text(""), 10),
    ];
    for (retry_after, reset, seconds) in table {
        let case = format!("{retry_after:?} {reset:?}");
        let bench = Bench::start();
        bench.sandbox.update(|settings| {
            settings.retry_after = retry_after;
            settings.rate_limit_reset = reset;
        });
        bench.sandbox.fail_times(Fault::Status429, 1);
        let clock = ManualClock::new();
        let client = bench.client(&bench.config_at(&clock));
        let error = failed(client.get_token(SHORT));
        assert_eq!(error.status(), Status::RateLimited, "{case}");
        assert_eq!(error.http_status(), Some(429), "{case}");
        let wait = error.retry_after().unwrap();
        // A date has whole seconds, so one may have begun.
        let least = Duration::from_secs(seconds)
            .saturating_sub(SECOND)
            .max(SECOND);
        let most = Duration::from_secs(seconds) * 5 / 4;
        assert!((least..=most).contains(&wait), "{case}: {wait:?}");

        clock.advance(wait - MS);
        assert_eq!(status(client.get_token(NOW)), Status::RateLimited, "{case}");
        assert_eq!(bench.requests(), 1, "{case}");
        clock.advance(2 * MS);
        assert_eq!(status(client.get_token(SHORT)), Status::Ok, "{case}");
        assert_eq!(bench.requests(), 2, "{case}");
    }
}

#[test]
fn who_can_wait_out_a_rate_limit_does() {
    let bench = Bench::start();
    bench
        .sandbox
        .update(|settings| settings.retry_after = Some("3".into()));
    bench.sandbox.fail_times(Fault::Status429, 1);
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
    let running = clock.run(20);
    assert_eq!(status(client.get_token(None)), Status::Ok);
    drop(running);
    assert_eq!(bench.requests(), 2);
}

#[test]
fn a_hostile_caller_with_wrong_credentials_sends_eight_requests_a_minute_at_most() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = bench.client_for(wrong_credentials(), &bench.config_at(&clock));
    let sent = attack(&bench, &clock, client, Reports::EveryToken);
    assert!((2..=8).contains(&sent[0]), "{sent:?} requests a minute");
    assert!(sent[1] <= 8 && sent[2] <= 8, "{sent:?} requests a minute");
}

#[test]
fn a_hostile_caller_of_a_failing_server_sends_twelve_requests_a_minute_at_most() {
    for fault in [Fault::Status503, Fault::RequestClose, Fault::BodyGarbage] {
        let bench = Bench::start();
        bench.sandbox.fail(fault);
        let clock = ManualClock::new();
        let client = bench.client(&bench.config_at(&clock));
        let sent = attack(&bench, &clock, client, Reports::EveryToken);
        assert!((3..=12).contains(&sent[0]), "{sent:?} requests a minute");
        assert!(sent[1] <= 12 && sent[2] <= 12, "{sent:?} requests a minute");
    }
}

#[test]
fn requests_that_a_server_drops_on_a_kept_connection_count_like_all_others() {
    let bench = Bench::start();
    let body = r#"{"success":true,"token":"a.b.c","expires_in":3600}"#;
    for _ in 0..200 {
        let good = Fault::Response {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
        };
        bench.sandbox.fail_times(good, 1);
        bench.sandbox.fail_times(Fault::RequestClose, 1);
    }
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
    let sent = attack(&bench, &clock, client, Reports::Nothing);
    assert_eq!(sent, [12, 12, 12]);
}

#[test]
fn a_hostile_caller_of_a_healthy_server_sends_twelve_requests_a_minute_at_most() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
    let sent = attack(&bench, &clock, client, Reports::Nothing);
    assert_eq!(sent, [12, 12, 12]);
}

#[test]
fn a_hostile_caller_that_calls_every_token_refused_sends_two_requests_a_minute_at_most() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
    let sent = attack(&bench, &clock, client, Reports::EveryToken);
    assert!(sent.iter().all(|&sent| (1..=2).contains(&sent)), "{sent:?}");
}

#[test]
fn a_client_over_its_own_limit_says_so() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let mut config = bench.config_at(&clock);
    config.set_requests_per_minute(2).unwrap();
    let client = bench.client(&config);
    for _ in 0..2 {
        assert_eq!(status(client.authenticate(None)), Status::Ok);
    }
    let error = failed(client.authenticate(NOW));
    assert_eq!(error.status(), Status::RateLimited);
    assert_eq!(error.http_status(), None);
    assert_eq!(error.retry_after(), Some(60 * SECOND));
    // It has a token all the same.
    assert_eq!(status(client.get_token(NOW)), Status::Ok);
    clock.advance(60 * SECOND);
    assert_eq!(status(client.authenticate(None)), Status::Ok);
}

#[test]
fn a_refresh_ahead_that_the_limit_forbids_waits_for_it_and_nobody_else_does() {
    let bench = Bench::start();
    bench.set_lifetime(50 * SECOND);
    let clock = ManualClock::new();
    let mut config = bench.config_at(&clock);
    config.set_requests_per_minute(1).unwrap();
    let client = bench.client(&config);
    let old = value(client.get_token(None));
    // Time to refresh, fresh still; then the last tenth of its life.
    for seconds in [41, 2, 5] {
        clock.advance(seconds * SECOND);
        assert_eq!(value(client.get_token(None)), old);
        assert_eq!(bench.requests(), 1);
    }
    clock.advance(2 * SECOND);
    let error = failed(client.get_token(NOW));
    assert_eq!(error.status(), Status::RateLimited);
    assert_eq!(error.retry_after(), Some(10 * SECOND));
    clock.advance(10 * SECOND);
    assert_ne!(value(client.get_token(None)), old);
    assert_eq!(bench.requests(), 2);
}

/// What hostile callers say was refused.
#[derive(Clone, Copy, PartialEq)]
enum Reports {
    Nothing,
    EveryToken,
}

/// Three minutes of callers who do everything they can, all the time: the requests of each.
fn attack(bench: &Bench, clock: &Arc<ManualClock>, client: Client, reports: Reports) -> Vec<u64> {
    const STEP: Duration = Duration::from_millis(100);
    let client = Arc::new(client);
    let over = Arc::new(AtomicBool::new(false));
    let attackers: Vec<_> = (0..3)
        .map(|number| {
            let (client, over) = (client.clone(), over.clone());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let _ = match number {
                        0 => client.get_token(NOW),
                        1 => client.authenticate(NOW),
                        _ => client.get_token(SHORT),
                    };
                    if reports == Reports::EveryToken {
                        client.invalidate(None);
                    }
                    client.cancel();
                    // The processor is needed for the answers, too.
                    thread::sleep(MS / 4);
                }
            })
        })
        .collect();
    let mut sent = Vec::new();
    let mut before = 0;
    for _ in 0..3 {
        for _ in 0..599 {
            clock.advance(STEP);
            // A step takes a moment, so that flights see the time pass as callers do.
            thread::sleep(MS);
        }
        // The last step of the minute is over when what was sent in it has arrived.
        thread::sleep(50 * MS);
        sent.push(bench.requests() - before);
        before = bench.requests();
        clock.advance(STEP);
    }
    over.store(true, Ordering::Relaxed);
    for attacker in attackers {
        attacker.join().unwrap();
    }
    sent
}

#[test]
fn a_credential_with_a_blank_or_a_quote_around_it_is_named_once_in_the_log() {
    for (id, secret, brand, integrator, named) in [
        ("id", "a secret", "it's", "7", &[][..]),
        ("id", "secret ", "brand", "7", &["client_secret"]),
        (
            "\u{feff}id",
            "secret",
            "brand",
            "7\u{a0}",
            &["client_id", "integrator_id"],
        ),
        (
            "id",
            "\"secret\"",
            "\u{201c}brand",
            "7'",
            &["client_secret", "brand", "integrator_id"],
        ),
    ] {
        let bench = Bench::start();
        let credentials = Credentials::new(id, secret, brand, integrator).unwrap();
        let client = bench.client_for(credentials, &bench.config());
        assert_eq!(status(client.authenticate(None)), Status::Rejected);
        assert_eq!(status(client.authenticate(None)), Status::Rejected);
        let mut lines = bench.log.lines();
        lines.retain(|(_, line)| line.contains("quote"));
        // The whole line: it shows nothing of the value.
        let expected: Vec<_> = named
            .iter()
            .map(|name| {
                let line =
                    format!("{name} begins or ends with a blank or a quote: was too much copied?");
                (LogLevel::Warn, line)
            })
            .collect();
        assert_eq!(lines, expected);
    }
}
