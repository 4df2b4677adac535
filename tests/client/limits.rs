//! Retries, the pauses between requests, and the limit of requests per minute.

use super::*;

#[test]
fn two_failed_attempts_add_two_pauses_and_no_error() {
    let fixture = Fixture::start();
    fixture.sandbox.fail_times(Fault::RequestClose, 1);
    fixture.sandbox.fail_times(Fault::Status503, 1);
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    let start = clock.now();
    let running = clock.run(20);
    assert_eq!(status(client.get_token(None)), Status::Ok);
    drop(running);
    assert_eq!(fixture.requests(), 3);
    let took = clock.now().since(start);
    // Half to all of 0.5 s and 2 s.
    assert!(took >= SECOND, "{took:?}");
    assert!(fixture.log.has(LogLevel::Warn, "attempt 1 failed: CONNECT"));
    assert!(fixture.log.has(LogLevel::Warn, "attempt 2 failed: SERVER"));
}

#[test]
fn one_call_causes_three_attempts_at_most() {
    let fixture = Fixture::start();
    fixture.sandbox.fail(Fault::Status503);
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    let running = clock.run(20);
    let error = failed(client.get_token(None));
    drop(running);
    assert_eq!(error.status(), Status::Server);
    assert_eq!(error.http_status(), Some(503));
    assert!(error.is_retryable());
    // The third pause: half to all of 8 s.
    let wait = error.retry_after().unwrap();
    assert!((4 * SECOND..=8 * SECOND).contains(&wait), "{wait:?}");
    assert_eq!(fixture.requests(), 3);
}

#[test]
fn a_call_that_cannot_wait_for_the_next_attempt_returns_the_last_error_immediately() {
    let fixture = Fixture::start();
    fixture.sandbox.fail(Fault::Status503);
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    for timeout in [SHORT, NOW, Some(100 * MS)] {
        // The clock stands still, so the second attempt never begins.
        let error = failed(client.get_token(timeout));
        assert_eq!(error.status(), Status::Server);
        let wait = error.retry_after().unwrap();
        assert!((250 * MS..=500 * MS).contains(&wait), "{wait:?}");
        if timeout == SHORT {
            continue;
        }
        let error = failed(client.authenticate(timeout));
        assert_eq!(error.status(), Status::Server);
    }
    assert_eq!(fixture.requests(), 1);
    // The pause is kept to the millisecond.
    clock.advance(249 * MS);
    assert_eq!(status(client.get_token(NOW)), Status::Server);
    assert_eq!(fixture.requests(), 1);
    clock.advance(251 * MS);
    fixture.until_requests(2);
}

#[test]
fn a_rate_limit_is_respected_in_every_form_of_its_headers() {
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
    // Retry-After, RateLimit-Reset, and the seconds to wait, to which up to a quarter is added.
    let table = [
        (text("7"), None, 7),
        (None, text("40"), 40),
        (text("7"), text("40"), 40),
        (text("40"), text("7"), 40),
        (text(&http_date(30)), None, 30),
        (text(&http_date(30)), text("5"), 30),
        // Without both, the library's own pause.
        (None, None, 10),
        // At least one second, at most ten minutes. A value that is no number is ignored.
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
        let fixture = Fixture::start();
        fixture.sandbox.update(|settings| {
            settings.retry_after = retry_after;
            settings.rate_limit_reset = reset;
        });
        fixture.sandbox.fail_times(Fault::Status429, 1);
        let clock = ManualClock::new();
        let client = fixture.client(&fixture.config_at(&clock));
        let error = failed(client.get_token(SHORT));
        assert_eq!(error.status(), Status::RateLimited, "{case}");
        assert_eq!(error.http_status(), Some(429), "{case}");
        let wait = error.retry_after().unwrap();
        // A date has whole seconds, so the wait may be up to a second shorter.
        let least = Duration::from_secs(seconds)
            .saturating_sub(SECOND)
            .max(SECOND);
        let most = Duration::from_secs(seconds) * 5 / 4;
        assert!((least..=most).contains(&wait), "{case}: {wait:?}");

        clock.advance(wait - MS);
        assert_eq!(status(client.get_token(NOW)), Status::RateLimited, "{case}");
        assert_eq!(fixture.requests(), 1, "{case}");
        clock.advance(2 * MS);
        assert_eq!(status(client.get_token(SHORT)), Status::Ok, "{case}");
        assert_eq!(fixture.requests(), 2, "{case}");
    }
}

#[test]
fn a_call_with_enough_time_waits_for_a_rate_limit_to_end() {
    let fixture = Fixture::start();
    fixture
        .sandbox
        .update(|settings| settings.retry_after = Some("3".into()));
    fixture.sandbox.fail_times(Fault::Status429, 1);
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    let running = clock.run(20);
    assert_eq!(status(client.get_token(None)), Status::Ok);
    drop(running);
    assert_eq!(fixture.requests(), 2);
}

#[test]
fn calls_without_a_pause_and_wrong_credentials_cause_eight_requests_a_minute_at_most() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client_for(wrong_credentials(), &fixture.config_at(&clock));
    let sent = call_without_pause(&fixture, &clock, client, Reports::EveryToken);
    assert!((2..=8).contains(&sent[0]), "{sent:?} requests a minute");
    assert!(sent[1] <= 8 && sent[2] <= 8, "{sent:?} requests a minute");
}

#[test]
fn calls_without_a_pause_to_a_failing_server_cause_twelve_requests_a_minute_at_most() {
    for fault in [Fault::Status503, Fault::RequestClose, Fault::BodyGarbage] {
        let fixture = Fixture::start();
        fixture.sandbox.fail(fault);
        let clock = ManualClock::new();
        let client = fixture.client(&fixture.config_at(&clock));
        let sent = call_without_pause(&fixture, &clock, client, Reports::EveryToken);
        assert!((3..=12).contains(&sent[0]), "{sent:?} requests a minute");
        assert!(sent[1] <= 12 && sent[2] <= 12, "{sent:?} requests a minute");
    }
}

#[test]
fn requests_dropped_on_a_kept_connection_count_towards_the_limit() {
    let fixture = Fixture::start();
    let body = r#"{"success":true,"token":"a.b.c","expires_in":3600}"#;
    for _ in 0..200 {
        let good = Fault::Response {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
        };
        fixture.sandbox.fail_times(good, 1);
        fixture.sandbox.fail_times(Fault::RequestClose, 1);
    }
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    let sent = call_without_pause(&fixture, &clock, client, Reports::NoToken);
    assert_eq!(sent, [12, 12, 12]);
}

#[test]
fn calls_without_a_pause_to_a_healthy_server_cause_twelve_requests_a_minute() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    let sent = call_without_pause(&fixture, &clock, client, Reports::NoToken);
    assert_eq!(sent, [12, 12, 12]);
}

#[test]
fn callers_that_report_every_token_as_refused_cause_two_requests_a_minute_at_most() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    let sent = call_without_pause(&fixture, &clock, client, Reports::EveryToken);
    assert!(sent.iter().all(|&sent| (1..=2).contains(&sent)), "{sent:?}");
}

#[test]
fn a_client_at_its_own_limit_returns_rate_limited_and_the_time_to_wait() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let mut config = fixture.config_at(&clock);
    config.set_requests_per_minute(2).unwrap();
    let client = fixture.client(&config);
    for _ in 0..2 {
        assert_eq!(status(client.authenticate(None)), Status::Ok);
    }
    let error = failed(client.authenticate(NOW));
    assert_eq!(error.status(), Status::RateLimited);
    assert_eq!(error.http_status(), None);
    assert_eq!(error.retry_after(), Some(60 * SECOND));
    // The cached token is still returned.
    assert_eq!(status(client.get_token(NOW)), Status::Ok);
    clock.advance(60 * SECOND);
    assert_eq!(status(client.authenticate(None)), Status::Ok);
}

#[test]
fn a_refresh_that_the_limit_forbids_delays_no_call() {
    let fixture = Fixture::start();
    fixture.set_lifetime(50 * SECOND);
    let clock = ManualClock::new();
    let mut config = fixture.config_at(&clock);
    config.set_requests_per_minute(1).unwrap();
    let client = fixture.client(&config);
    let old = value(client.get_token(None));
    // The refresh is due and the token is fresh; later its last tenth begins.
    for seconds in [41, 2, 5] {
        clock.advance(seconds * SECOND);
        assert_eq!(value(client.get_token(None)), old);
        assert_eq!(fixture.requests(), 1);
    }
    clock.advance(2 * SECOND);
    let error = failed(client.get_token(NOW));
    assert_eq!(error.status(), Status::RateLimited);
    assert_eq!(error.retry_after(), Some(10 * SECOND));
    clock.advance(10 * SECOND);
    assert_ne!(value(client.get_token(None)), old);
    assert_eq!(fixture.requests(), 2);
}

/// Which tokens the callers report as refused.
#[derive(Clone, Copy, PartialEq)]
enum Reports {
    NoToken,
    EveryToken,
}

/// Three threads call the client without a pause for three minutes. Returns the requests of each minute.
fn call_without_pause(
    fixture: &Fixture,
    clock: &Arc<ManualClock>,
    client: Client,
    reports: Reports,
) -> Vec<u64> {
    const STEP: Duration = Duration::from_millis(100);
    let client = Arc::new(client);
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..3)
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
                    // The sandbox needs the processor, too.
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
            // Each step takes a moment, so that sign-ins see the time pass as callers do.
            thread::sleep(MS);
        }
        // Lets the requests of the minute's last step arrive.
        thread::sleep(50 * MS);
        sent.push(fixture.requests() - before);
        before = fixture.requests();
        clock.advance(STEP);
    }
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().unwrap();
    }
    sent
}
