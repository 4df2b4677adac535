//! What a client says of itself without being asked for a token: changes, its state, and the numbers of
//! its tokens.

mod support;

use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use clopos_auth::{Client, Config, LogLevel, State, Status};
use clopos_sandbox::Fault;

use support::*;

const NOW: Option<Duration> = Some(Duration::ZERO);
const MINUTE: Duration = Duration::from_secs(60);

/// Changes as they are announced.
fn changes(config: &mut Config) -> mpsc::Receiver<Status> {
    let (sender, receiver) = mpsc::channel();
    config.set_on_change(move |status| sender.send(status).unwrap());
    receiver
}

fn last_status(state: &State) -> Option<Status> {
    let last = state.last_result.as_ref()?;
    Some(
        last.error
            .as_ref()
            .map_or(Status::Ok, |error| error.status()),
    )
}

// ---------------------------------------------------------------------------------------------
// Changes

/// All that an event loop does: calls that never wait, and nothing until a change is announced.
#[test]
fn an_event_loop_gets_every_token_and_every_error_without_waiting_in_a_call() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let mut config = bench.config_at(&clock);
    let changes = changes(&mut config);
    let client = bench.client(&config);

    // A cold start.
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    assert_eq!(changes.recv_timeout(MINUTE), Ok(Status::Ok));
    let first = value(client.get_token(NOW));

    // A refresh: the old token serves meanwhile.
    clock.advance(59 * MINUTE);
    let meanwhile = value(client.get_token(NOW));
    assert_eq!(changes.recv_timeout(MINUTE), Ok(Status::Ok));
    let second = value(client.get_token(NOW));
    assert!(meanwhile == first || meanwhile == second);
    assert_ne!(second, first);

    // A service that fails, after the token has expired.
    clock.advance(2 * HOUR);
    bench.sandbox.fail(Fault::Status503);
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    let mut wait = Duration::ZERO;
    for attempt in 1..=3 {
        clock.advance(wait);
        assert_eq!(changes.recv_timeout(MINUTE), Ok(Status::Server));
        let error = failed(client.get_token(NOW));
        assert_eq!(error.status(), Status::Server);
        wait = error.retry_after().unwrap();
        assert_eq!(client.state().request_in_flight, attempt < 3);
        assert_eq!(client.state().failures, attempt);
    }

    // The recovery, after the time that the error names.
    bench.sandbox.heal();
    clock.advance(wait);
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    assert_eq!(changes.recv_timeout(MINUTE), Ok(Status::Ok));
    assert_ne!(value(client.get_token(NOW)), second);
    drop(client);
    drop(config);
    assert_eq!(changes.iter().count(), 0, "each change is announced once");
}

/// A call that waits gets the error at once, if the time to wait is longer than its own.
#[test]
fn a_rate_limit_is_announced_although_the_sign_in_goes_on() {
    let bench = Bench::start();
    bench.sandbox.fail(Fault::Status429);
    bench
        .sandbox
        .update(|settings| settings.retry_after = Some("120".into()));
    let mut config = bench.config();
    let changes = changes(&mut config);
    let client = bench.client(&config);
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    assert_eq!(changes.recv_timeout(MINUTE), Ok(Status::RateLimited));
    let error = failed(client.get_token(NOW));
    assert_eq!(error.status(), Status::RateLimited);
    assert!(error.retry_after() > Some(MINUTE));
    assert!(client.state().request_in_flight);
}

#[test]
fn callers_that_share_a_sign_in_cause_one_change() {
    let bench = Bench::start();
    bench.set_latency(50 * MS);
    let mut config = bench.config();
    let changes = changes(&mut config);
    let client = Arc::new(bench.client(&config));
    drop(config);
    let callers = client.clone();
    together(20, move |_| value(callers.get_token(None)));
    assert_eq!(changes.recv_timeout(MINUTE), Ok(Status::Ok));
    client.invalidate(Some("another"));
    client.cancel();
    drop(client);
    assert_eq!(changes.iter().count(), 0);
}

#[test]
fn what_is_announced_can_be_seen_inside_the_change_function() {
    let bench = Bench::start();
    let found: Arc<OnceLock<Client>> = Arc::default();
    let (seen, see) = mpsc::channel();
    let mut config = bench.config();
    let in_function = found.clone();
    config.set_on_change(move |status| {
        let client = in_function.get().unwrap();
        // It may call everything, and waits for nothing: not even for a sign-in that it starts.
        let (token, state) = (client.get_token(None), client.state());
        seen.send((status, token.map(|token| token.serial()), state))
            .unwrap();
    });
    let client = found.get_or_init(|| bench.client(&config));

    let serial = client.get_token(None).unwrap().serial();
    let (status, token, state) = see.recv_timeout(MINUTE).unwrap();
    assert_eq!((status, token.ok()), (Status::Ok, Some(serial)));
    assert!(!state.request_in_flight && state.is_fresh);
    assert_eq!(last_status(&state), Some(Status::Ok));

    bench.sandbox.fail(Fault::Status401);
    assert_eq!(failed(client.authenticate(None)).status(), Status::Rejected);
    let (status, token, state) = see.recv_timeout(MINUTE).unwrap();
    assert_eq!((status, token.ok()), (Status::Rejected, Some(serial)));
    assert!(!state.request_in_flight && state.is_fresh);
    assert_eq!(last_status(&state), Some(Status::Rejected));
}

#[test]
fn a_change_function_may_close_its_own_client() {
    let bench = Bench::start();
    let found: Arc<OnceLock<Client>> = Arc::default();
    let (closed, close) = mpsc::channel();
    let mut config = bench.config();
    let in_function = found.clone();
    config.set_on_change(move |_| {
        in_function.get().unwrap().close();
        closed.send(()).unwrap();
    });
    let client = found.get_or_init(|| bench.client(&config));
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    close.recv_timeout(MINUTE).unwrap();
    client.close();
    assert_eq!(status(client.get_token(NOW)), Status::Cancelled);
}

#[test]
fn a_request_that_a_close_breaks_off_is_no_change() {
    let bench = Bench::start();
    bench.sandbox.fail(Fault::RequestHang);
    let mut config = bench.config();
    let changes = changes(&mut config);
    let client = bench.client(&config);
    drop(config);
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    bench.until_requests(1);
    client.close();
    drop(client);
    // The thread of the request held the function.
    assert_eq!(changes.iter().count(), 0);
}

#[test]
fn a_change_function_that_panics_costs_nothing() {
    let bench = Bench::start();
    let mut config = bench.config();
    let (called, calls) = mpsc::channel();
    config.set_on_change(move |_| {
        called.send(()).unwrap();
        std::panic::panic_any(());
    });
    let client = bench.client(&config);
    let first = value(client.get_token(None));
    let second = value(client.authenticate(None));
    assert_ne!(first, second);
    assert_eq!(calls.iter().take(2).count(), 2);
    client.close();
}

#[test]
fn a_change_function_that_takes_long_delays_no_caller_and_no_other_change() {
    let bench = Bench::start();
    let mut config = bench.config();
    let (release, gate) = mpsc::channel::<()>();
    let (called, calls) = mpsc::channel();
    let gate = Mutex::new(Some(gate));
    config.set_on_change(move |status| {
        called.send(status).unwrap();
        // Only the first call.
        let gate = gate.lock().unwrap().take();
        if let Some(gate) = gate {
            let _ = gate.recv();
        }
    });
    let client = bench.client(&config);
    for _ in 0..3 {
        value(client.authenticate(None));
        assert_eq!(calls.recv_timeout(MINUTE), Ok(Status::Ok));
    }
    drop(release);
}

// ---------------------------------------------------------------------------------------------
// State

#[test]
fn the_state_agrees_with_what_the_service_saw() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));

    let state = client.state();
    assert!(!state.is_fresh && !state.request_in_flight && state.last_result.is_none());
    assert_eq!((state.expires_in, state.refresh_in), (None, None));
    assert_eq!(state.next_request_in, Duration::ZERO);
    assert_eq!(
        (state.requests, state.failures, bench.requests()),
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

    // In its last minute a token is not fresh.
    clock.advance(HOUR - MINUTE - SECOND);
    bench.sandbox.fail(Fault::Status503);
    let running = clock.run(50);
    assert_eq!(status(client.authenticate(None)), Status::Server);
    drop(running);
    clock.advance(MINUTE - SECOND);
    let state = client.state();
    assert!(!state.is_fresh && state.expires_in.is_none() && state.refresh_in.is_none());
    assert_eq!((state.requests, state.failures), (4, 3));
    assert_eq!(state.requests, bench.requests());
    let last = state.last_result.clone().unwrap();
    assert_eq!(last.http_status, Some(503));
    assert!(last.age >= MINUTE - SECOND);
    let error = last.error.unwrap();
    assert_eq!(error.status(), Status::Server);
    transcribe(error.message());
}

#[test]
fn between_its_margin_and_its_end_a_token_is_there_but_not_fresh_and_due_for_a_refresh() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
    value(client.get_token(None));
    clock.advance(HOUR - 30 * SECOND);
    let state = client.state();
    assert!(!state.is_fresh);
    assert_eq!(state.expires_in, Some(30 * SECOND));
    assert_eq!(state.refresh_in, Some(Duration::ZERO));
}

#[test]
fn the_state_is_given_at_once_while_a_request_hangs_and_sends_nothing() {
    let bench = Bench::start();
    bench.sandbox.fail(Fault::RequestHang);
    let client = bench.client(&bench.config());
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    bench.until_requests(1);
    let state = returns_after(Duration::ZERO, || client.state());
    assert!(state.request_in_flight && state.last_result.is_none());
    assert_eq!((state.requests, state.failures), (1, 0));
    client.close();
    assert_eq!(bench.requests(), 1);
}

#[test]
fn after_a_failure_the_state_says_when_the_next_request_may_be_sent() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = bench.client_for(wrong_credentials(), &bench.config_at(&clock));
    let error = failed(client.get_token(None));
    let state = client.state();
    assert_eq!(Some(state.next_request_in), error.retry_after());
    assert_eq!(last_status(&state), Some(Status::Rejected));
    clock.advance(state.next_request_in);
    assert_eq!(client.state().next_request_in, Duration::ZERO);
}

#[test]
fn a_token_that_the_service_refused_is_told_as_rejected_without_a_failed_request() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
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

// ---------------------------------------------------------------------------------------------
// Numbers of tokens

#[test]
fn a_token_keeps_its_number_and_no_other_token_has_it() {
    let bench = Bench::start();
    let clients = [(); 2].map(|()| bench.client(&bench.config()));
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
    assert!(!bench.log.has(LogLevel::Warn, ""));
}
