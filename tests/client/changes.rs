//! The change function: when it is called, and what it may do.

use super::*;

/// Sets a change function that sends each change to the returned channel.
fn changes(config: &mut Config) -> mpsc::Receiver<Status> {
    let (sender, receiver) = mpsc::channel();
    config.set_on_change(move |status| sender.send(status).unwrap());
    receiver
}

/// As in an event loop: calls never wait, and after WOULD_WAIT the next one is made when a change is announced.
#[test]
fn an_event_loop_gets_every_token_and_every_error_without_waiting_in_a_call() {
    let fixture = Fixture::start();
    // Otherwise the request might end during the call that starts it.
    fixture.set_latency(300 * MS);
    let clock = ManualClock::new();
    let mut config = fixture.config_at(&clock);
    let changes = changes(&mut config);
    let client = fixture.client(&config);

    // The first token.
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    assert_eq!(changes.recv_timeout(MINUTE), Ok(Status::Ok));
    let first = value(client.get_token(NOW));

    // A refresh: meanwhile calls return the old token.
    clock.advance(59 * MINUTE);
    let meanwhile = value(client.get_token(NOW));
    assert_eq!(changes.recv_timeout(MINUTE), Ok(Status::Ok));
    let second = value(client.get_token(NOW));
    assert!(meanwhile == first || meanwhile == second);
    assert_ne!(second, first);

    // A service that fails, after the token has expired.
    clock.advance(2 * HOUR);
    fixture.sandbox.fail(Fault::Status503);
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
    fixture.sandbox.heal();
    clock.advance(wait);
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    assert_eq!(changes.recv_timeout(MINUTE), Ok(Status::Ok));
    assert_ne!(value(client.get_token(NOW)), second);
    drop(client);
    drop(config);
    assert_eq!(changes.iter().count(), 0, "each change is announced once");
}

/// Calls whose timeout is shorter than the pause get the error immediately.
#[test]
fn a_rate_limit_is_announced_while_the_sign_in_continues() {
    let fixture = Fixture::start();
    fixture.sandbox.fail(Fault::Status429);
    fixture
        .sandbox
        .update(|settings| settings.retry_after = Some("120".into()));
    fixture.set_latency(300 * MS);
    let mut config = fixture.config();
    let changes = changes(&mut config);
    let client = fixture.client(&config);
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    assert_eq!(changes.recv_timeout(MINUTE), Ok(Status::RateLimited));
    let error = failed(client.get_token(NOW));
    assert_eq!(error.status(), Status::RateLimited);
    assert!(error.retry_after() > Some(MINUTE));
    assert!(client.state().request_in_flight);
}

#[test]
fn callers_that_share_a_sign_in_cause_one_change() {
    let fixture = Fixture::start();
    fixture.set_latency(50 * MS);
    let mut config = fixture.config();
    let changes = changes(&mut config);
    let client = Arc::new(fixture.client(&config));
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
fn the_change_function_already_sees_the_announced_result() {
    let fixture = Fixture::start();
    let own_client: Arc<OnceLock<Client>> = Arc::default();
    let (sender, calls) = mpsc::channel();
    let mut config = fixture.config();
    let in_function = own_client.clone();
    config.set_on_change(move |status| {
        let client = in_function.get().unwrap();
        // It may call every function, and never waits, not even for a sign-in that it starts.
        let (token, state) = (client.get_token(None), client.state());
        sender
            .send((status, token.map(|token| token.serial()), state))
            .unwrap();
    });
    let client = own_client.get_or_init(|| fixture.client(&config));

    let serial = client.get_token(None).unwrap().serial();
    let (status, token, state) = calls.recv_timeout(MINUTE).unwrap();
    assert_eq!((status, token.ok()), (Status::Ok, Some(serial)));
    assert!(!state.request_in_flight && state.is_fresh);
    assert_eq!(last_status(&state), Some(Status::Ok));

    fixture.sandbox.fail(Fault::Status401);
    assert_eq!(failed(client.authenticate(None)).status(), Status::Rejected);
    let (status, token, state) = calls.recv_timeout(MINUTE).unwrap();
    assert_eq!((status, token.ok()), (Status::Rejected, Some(serial)));
    assert!(!state.request_in_flight && state.is_fresh);
    assert_eq!(last_status(&state), Some(Status::Rejected));
}

#[test]
fn a_change_function_may_close_its_own_client() {
    let fixture = Fixture::start();
    fixture.set_latency(300 * MS);
    let own_client: Arc<OnceLock<Client>> = Arc::default();
    let (closed, close) = mpsc::channel();
    let mut config = fixture.config();
    let in_function = own_client.clone();
    config.set_on_change(move |_| {
        in_function.get().unwrap().close();
        closed.send(()).unwrap();
    });
    let client = own_client.get_or_init(|| fixture.client(&config));
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    close.recv_timeout(MINUTE).unwrap();
    client.close();
    assert_eq!(status(client.get_token(NOW)), Status::Cancelled);
}

#[test]
fn a_request_aborted_by_a_close_is_no_change() {
    let fixture = Fixture::start();
    fixture.sandbox.fail(Fault::RequestHang);
    let mut config = fixture.config();
    let changes = changes(&mut config);
    let client = fixture.client(&config);
    drop(config);
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    fixture.until_requests(1);
    client.close();
    drop(client);
    // Ends when the thread of the request has dropped the function.
    assert_eq!(changes.iter().count(), 0);
}

#[test]
fn a_change_function_that_panics_affects_no_call() {
    let fixture = Fixture::start();
    let mut config = fixture.config();
    let (called, calls) = mpsc::channel();
    config.set_on_change(move |_| {
        called.send(()).unwrap();
        std::panic::panic_any(());
    });
    let client = fixture.client(&config);
    let first = value(client.get_token(None));
    let second = value(client.authenticate(None));
    assert_ne!(first, second);
    assert_eq!(calls.iter().take(2).count(), 2);
    client.close();
}

#[test]
fn a_slow_change_function_delays_no_caller_and_no_other_change() {
    let fixture = Fixture::start();
    let mut config = fixture.config();
    let (release, gate) = mpsc::channel::<()>();
    let (called, calls) = mpsc::channel();
    let gate = Mutex::new(Some(gate));
    config.set_on_change(move |status| {
        called.send(status).unwrap();
        // Only the first call blocks.
        let gate = gate.lock().unwrap().take();
        if let Some(gate) = gate {
            let _ = gate.recv();
        }
    });
    let client = fixture.client(&config);
    for _ in 0..3 {
        value(client.authenticate(None));
        assert_eq!(calls.recv_timeout(MINUTE), Ok(Status::Ok));
    }
    drop(release);
}
