//! Concurrent calls share one request.

use super::*;

#[test]
fn two_hundred_threads_on_a_new_client_cause_one_request_and_get_its_token() {
    let fixture = Fixture::start();
    for round in 1..=10 {
        // Some callers begin only after a fast response has come. For a slow one all of them wait.
        fixture.set_latency(if round % 2 == 0 {
            20 * MS
        } else {
            Duration::ZERO
        });
        let client = Arc::new(fixture.client(&fixture.config()));
        let tokens: BTreeSet<_> = together(200, move |_| value(client.get_token(None)))
            .into_iter()
            .collect();
        assert_eq!(tokens.len(), 1);
        assert_eq!(fixture.requests(), round);
    }
}

#[test]
fn two_hundred_threads_whose_token_expires_cause_one_request() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = Arc::new(fixture.client(&fixture.config_at(&clock)));
    for round in 1..=5 {
        let old = value(client.get_token(None));
        assert_eq!(fixture.requests(), round);
        let (client, clock) = (client.clone(), clock.clone());
        let has_expired = AtomicBool::new(false);
        let results = together(200, move |number| {
            if number == 100 {
                clock.advance(HOUR);
                has_expired.store(true, Ordering::SeqCst);
            }
            // Longer than the hour that may pass inside the call.
            let timeout = Some(2 * HOUR);
            (
                has_expired.load(Ordering::SeqCst),
                value(client.get_token(timeout)),
            )
        });
        // A call that began before the token expired may have returned it.
        let new: BTreeSet<_> = results
            .into_iter()
            .filter_map(|(had_expired, token)| (had_expired || token != old).then_some(token))
            .collect();
        assert_eq!(new.len(), 1);
        assert!(!new.contains(&old), "an expired token was returned");
        assert_eq!(fixture.requests(), round + 1);
    }
}

#[test]
fn two_hundred_threads_get_the_error_of_one_failed_request() {
    for (fault, expected) in [
        (Fault::Status401, Status::Rejected),
        (Fault::Status503, Status::Server),
        (Fault::BodyHtml, Status::Protocol),
        (Fault::RequestClose, Status::Connect),
        (Fault::Status429, Status::RateLimited),
    ] {
        let fixture = Fixture::start();
        fixture.set_latency(5 * MS);
        fixture.sandbox.fail(fault);
        let clock = ManualClock::new();
        let client = Arc::new(fixture.client_with_one_attempt(&clock));
        let statuses = together(200, move |_| status(client.get_token(SHORT)));
        assert!(statuses.iter().all(|&s| s == expected), "{statuses:?}");
        assert_eq!(fixture.requests(), 1, "{expected:?}");
    }
}

#[test]
fn callers_of_one_failed_request_do_not_wait_for_another_one() {
    let fixture = Fixture::start();
    fixture.set_latency(SECOND);
    fixture.sandbox.fail(Fault::Status503);
    let mut config = fixture.config();
    config.set_max_attempts(1).unwrap();
    for round in 1..=2 {
        // Their timeout is longer than the pause, so a caller that wants another request sends it.
        let client = Arc::new(fixture.client(&config));
        let statuses = together(100, move |_| status(client.get_token(None)));
        assert!(statuses.iter().all(|&s| s == Status::Server));
        assert_eq!(fixture.requests(), round);
    }
}

#[test]
fn authenticate_requests_a_new_token_or_joins_a_request_in_progress() {
    let fixture = Fixture::start();
    let client = Arc::new(fixture.client(&fixture.config()));
    let first = value(client.get_token(None));
    let second = value(client.authenticate(None));
    assert_ne!(first, second);
    assert_eq!(fixture.requests(), 2);
    assert_eq!(value(client.get_token(None)), second);

    fixture.set_latency(2 * SECOND);
    let callers = waiters(10, {
        let client = client.clone();
        move || value(client.authenticate(None))
    });
    let tokens: BTreeSet<_> = callers.results().into_iter().collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(fixture.requests(), 3);
}
