//! How long a token is valid, whatever the clocks of the device and the server do.

use super::*;

#[test]
fn the_devices_date_neither_shortens_nor_extends_a_tokens_life() {
    const Y1970: i64 = 0;
    const Y2099: i64 = 4_070_908_800;
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    clock.set_date(Y1970);
    let client = fixture.client(&fixture.config_at(&clock));
    let server_now = || {
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        now.as_secs() as i64
    };
    for (round, date) in [Y1970, Y2099, -86_400, server_now()]
        .into_iter()
        .enumerate()
    {
        clock.set_date(date);
        let token = recorded(client.get_token(None)).unwrap();
        assert_eq!(fixture.requests() as usize, 1 + 2 * round);
        assert_eq!(token.expires_in(), HOUR);
        // By the server's clock, which is this machine's.
        assert!((token.expires_at() - server_now() - 3600).abs() < 60);
        let is_same = |left: Duration| {
            let again = recorded(client.get_token(NOW)).unwrap();
            assert_eq!(again.value(), token.value());
            assert_eq!(again.expires_at(), token.expires_at());
            assert_eq!(again.expires_in(), left);
        };
        // The date changes several times while no refresh is due.
        let dates = [Y2099, Y1970, i64::MAX - 9, i64::MIN, server_now()];
        for (second, date) in dates.into_iter().enumerate() {
            clock.set_date(date);
            is_same(HOUR - second as u32 * SECOND);
            clock.advance(SECOND);
        }
        // The server fails: the token is returned up to its last nanosecond.
        fixture.sandbox.fail(Fault::Status401);
        clock.advance(HOUR - 5 * SECOND - Duration::from_nanos(1));
        clock.set_date(date);
        is_same(Duration::from_nanos(1));
        clock.set_date(Y1970);
        clock.advance(Duration::from_nanos(1));
        assert_eq!(status(client.get_token(SHORT)), Status::Rejected);
        fixture.sandbox.heal();
        clock.advance(HOUR);
    }
}

#[test]
fn the_lifetime_of_a_token_starts_when_the_request_is_sent() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    fixture.set_latency(200 * MS);
    let client = Arc::new(fixture.client(&fixture.config_at(&clock)));
    let calling = waiters(1, {
        let client = client.clone();
        move || recorded(client.get_token(None)).unwrap()
    });
    fixture.until_requests(1);
    clock.advance(10 * SECOND);
    for call in calling.results() {
        assert_eq!(call.expires_in(), HOUR - 10 * SECOND);
    }
}

#[test]
fn a_token_that_arrives_expired_is_requested_again_and_never_returned() {
    for authenticates in [false, true] {
        let fixture = Fixture::start();
        fixture.set_lifetime(SECOND);
        fixture.set_latency(500 * MS);
        let clock = ManualClock::new();
        let client = Arc::new(fixture.client(&fixture.config_at(&clock)));
        let callers = waiters(3, {
            let client = client.clone();
            move || {
                recorded(if authenticates {
                    client.authenticate(None)
                } else {
                    client.get_token(None)
                })
            }
        });
        fixture.until_requests(1);
        // The response takes longer than the token is valid, or the device sleeps meanwhile.
        clock.advance(SECOND);
        fixture.until_logged(LogLevel::Warn, "attempt 1 failed: TIMEOUT");
        assert_eq!(status(client.get_token(SHORT)), Status::Timeout);
        fixture.set_latency(Duration::ZERO);
        // The pause between two attempts. Afterwards the clock stands still.
        clock.advance(500 * MS);
        for result in callers.results() {
            assert_eq!(result.expect("the second token").expires_in(), SECOND);
        }
        assert_eq!(fixture.requests(), 2);
    }
}

#[test]
fn if_every_token_arrives_expired_the_call_fails_and_none_is_kept() {
    let fixture = Fixture::start();
    fixture.set_lifetime(SECOND);
    fixture.set_latency(200 * MS);
    let clock = ManualClock::new();
    let client = fixture.client_with_one_attempt(&clock);
    let running = clock.run(20);
    let error = failed(client.get_token(None));
    drop(running);
    assert_eq!(error.status(), Status::Timeout);
    assert!(error.is_retryable() && error.retry_after().is_some());
    assert!(
        error.message().contains("had expired when it came"),
        "{error}"
    );
    assert_ne!(status(client.get_token(NOW)), Status::Ok);
    assert_eq!(fixture.log.count(LogLevel::Info, "signed in"), 0);
}

#[test]
fn the_servers_clock_may_be_wrong_by_a_day() {
    for offset in [-86_400, 86_400] {
        let fixture = Fixture::start();
        fixture.sandbox.update(|settings| {
            settings.clock_offset = offset;
            settings.expires_in = Some(StandIn::Omit);
        });
        let clock = ManualClock::new();
        let client = fixture.client(&fixture.config_at(&clock));
        let token = recorded(client.get_token(None)).unwrap();
        assert_eq!(token.expires_in(), HOUR);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_lifetime_clock_includes_sleep() {
    const INSIDE: &str = "CLOPOS_TEST_INSIDE_TIME_NAMESPACE";
    const SLEPT: u64 = 7200;
    if std::env::var_os(INSIDE).is_some() {
        // In a time namespace whose clock says that the device has slept for two hours.
        assert!(seconds_of(libc::CLOCK_BOOTTIME) > SLEPT);
        let boot = seconds_of(libc::CLOCK_BOOTTIME);
        let now = Clock::System.now().as_nanos() / 1_000_000_000;
        assert!(now.abs_diff(boot) <= 1, "{now} is not {boot}");
        assert!(now - seconds_of(libc::CLOCK_MONOTONIC) >= SLEPT);
        return;
    }
    let seconds = SLEPT.to_string();
    let namespace = ["unshare", "--user", "--map-root-user", "--time", "--fork"];
    let namespace = [&namespace[..], &["--boottime", &seconds]].concat();
    if run_under(&namespace, the_lifetime_clock_includes_sleep, INSIDE).is_none() {
        // Without a namespace: compares with the clock that includes sleep.
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

#[test]
fn tokens_of_a_second_to_thirty_days_are_valid_for_exactly_that_time() {
    for lifetime in [SECOND, 30 * SECOND, HOUR, 24 * 30 * HOUR] {
        let fixture = Fixture::start();
        fixture.set_lifetime(lifetime);
        let clock = ManualClock::new();
        let client = fixture.client(&fixture.config_at(&clock));
        let token = recorded(client.get_token(None)).unwrap();
        assert_eq!(token.expires_in(), lifetime);
        fixture.sandbox.fail(Fault::Status401);
        for percent in [1, 10, 50, 79, 85, 89, 91, 99] {
            let left = lifetime - lifetime * percent / 100;
            let now = recorded(client.get_token(SHORT)).unwrap();
            clock.advance(now.expires_in() - left);
            let now = recorded(client.get_token(SHORT)).unwrap();
            assert_eq!((now.value(), now.expires_in()), (token.value(), left));
        }
        clock.advance(lifetime / 100 - Duration::from_nanos(1));
        assert_eq!(value(client.get_token(SHORT)), token.value());
        clock.advance(Duration::from_nanos(1));
        assert_eq!(status(client.get_token(SHORT)), Status::Rejected);
    }
}

#[test]
fn a_client_in_use_always_returns_a_valid_token_and_sends_about_one_request_per_lifetime() {
    for lifetime in [30 * SECOND, HOUR, 24 * 30 * HOUR] {
        let fixture = Fixture::start();
        fixture.set_lifetime(lifetime);
        let clock = ManualClock::new();
        let client = fixture.client(&fixture.config_at(&clock));
        let mut requests = 0;
        for _ in 0..500 {
            let token = client.get_token(SHORT).unwrap();
            assert!(token.expires_in() > Duration::ZERO);
            if fixture.requests() > requests {
                // A refresh is in progress. It takes no time on this clock.
                requests = fixture.requests();
                let issued = || fixture.sandbox.issued_tokens().pop();
                until("the refresh is completed", || {
                    issued().as_deref() == Some(client.get_token(NOW).unwrap().value())
                });
            }
            clock.advance(lifetime / 50);
        }
        // Ten lifetimes. The first refresh after a start comes at a random time in the first one.
        assert!((10..=14).contains(&requests), "{requests} requests");
    }
}

#[test]
fn a_refresh_that_brings_the_same_token_is_not_repeated_before_it_expires() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    let first = value(client.get_token(None));
    fixture.sandbox.fail(Fault::SameToken);
    clock.advance(HOUR - 300 * SECOND);
    assert_eq!(value(client.get_token(None)), first);
    until("the refresh is completed", || {
        fixture.log.count(LogLevel::Info, "signed in") == 2
    });
    // The remaining time is not extended, whatever the server says.
    for minute in 0..5 {
        let token = recorded(client.get_token(NOW)).unwrap();
        assert_eq!(token.value(), first);
        assert_eq!(token.expires_in(), (300 - 60 * minute) * SECOND);
        clock.advance(60 * SECOND);
    }
    assert_eq!(fixture.requests(), 2);
    assert_eq!(status(client.get_token(None)), Status::Ok);
    assert_eq!(fixture.requests(), 3);
}

#[test]
fn one_of_the_two_expiry_fields_is_enough_and_without_both_there_is_no_token() {
    let clock = ManualClock::new();
    let fixture = Fixture::start();
    let sign_in = |expires_in: Option<StandIn>, expires_at: Option<StandIn>| {
        fixture.sandbox.update(|settings| {
            settings.expires_in = expires_in;
            settings.expires_at = expires_at;
        });
        recorded(fixture.client(&fixture.config_at(&clock)).get_token(None))
    };
    let number = |n: i64| Some(StandIn::Value(n.into()));
    let server_now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;

    let token = sign_in(Some(StandIn::Omit), None).unwrap();
    assert_eq!(token.expires_in(), HOUR);
    let token = sign_in(None, Some(StandIn::Omit)).unwrap();
    assert_eq!(token.expires_in(), HOUR);
    assert!((token.expires_at() - server_now - 3600).abs() < 60);
    // `expires_in` counts, not an `expires_at` in the past.
    let token = sign_in(None, number(1_000_000_000)).unwrap();
    assert_eq!(token.expires_in(), HOUR);
    assert_eq!(token.expires_at(), 1_000_000_000);
    // Only an `expires_at`, and it is in the past.
    let error = sign_in(Some(StandIn::Omit), number(1_000_000_000)).unwrap_err();
    assert_eq!(error.status(), Status::Protocol);
    assert!(error.message().contains("already expired"), "{error}");
    let error = sign_in(Some(StandIn::Omit), Some(StandIn::Omit)).unwrap_err();
    assert_eq!(error.status(), Status::Protocol);
    assert!(error.message().contains("expires_in"), "{error}");
    // Very long lifetimes cause no overflow.
    let token = sign_in(number(i64::MAX), number(i64::MAX)).unwrap();
    assert!(token.expires_in() > 365 * 24 * HOUR);
}
