//! Responses that become a token.

use super::*;

#[test]
fn a_good_response_becomes_a_token() {
    let fixture = Fixture::with_tls();
    let token = attempt(&fixture).unwrap();
    assert_eq!(token.value(), fixture.sandbox.issued_tokens()[0]);
    assert_eq!(token.token_type(), "Bearer");
    assert!(token.expires_in() <= HOUR && token.expires_in() > HOUR - 5 * SECOND);
}

#[test]
fn tokens_of_one_to_8192_visible_characters_are_accepted() {
    let fixture = Fixture::start();
    let all: String = (b'!'..=b'~').map(char::from).collect();
    let escaped = all.replace('\\', "\\\\").replace('"', "\\\"");
    for (given, expected) in [
        ("x".to_owned(), "x".to_owned()),
        ("a".repeat(8192), "a".repeat(8192)),
        (escaped, all),
        (r"a\/b\u0041\u007e".to_owned(), "a/bA~".to_owned()),
    ] {
        let token =
            attempt_with_response(&fixture, 200, &[], good_body(&given).as_bytes()).unwrap();
        assert_eq!(token.value(), expected);
        assert!(!format!("{token:?}").contains(&expected) || expected == "x");
    }
}

#[test]
fn a_response_of_64_kib_is_accepted_and_one_byte_more_is_refused() {
    let fixture = Fixture::start();
    let body = good_body("the.long.one");
    for chunked in [false, true] {
        let response = |size: usize| {
            let padding = "x".repeat(size - body.len() - r#","padding":"""#.len());
            let body = body.replace('}', &format!(r#","padding":"{padding}"}}"#));
            assert_eq!(body.len(), size);
            fixture.sandbox.fail(Fault::Raw(if chunked {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                format!("{head}{size:x}\r\n{body}\r\n0\r\n\r\n").into_bytes()
            } else {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: ";
                format!("{head}{size}\r\n\r\n{body}").into_bytes()
            }));
            attempt(&fixture)
        };
        assert_eq!(response(65_536).unwrap().value(), "the.long.one");
        let error = refused(response(65_537), "64 KiB + 1");
        assert_eq!(error.status(), Status::Protocol);
        assert_eq!(error.http_status(), Some(200));
        assert!(error.message().contains("larger than 64 KiB"), "{error}");
    }
}

#[test]
fn unknown_fields_and_the_order_of_fields_do_not_matter() {
    let fixture = Fixture::start();
    let body = r#" { "new": {"deep": [1, 2, {"a": null}]}, "expires_at": 1793939000, "venues": [],
        "expires_in": 60, "token": "t.o.k", "message": 5, "success": true, "error": null }
        "#;
    let token = attempt_with_response(
        &fixture,
        200,
        &[("content-type", "text/plain")],
        body.as_bytes(),
    )
    .unwrap();
    assert_eq!(token.value(), "t.o.k");
    assert_eq!(token.token_type(), "Bearer");
    assert!(attempt_with_response(&fixture, 201, &[], body.as_bytes()).is_ok());
    fixture.sandbox.fail(Fault::NumbersAsStrings);
    assert!(attempt(&fixture).is_ok());
    // An unknown field with ten thousand nested arrays.
    fixture.sandbox.fail(Fault::Nesting);
    assert!(attempt(&fixture).is_ok());
}

#[test]
fn a_body_in_small_chunks_or_without_a_length_is_accepted() {
    let fixture = Fixture::start();
    let body = good_body("in.pieces");
    let chunks: String = body.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    for raw in [
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}"),
        format!("HTTP/1.0 200 OK\r\n\r\n{body}"),
        format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    ] {
        fixture.sandbox.fail(Fault::Raw(raw.clone().into_bytes()));
        let token = attempt(&fixture).unwrap_or_else(|error| panic!("{raw:.70}: {error}"));
        assert_eq!(token.value(), "in.pieces");
    }
}

#[test]
fn interim_responses_and_folded_fields_are_accepted_at_once_or_byte_by_byte() {
    for fixture in [Fixture::start(), Fixture::with_tls()] {
        let body = good_body("after.an.interim");
        let length = body.len();
        let response = format!(
            "HTTP/1.1 100 Continue\r\nServer: a\r\nX: b\r\n c\r\n\r\n\
             HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
             HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\n\tc\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let response = response.into_bytes();
        let at_once = vec![Step::Send(response.clone()), Step::Close];
        let byte_by_byte = vec![Step::Drip(response, Duration::ZERO), Step::Close];
        for steps in [at_once, byte_by_byte] {
            fixture.sandbox.fail(Fault::Request(steps));
            assert_eq!(attempt(&fixture).unwrap().value(), "after.an.interim");
        }
        // Without a final response.
        let alone = b"HTTP/1.1 100 Continue\r\nServer: a\r\n\r\n".to_vec();
        fixture.sandbox.fail(Fault::Raw(alone));
        let error = refused(attempt(&fixture), "an interim response alone");
        assert_eq!(error.status(), Status::Connect, "{error}");
    }
}
