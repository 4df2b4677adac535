//! A token is refreshed before it expires, without making callers wait.

use super::*;

#[test]
fn no_caller_waits_for_a_slow_refresh_of_a_fresh_token() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = Arc::new(fixture.client(&fixture.config_at(&clock)));
    let old = value(client.get_token(None));
    fixture.set_latency(5 * SECOND);
    // Every refresh is due by then, and the token is fresh for another four minutes.
    clock.advance(HOUR - 300 * SECOND);

    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, old) = (client.clone(), old.clone());
            thread::spawn(move || {
                let mut calls = 0_u32;
                loop {
                    let sleeps = own_sleeps();
                    let (result, took) = timed(|| client.get_token(None));
                    let slept = own_sleeps() - sleeps;
                    // A preempted thread did not wait: only one that went to sleep did.
                    assert!(
                        took <= 5 * MS || slept == 0,
                        "{took:?}, and went to sleep {slept} times"
                    );
                    calls += 1;
                    if result.expect("a token is there").value() != old {
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
    assert_eq!(fixture.requests(), 2);
    assert_ne!(value(client.get_token(NOW)), old);
    assert_eq!(fixture.requests(), 2);
}

#[test]
fn after_a_failed_refresh_the_old_token_is_returned_until_it_expires() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client_with_one_attempt(&clock);
    let old = value(client.get_token(None));
    fixture.sandbox.fail(Fault::Status503);

    clock.advance(HOUR - 300 * SECOND);
    assert_eq!(value(client.get_token(NOW)), old);
    fixture.until_logged(LogLevel::Warn, "no new token: SERVER");
    fixture.until_logged(LogLevel::Warn, "the current one is valid for 300 s");

    // Also in the last minute, with any timeout.
    for left in [299, 61, 60, 59, 30, 5, 2, 1] {
        let token = client.get_token(NOW).expect("the token is valid");
        assert_eq!(token.value(), old);
        clock.advance(token.expires_in() - left * SECOND);
        for timeout in [NOW, SHORT, None] {
            let token = recorded(client.get_token(timeout)).expect("the token is valid");
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
    assert!(fixture.requests() > 3, "the refresh was not retried");
}

#[test]
fn while_a_refresh_hangs_the_old_token_is_returned_before_it_expires() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    let old = value(client.get_token(None));
    fixture.sandbox.fail(Fault::RequestHang);
    // In the last minute callers wait for the refresh.
    clock.advance(HOUR - 20 * SECOND);
    let running = clock.run(4);
    let token = recorded(client.get_token(None)).expect("the old token, before it expires");
    assert_eq!(token.value(), old);
    assert!(token.expires_in() > SECOND, "{token:?}");
    drop(running);
    client.close();
}

#[test]
fn a_failed_refresh_is_retried_after_its_pause_and_not_before() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client_with_one_attempt(&clock);
    let old = value(client.get_token(None));
    fixture.sandbox.fail_times(Fault::Status503, 1);
    clock.advance(HOUR - 300 * SECOND);
    assert_eq!(value(client.get_token(None)), old);
    fixture.until_logged(LogLevel::Warn, "no new token");
    for _ in 0..100 {
        assert_eq!(value(client.get_token(None)), old);
    }
    assert_eq!(fixture.requests(), 2);
    clock.advance(SECOND);
    until("a new token is there", || {
        value(client.get_token(NOW)) != old
    });
    assert_eq!(fixture.requests(), 3);
}

#[test]
fn a_failed_authenticate_does_not_prevent_the_next_refresh() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = Arc::new(fixture.client_with_one_attempt(&clock));
    let old = value(client.get_token(None));
    clock.advance(HOUR - 300 * SECOND);
    fixture.sandbox.fail(Fault::RequestHang);
    let authenticating = waiters(1, {
        let client = client.clone();
        move || status(client.authenticate(None))
    });
    fixture.until_requests(2);
    // A request is in progress, so this call starts no refresh.
    assert_eq!(value(client.get_token(None)), old);
    client.cancel();
    for status in authenticating.results() {
        assert_eq!(status, Status::Cancelled);
    }
    fixture.sandbox.heal();
    fixture.until_logged(LogLevel::Warn, "no new token: TIMEOUT");
    clock.advance(5 * SECOND);
    until("a new token is there", || {
        value(client.get_token(NOW)) != old
    });
}
