//! Errors that the service reports, and what becomes of its messages.

use super::*;

#[test]
fn every_http_status_has_its_library_status() {
    use Status::{Protocol, RateLimited, Rejected, Server, Timeout};
    let table = [
        (200, Rejected),
        (201, Rejected),
        (400, Rejected),
        (401, Rejected),
        (403, Rejected),
        (404, Protocol),
        (405, Protocol),
        (408, Timeout),
        (410, Protocol),
        (418, Protocol),
        (422, Rejected),
        (429, RateLimited),
        (451, Protocol),
        (500, Server),
        (501, Server),
        (502, Server),
        (503, Server),
        (504, Server),
        (511, Protocol),
        (520, Server),
        (599, Server),
    ];
    let fixture = Fixture::start();
    for (http_status, expected) in table {
        let body = br#"{"success":false,"error":"some_code","message":"Some words"}"#;
        let error = refused(
            attempt_with_response(&fixture, http_status, &[], body),
            "failure",
        );
        assert_eq!(error.status(), expected, "{http_status}");
        assert_eq!(error.http_status(), Some(http_status));
        assert_eq!(error.server_code(), Some("some_code"), "{http_status}");
        assert!(error.message().contains("Some words"), "{error}");
        assert!(
            error.message().contains(&http_status.to_string()),
            "{error}"
        );
        assert_eq!(error.is_retryable(), expected != Rejected, "{http_status}");
        assert!(error.retry_after().is_some());

        // Another body changes nothing about an error, except that it is no rejection by the service.
        let expected = if expected == Rejected {
            Protocol
        } else {
            expected
        };
        if http_status >= 400 {
            let good = good_body("from.a.failure");
            for body in ["", "<html>gateway</html>", "Bad Gateway", "{", &good] {
                let error = refused(
                    attempt_with_response(&fixture, http_status, &[], body.as_bytes()),
                    body,
                );
                assert_eq!(error.status(), expected, "{http_status} {body}: {error}");
                assert_eq!(error.http_status(), Some(http_status));
            }
        }
    }
}

#[test]
fn the_documented_errors_have_their_status_and_code() {
    let fixture = Fixture::start();
    let missing = "Missing client_id, client_secret, brand, or integrator_id";
    let mismatch = "Integrator is in test mode. But brand is not in test mode";
    let table = [
        (Fault::Status400, Status::Rejected, 400, Some(missing)),
        (Fault::Status401, Status::Rejected, 401, None),
        (
            Fault::Status403,
            Status::Rejected,
            403,
            Some("Client is disabled"),
        ),
        (Fault::Status404, Status::Protocol, 404, Some("not_found")),
        (
            Fault::Status422,
            Status::Rejected,
            422,
            Some("unprocessable"),
        ),
        (
            Fault::Status429,
            Status::RateLimited,
            429,
            Some("rate_limit_exceeded"),
        ),
        (
            Fault::Status500,
            Status::Server,
            500,
            Some("internal_error"),
        ),
        (Fault::Status503, Status::Server, 503, Some("unavailable")),
        (
            Fault::Status504,
            Status::Server,
            504,
            Some("gateway_timeout"),
        ),
        (Fault::SuccessFalse, Status::Rejected, 200, Some(mismatch)),
    ];
    for (fault, expected, http_status, code) in table {
        fixture.sandbox.fail(fault.clone());
        let error = refused(attempt(&fixture), fault.name());
        assert_eq!(error.status(), expected, "{}", fault.name());
        assert_eq!(error.http_status(), Some(http_status));
        assert_eq!(error.server_code(), code);
    }
    fixture.sandbox.fail(Fault::Status502Html);
    let error = refused(attempt(&fixture), "502");
    assert_eq!(
        (error.status(), error.http_status()),
        (Status::Server, Some(502))
    );
    assert!(error.message().contains("web page"), "{error}");
}

#[test]
fn a_rejection_says_which_credential_is_wrong_and_what_to_do() {
    let fixture = Fixture::start();
    let good = [CLIENT_ID, CLIENT_SECRET, TEST_BRAND, TEST_INTEGRATOR];
    for (field, value, reason, part) in [
        (
            0,
            "wrong",
            Reason::Credentials,
            "the store's back office shows them",
        ),
        (
            1,
            "wrong",
            Reason::Credentials,
            "the store's back office shows them",
        ),
        (
            2,
            "wrong",
            Reason::Credentials,
            "the store's back office shows them",
        ),
        (3, "wrong", Reason::Integrator, "for every store"),
        (
            3,
            DISABLED_INTEGRATOR,
            Reason::Integrator,
            "for every store",
        ),
        (
            0,
            DISABLED_CLIENT,
            Reason::Disabled,
            "the store has to switch its access on",
        ),
        (
            2,
            PRODUCTION_BRAND,
            Reason::Environment,
            "one is for test, the other for production",
        ),
        (
            3,
            PRODUCTION_INTEGRATOR,
            Reason::Environment,
            "one is for test, the other for production",
        ),
    ] {
        let mut values = good;
        values[field] = value;
        let [client_id, secret, brand, integrator] = values;
        let credentials = Credentials::new(client_id, secret, brand, integrator).unwrap();
        let client = fixture.client_for(credentials, &config_with_one_attempt(&fixture));
        let error = failed(client.get_token(None));
        assert_eq!(error.status(), Status::Rejected, "{error}");
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.message().contains(part), "{error}");
    }
}

/// The headers of a 429 are tested in `tests/client/limits.rs`.
#[test]
fn the_retry_after_of_a_503_is_reported() {
    let fixture = Fixture::start();
    let body = br#"{"success":false,"error":"busy","message":"Later"}"#;
    let headers = [("retry-after", "20")];
    let error = refused(attempt_with_response(&fixture, 503, &headers, body), "busy");
    let wait = error.retry_after().unwrap();
    assert!((20 * SECOND..26 * SECOND).contains(&wait), "{wait:?}");
}

/// On a kept connection, where a request is otherwise sent again if the connection breaks.
#[test]
fn a_failure_whose_body_cannot_be_read_keeps_its_status_and_is_not_sent_again() {
    for (http_status, length, status) in [
        (429, 100, Status::RateLimited),
        (503, 100, Status::Server),
        (503, 100_000, Status::Server),
        (401, 100, Status::Protocol),
    ] {
        let fixture = Fixture::start();
        let client = fixture.client(&config_with_one_attempt(&fixture));
        client.get_token(None).unwrap();
        let head = format!(
            "HTTP/1.1 {http_status} X\r\nRetry-After: 20\r\nContent-Length: {length}\r\n\r\n<html>"
        );
        let steps = vec![Step::Send(head.into_bytes()), Step::Close];
        fixture.sandbox.fail(Fault::Request(steps));
        let error = refused(recorded(client.authenticate(None)), "cut");
        assert_eq!(error.status(), status, "{http_status}, {length}: {error}");
        assert_eq!(error.http_status(), Some(http_status));
        assert!(
            error.retry_after() >= Some(20 * SECOND) || http_status == 401,
            "{error}"
        );
        assert_eq!(fixture.requests(), 2, "{http_status}, {length}");
    }
}

fn is_one_clean_line(text: &str) -> bool {
    let is_bidi = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !text.chars().any(|c| c.is_control() || is_bidi(c))
}

#[test]
fn a_hostile_message_becomes_one_clean_short_line_without_the_secret() {
    let fixture = Fixture::start();
    fixture.sandbox.fail(Fault::MessageHostile);
    let error = refused(attempt(&fixture), "hostile");
    assert_eq!(error.status(), Status::Rejected);
    assert!(is_one_clean_line(error.message()), "{error:?}");
    assert!(error.message().contains("your secret is ***"), "{error}");
    let (_, theirs) = error.message().split_once("The service says: ").unwrap();
    assert!(theirs.len() <= 512, "{}", theirs.len());

    for (message, expected) in [
        // Control characters between its letters do not hide the secret.
        (CLIENT_SECRET.split_at(4), "***"),
        (("plain", "words"), "plainwords"),
        (("日本", "語"), "日本語"),
    ] {
        for between in ["", "\\u0000", "\\r\\n", "\\u001b", "\\u202e", "\\u0085"] {
            let text = format!("{}{between}{}", message.0, message.1);
            let body = format!(r#"{{"success":false,"error":"{text}","message":"{text}"}}"#);
            let error = refused(
                attempt_with_response(&fixture, 400, &[], body.as_bytes()),
                &text,
            );
            assert_eq!(error.server_code(), Some(expected), "{between}");
            assert!(error.message().ends_with(expected), "{error}");
            assert!(is_one_clean_line(error.message()));
        }
    }
    // Cut at 512 bytes, but not inside a character, and not so that a part of the secret remains.
    for (unit, len) in [("x", 512), ("é", 512), ("日", 510), ("🧾", 512)] {
        let text = unit.repeat(5000 / unit.len());
        let body = format!(r#"{{"success":false,"error":"{text}","message":"{text}"}}"#);
        let error = refused(
            attempt_with_response(&fixture, 400, &[], body.as_bytes()),
            unit,
        );
        assert_eq!(error.server_code().map(str::len), Some(len));
    }
    let text = format!("{}{CLIENT_SECRET}", "x".repeat(505));
    let body = format!(r#"{{"success":false,"message":"{text}"}}"#);
    let error = refused(
        attempt_with_response(&fixture, 400, &[], body.as_bytes()),
        "cut",
    );
    assert!(!error.message().contains(&CLIENT_SECRET[..5]), "{error}");
    // Values that are no texts.
    for other in ["null", "5", "{}", "[\"a\"]", "true", "\"\"", "\" \""] {
        let body = format!(r#"{{"success":false,"error":{other},"message":{other}}}"#);
        let error = refused(
            attempt_with_response(&fixture, 400, &[], body.as_bytes()),
            other,
        );
        assert_eq!(error.server_code(), None);
        assert_eq!(error.status(), Status::Rejected);
    }
}
