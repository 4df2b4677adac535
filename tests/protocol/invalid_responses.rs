//! Responses that are refused, and the reason in the message.

use super::*;

#[test]
fn every_invalid_response_is_refused_with_its_reason() {
    use Status::{Connect, Protocol};
    let complete: &[(Fault, Status, &str)] = &[
        (Fault::BodyEmpty, Protocol, "the body is empty"),
        (Fault::BodyTruncatedJson, Protocol, "truncated"),
        (Fault::BodyWrongLength, Protocol, "truncated"),
        (Fault::BodyGarbage, Protocol, "not JSON"),
        (Fault::BodyHtml, Protocol, "captive portal"),
        (Fault::BodyBom, Protocol, "byte order mark"),
        (Fault::BodyGzip, Protocol, "compressed"),
        (Fault::BodyOversize, Protocol, "larger than 64 KiB"),
        (Fault::BodyEndless, Protocol, "larger than 64 KiB"),
        (Fault::DuplicateKeys, Protocol, "duplicate field"),
        (
            Fault::ExpiresHuge,
            Protocol,
            "\"expires_in\" is not an integer",
        ),
        (
            Fault::ExpiresFraction,
            Protocol,
            "\"expires_in\" is not an integer",
        ),
        (Fault::ExpiresNegative, Protocol, "missing or not positive"),
        (Fault::ExpiresZero, Protocol, "missing or not positive"),
        (Fault::ExpiresMissing, Protocol, "missing or not positive"),
        (Fault::TokenMissing, Protocol, "\"token\" is missing"),
        (Fault::TokenEmpty, Protocol, "visible ASCII"),
        (Fault::TokenNul, Protocol, "visible ASCII"),
        (Fault::TokenCrlf, Protocol, "visible ASCII"),
        (Fault::TokenSpace, Protocol, "visible ASCII"),
        (Fault::TokenNumber, Protocol, "visible ASCII"),
        (Fault::TokenOversize, Protocol, "1 to 8192"),
        (Fault::SuccessMissing, Protocol, "\"success\" is missing"),
        (Fault::SuccessString, Protocol, "neither true nor false"),
    ];
    // No complete response came, so there is no HTTP status.
    let broken: &[(Fault, Status, &str)] = &[
        (Fault::BodyTruncated, Connect, "broke before"),
        (Fault::BodyReset, Connect, "broke before"),
        (Fault::HeadersTruncated, Connect, "broke before"),
        (Fault::HeadersReset, Connect, "broke before"),
        (Fault::RequestClose, Connect, "broke before"),
        (Fault::RequestReset, Connect, "broke before"),
        (Fault::StatusGarbage, Protocol, "not HTTP"),
        (
            Fault::HeadersOversize,
            Protocol,
            "headers are larger than 16 KiB",
        ),
    ];
    for fixture in [Fixture::start(), Fixture::with_tls()] {
        for (faults, http_status) in [(complete, Some(200)), (broken, None)] {
            for (fault, expected, reason) in faults {
                fixture.sandbox.fail(fault.clone());
                let error = refused(attempt(&fixture), fault.name());
                let case = format!("{}: {error}", fault.name());
                assert_eq!(error.status(), *expected, "{case}");
                assert_eq!(error.http_status(), http_status, "{case}");
                assert!(error.message().contains(reason), "{case}");
                assert!(error.message().contains(HOST), "{case}");
            }
        }
    }
}

#[test]
fn json_that_is_no_valid_response_is_refused() {
    let fixture = Fixture::start();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_token = good_body("x").replace("\"x\"", &deep);
    let table: [(&str, &str); 16] = [
        ("null", "not an object"),
        ("[]", "not an object"),
        ("\"text\"", "not an object"),
        ("5", "not an object"),
        ("{}", "\"success\" is missing"),
        (r#"{"success":null}"#, "\"success\""),
        (r#"{"success":1}"#, "neither true nor false"),
        (
            r#"[true,"a.b.c","Bearer",3600,1793939000]"#,
            "not an object",
        ),
        (r#"{"success":true}"#, "\"token\" is missing"),
        (r#"{"success":true,"success":false}"#, "duplicate field"),
        (r#"{"success":true} {"success":true}"#, "not JSON"),
        (r#"{"success":true,}"#, "not JSON"),
        (r#"{"Success":true,"Token":"a"}"#, "\"success\" is missing"),
        ("{\"success\":true,\"token\":\"a\nb\"}", "not JSON"),
        (&deep, "JSON"),
        (&deep_token, "\"token\" is not a string"),
    ];
    for (body, reason) in table {
        let error = refused(
            attempt_with_response(&fixture, 200, &[], body.as_bytes()),
            body,
        );
        assert_eq!(error.status(), Status::Protocol, "{error}");
        assert!(error.message().contains(reason), "{error}");
        assert!(error.message().len() < 300, "{error}");
    }
    // Tokens that cannot be sent in a header.
    for token in [
        r"a\nb",
        r"a\u0000b",
        r"a\u000d\u000ax-evil: 1",
        r"a\tb",
        r"a\u0020b",
        r"a\u007fb",
        r"a\u00e9b",
        "aéb",
        r"\ud83d\ude00",
        r"\ud800",
        r"a\u004",
        "\u{7f}",
    ] {
        let error = refused(
            attempt_with_response(&fixture, 200, &[], good_body(token).as_bytes()),
            token,
        );
        assert_eq!(error.status(), Status::Protocol, "{error}");
    }
    // Not UTF-8, in a known and in an unknown field.
    for field in ["token", "other"] {
        let mut body = format!(r#"{{"success":true,"{field}":"a"#).into_bytes();
        body.extend_from_slice(b"\xff\xfe\"}");
        let error = refused(attempt_with_response(&fixture, 200, &[], &body), field);
        assert_eq!(error.status(), Status::Protocol, "{error}");
    }
}

#[test]
fn bytes_that_are_no_http_are_refused() {
    let fixture = Fixture::start();
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(2_000));
    for raw in [
        "\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 2OO OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
        "<html>",
        &long,
        &many,
    ] {
        fixture.sandbox.fail(Fault::Raw(raw.into()));
        let (result, took) = timed(|| attempt(&fixture));
        let error = refused(result, raw);
        let statuses = [Status::Protocol, Status::Connect];
        assert!(statuses.contains(&error.status()), "{raw:.60}: {error}");
        assert!(took < 5 * SECOND, "{raw:.60}: {took:?}");
    }
}

#[test]
fn a_limit_that_a_valid_response_may_exceed_is_named_in_the_message() {
    let fixture = Fixture::start();
    let body = good_body("at.the.limit");
    let length = body.len();
    let response = |fields: usize, line: &str| {
        let fields: String = (1..fields).map(|n| format!("X-{n}: a\r\n")).collect();
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
        let response = format!("{head}{length:x}{line}\r\n{body}\r\n0\r\n\r\n");
        fixture.sandbox.fail(Fault::Raw(response.into_bytes()));
        attempt(&fixture)
    };
    let extension =
        |bytes: usize| format!(";{}", "x".repeat(bytes - 1 - format!("{length:x}").len()));
    assert!(response(128, &extension(20)).is_ok());
    for (result, limit) in [
        (response(129, ""), "over 128 header fields"),
        (response(2, &extension(21)), "over 20 bytes"),
    ] {
        let error = refused(result, limit);
        assert_eq!(error.status(), Status::Protocol, "{error}");
        assert!(error.message().contains(limit), "{error}");
    }
}

#[test]
fn a_truncated_body_without_a_length_is_refused_even_if_it_is_complete_json() {
    let response = format!("HTTP/1.1 200 OK\r\n\r\n{}", good_body("cut.off"));
    let send = Step::Send(response.into_bytes());
    let wait = Step::Sleep(50 * MS);
    let reset = vec![wait, Step::Reset];
    for (with_tls, end, is_complete) in [
        (true, vec![Step::Close], true),
        // Without close_notify, an attacker on the network may have ended the connection.
        (true, vec![], false),
        (true, reset.clone(), false),
        (false, vec![], true),
        (false, reset, false),
    ] {
        let fixture = if with_tls {
            Fixture::with_tls()
        } else {
            Fixture::start()
        };
        let steps = [send.clone()].iter().chain(&end).cloned().collect();
        fixture.sandbox.fail(Fault::Request(steps));
        let result = attempt(&fixture);
        if is_complete {
            assert_eq!(result.unwrap().value(), "cut.off");
        } else {
            let error = refused(result, "truncated");
            assert_eq!(error.status(), Status::Connect, "{end:?}: {error}");
        }
    }
}

#[test]
fn a_transfer_encoding_other_than_chunked_is_refused() {
    let fixture = Fixture::start();
    let body = good_body("in.chunks");
    for (encoding, is_accepted) in [
        ("chunked", true),
        ("Chunked", true),
        ("gzip, chunked", false),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {encoding}\r\n\r\n");
        let response = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        fixture.sandbox.fail(Fault::Raw(response.into_bytes()));
        match attempt(&fixture) {
            Ok(token) => assert!(is_accepted && token.value() == "in.chunks"),
            Err(error) => {
                assert!(!is_accepted, "{error}");
                assert_eq!(error.status(), Status::Protocol);
                assert!(error.message().contains("Transfer-Encoding"), "{error}");
            }
        }
    }
}
