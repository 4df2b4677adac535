//! Cancelling calls, closing a client, and log functions that do either.

use super::*;

#[test]
fn a_cancel_wakes_every_waiter_and_leaves_the_client_usable() {
    let fixture = Fixture::start();
    let client = Arc::new(fixture.client(&fixture.config()));
    fixture.set_latency(2 * SECOND);
    let callers = waiters(20, {
        let client = client.clone();
        move || client.get_token(None)
    });
    fixture.until_requests(1);
    callers.until_asleep();
    for result in ends_promptly(|| client.cancel(), callers) {
        assert_eq!(status(result), Status::Cancelled);
    }
    // The request has continued, and later calls use its result.
    assert_eq!(status(client.get_token(None)), Status::Ok);
    assert_eq!(fixture.requests(), 1);
    client.cancel();
    assert_eq!(status(client.authenticate(None)), Status::Ok);
}

#[test]
fn a_cancel_wakes_callers_that_wait_for_the_next_attempt() {
    let fixture = Fixture::start();
    let client = Arc::new(fixture.client(&fixture.config()));
    fixture.sandbox.fail_times(Fault::Status429, 1);
    let callers = waiters(5, {
        let client = client.clone();
        move || client.get_token(Some(3600 * SECOND))
    });
    fixture.until_logged(LogLevel::Warn, "attempt 1 failed");
    callers.until_asleep();
    for result in ends_promptly(|| client.cancel(), callers) {
        assert_eq!(status(result), Status::Cancelled);
    }
    // The next attempt is still planned, for later calls.
    let error = client.get_token(NOW).unwrap_err();
    assert_eq!(error.status(), Status::RateLimited);
    assert!(error.retry_after().unwrap() > SECOND, "{error}");
    assert_eq!(fixture.requests(), 1);
}

#[test]
fn a_cancel_wakes_a_caller_that_waits_in_the_last_minute_of_a_token() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = Arc::new(fixture.client_with_one_attempt(&clock));
    value(client.get_token(None));
    clock.advance(HOUR - 30 * SECOND);
    fixture.sandbox.fail(Fault::RequestHang);
    let callers = waiters(1, {
        let client = client.clone();
        move || status(client.get_token(None))
    });
    fixture.until_requests(2);
    client.cancel();
    for status in callers.results() {
        assert_eq!(status, Status::Cancelled);
    }
}

#[test]
fn a_close_wakes_every_waiter_and_later_calls_are_cancelled() {
    let fixture = Fixture::start();
    let client = Arc::new(fixture.client(&fixture.config()));
    fixture.sandbox.fail(Fault::RequestHang);
    let callers = waiters(20, {
        let client = client.clone();
        move || client.get_token(None)
    });
    fixture.until_requests(1);
    callers.until_asleep();
    for result in ends_promptly(|| client.close(), callers) {
        assert_eq!(status(result), Status::Cancelled);
    }
    fixture.sandbox.heal();
    let lines = fixture.log.lines().len();
    for timeout in [None, NOW, SHORT] {
        assert_eq!(status(client.get_token(timeout)), Status::Cancelled);
        assert_eq!(status(client.authenticate(timeout)), Status::Cancelled);
    }
    client.invalidate(None);
    client.cancel();
    client.close();
    assert_eq!(fixture.requests(), 1);
    assert_eq!(fixture.log.lines().len(), lines, "something was logged");
}

#[test]
fn dropping_a_client_aborts_its_request() {
    let fixture = Fixture::start();
    fixture.sandbox.fail(Fault::RequestHang);
    let witness = Arc::new(());
    let mut config = fixture.config();
    let held = witness.clone();
    config.set_log(LogLevel::Debug, move |_, line| {
        let _ = &held;
        transcribe(line);
    });
    let client = fixture.client(&config);
    drop(config);
    assert_eq!(status(client.get_token(NOW)), Status::WouldWait);
    fixture.until_requests(1);
    drop(client);
    // The thread of the request held the settings. It ends long before the attempt timeout of 10 s.
    let (_, took) = timed(|| until("it has ended", || Arc::strong_count(&witness) == 1));
    assert!(took < 3 * SECOND, "{took:?}");
}

#[test]
fn a_close_among_running_calls_ends_each_with_a_token_or_cancelled() {
    let fixture = Fixture::start();
    for _ in 0..20 {
        let client = Arc::new(fixture.client(&fixture.config()));
        let statuses = together(8, move |number| {
            if number == 0 {
                thread::yield_now();
                client.close();
                return Status::Ok;
            }
            status(client.get_token(None))
        });
        let is_allowed = |s: &Status| matches!(s, Status::Ok | Status::Cancelled);
        assert!(statuses.iter().all(is_allowed), "{statuses:?}");
    }
}

#[test]
fn a_log_function_that_panics_fails_one_call_and_not_the_client() {
    let fixture = Fixture::start();
    let panics = Arc::new(AtomicBool::new(true));
    let mut config = fixture.config();
    let switch = panics.clone();
    config.set_log(LogLevel::Debug, move |_, _| {
        assert!(!switch.swap(false, Ordering::SeqCst), "on purpose");
    });
    let client = fixture.client(&config);
    assert_eq!(status(client.get_token(None)), Status::Internal);
    assert_eq!(status(client.get_token(None)), Status::Ok);
    assert_eq!(fixture.requests(), 1);
}

#[test]
fn the_log_function_may_call_and_close_its_own_client() {
    let fixture = Fixture::start();
    let client: Arc<OnceLock<Client>> = Arc::default();
    let has_run = Arc::new(AtomicBool::new(false));
    let mut config = fixture.config();
    let (in_function, ran) = (client.clone(), has_run.clone());
    config.set_log(LogLevel::Info, move |_, line| {
        transcribe(line);
        if let Some(client) = in_function.get() {
            // A sign-in is logged after it is completed, so its token is there.
            assert_eq!(status(client.get_token(NOW)), Status::Ok);
            client.cancel();
            client.close();
            ran.store(true, Ordering::SeqCst);
        }
    });
    let client = client.get_or_init(|| fixture.client(&config));
    // The log function may close the client before this call sees the result of its request.
    let result = status(client.get_token(None));
    assert!(
        matches!(result, Status::Ok | Status::Cancelled),
        "{result:?}"
    );
    until("the log function has run", || {
        has_run.load(Ordering::SeqCst)
    });
    assert_eq!(status(client.get_token(None)), Status::Cancelled);
}

/// The call that the close wakes may hold the last reference to the client, and the thread that closes it
/// is inside the log function.
#[test]
fn dropping_a_client_closed_by_its_own_log_function_does_not_wait() {
    let fixture = Fixture::start();
    let mut config = fixture.config();
    let own_client: Arc<OnceLock<Weak<Client>>> = Arc::default();
    let (in_function, (closed, close), (release, gate)) =
        (own_client.clone(), mpsc::channel(), mpsc::channel::<()>());
    let gate = Mutex::new(gate);
    config.set_log(LogLevel::Debug, move |_, _| {
        let client = in_function
            .get()
            .and_then(Weak::upgrade)
            .expect("it exists");
        client.close();
        drop(client);
        closed.send(()).unwrap();
        let _ = gate.lock().unwrap().recv();
    });
    let client = Arc::new(fixture.client(&config));
    own_client.set(Arc::downgrade(&client)).unwrap();
    // The log function may close the client before this call returns.
    let result = status(client.get_token(NOW));
    assert!(
        matches!(result, Status::WouldWait | Status::Cancelled),
        "{result:?}"
    );
    close.recv().unwrap();
    let dropping = thread::spawn(move || drop(client));
    until("it is dropped", || dropping.is_finished());
    drop(release);
}
