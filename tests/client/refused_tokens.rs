//! Tokens that the service refuses, and that callers report with `invalidate`.

use super::*;

#[test]
fn fifty_threads_that_report_the_same_refused_token_cause_one_request() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = Arc::new(fixture.client(&fixture.config_at(&clock)));
    let mut refused = value(client.get_token(None));
    for round in 2..=11 {
        fixture.set_latency(if round % 2 == 0 {
            10 * MS
        } else {
            Duration::ZERO
        });
        clock.advance(MINUTE);
        let (callers, old) = (client.clone(), refused.clone());
        let tokens: BTreeSet<_> = together(50, move |_| {
            callers.invalidate(Some(&old));
            value(callers.get_token(None))
        })
        .into_iter()
        .collect();
        assert_eq!(tokens.len(), 1);
        assert_eq!(fixture.requests(), round);
        let new = tokens.into_iter().next().unwrap();
        assert_ne!(new, refused);

        // Later reports of the old token change nothing.
        client.invalidate(Some(&refused));
        client.invalidate(Some("never issued"));
        assert_eq!(value(client.get_token(NOW)), new);
        assert_eq!(fixture.requests(), round);
        refused = new;
    }
    clock.advance(MINUTE);
    client.invalidate(None);
    assert_ne!(value(client.get_token(None)), refused);
    assert_eq!(fixture.requests(), 12);
}

#[test]
fn if_each_new_token_is_refused_sign_ins_wait_longer_and_calls_return_rejected_immediately() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    let refuse = |by_value: bool| {
        let token = value(client.get_token(None));
        let requests = fixture.requests();
        client.invalidate(by_value.then_some(&token));
        let waits = [None, NOW, SHORT].map(|timeout| {
            let error = failed(client.get_token(timeout));
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
        assert_eq!(fixture.requests(), requests, "another sign-in");
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
    assert!(fixture.log.has(LogLevel::Error, "refused a token"));
    // A token that is used for a minute ends this: after it, the next request is sent immediately.
    let proven = value(client.get_token(None));
    clock.advance(MINUTE);
    client.invalidate(Some(&proven));
    assert_ne!(value(client.get_token(None)), proven);
    assert!((5..=6).contains(&refuse(true)));
}

#[test]
fn callers_that_report_a_new_token_together_cause_no_request() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = Arc::new(fixture.client(&fixture.config_at(&clock)));
    for round in 1..=10 {
        let (callers, token) = (client.clone(), value(client.get_token(None)));
        let statuses = together(50, move |_| {
            callers.invalidate(Some(&token));
            status(callers.get_token(None))
        });
        assert!(statuses.iter().all(|&s| s == Status::Rejected));
        assert_eq!(fixture.requests(), round);
        clock.advance(HOUR);
    }
}
