//! What `state` returns, and the serial numbers of tokens.

use super::*;

#[test]
fn the_state_matches_the_requests_and_the_token() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));

    let state = client.state();
    assert!(!state.is_fresh && !state.request_in_flight && state.last_result.is_none());
    assert_eq!((state.expires_in, state.refresh_in), (None, None));
    assert_eq!(state.next_request_in, Duration::ZERO);
    assert_eq!(
        (state.requests, state.failures, fixture.requests()),
        (0, 0, 0)
    );

    value(client.get_token(None));
    clock.advance(MINUTE);
    let state = client.state();
    assert!(state.is_fresh);
    assert_eq!(state.expires_in, Some(HOUR - MINUTE));
    assert!(state.refresh_in.is_some_and(|wait| wait < HOUR - MINUTE));
    let last = state.last_result.clone().unwrap();
    assert_eq!((last.age, last.http_status), (MINUTE, Some(200)));
    assert!(last.error.is_none());
    assert_eq!((state.requests, state.failures), (1, 0));

    // The service fails, and the token expires.
    clock.advance(HOUR - MINUTE - SECOND);
    fixture.sandbox.fail(Fault::Status503);
    let running = clock.run(10);
    assert_eq!(status(client.authenticate(None)), Status::Server);
    drop(running);
    clock.advance(MINUTE - SECOND);
    let state = client.state();
    assert!(!state.is_fresh && state.expires_in.is_none() && state.refresh_in.is_none());
    assert_eq!((state.requests, state.failures), (4, 3));
    assert_eq!(state.requests, fixture.requests());
    let last = state.last_result.clone().unwrap();
    assert_eq!(last.http_status, Some(503));
    assert!(last.age >= MINUTE - SECOND);
    let error = last.error.unwrap();
    assert_eq!(error.status(), Status::Server);
    transcribe(error.message());
}

#[test]
fn in_its_last_minute_a_token_is_stale_and_its_refresh_is_due() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    value(client.get_token(None));
    clock.advance(HOUR - 30 * SECOND);
    let state = client.state();
    assert!(!state.is_fresh);
    assert_eq!(state.expires_in, Some(30 * SECOND));
    assert_eq!(state.refresh_in, Some(Duration::ZERO));
}

#[test]
fn the_state_is_returned_immediately_while_a_request_hangs() {
    let fixture = Fixture::start();
    fixture.sandbox.fail(Fault::RequestHang);
    let client = fixture.client(&fixture.config());
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    fixture.until_requests(1);
    let state = returns_after(Duration::ZERO, || client.state());
    assert!(state.request_in_flight && state.last_result.is_none());
    assert_eq!((state.requests, state.failures), (1, 0));
    client.close();
    assert_eq!(fixture.requests(), 1);
}

#[test]
fn after_a_failure_the_state_says_when_the_next_request_may_be_sent() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client_for(wrong_credentials(), &fixture.config_at(&clock));
    let error = failed(client.get_token(None));
    let state = client.state();
    assert_eq!(Some(state.next_request_in), error.retry_after());
    assert_eq!(last_status(&state), Some(Status::Rejected));
    clock.advance(state.next_request_in);
    assert_eq!(client.state().next_request_in, Duration::ZERO);
}

#[test]
fn a_refused_token_is_reported_as_rejected_and_not_as_a_failed_request() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    let token = value(client.get_token(None));
    clock.advance(SECOND);
    client.invalidate(Some(&token));
    clock.advance(SECOND);
    let state = client.state();
    let last = state.last_result.clone().unwrap();
    assert_eq!((last.age, last.http_status), (SECOND, None));
    assert_eq!(last_status(&state), Some(Status::Rejected));
    assert!(state.next_request_in >= 4 * SECOND && state.expires_in.is_none());
    assert_eq!((state.requests, state.failures), (1, 0));
}

#[test]
fn a_token_keeps_its_serial_number_and_no_other_token_has_it() {
    let fixture = Fixture::start();
    let clients = [(); 2].map(|()| fixture.client(&fixture.config()));
    let mut serials = Vec::new();
    for client in &clients {
        for _ in 0..3 {
            let serial = client.authenticate(None).unwrap().serial();
            assert_eq!(client.get_token(NOW).unwrap().serial(), serial);
            assert_ne!(serial, 0);
            serials.push(serial);
        }
    }
    serials.sort_unstable();
    serials.dedup();
    assert_eq!(serials.len(), 6);
    assert!(!fixture.log.has(LogLevel::Warn, ""));
}
