//! One exchange on the wire: what is sent, what is accepted, and how everything else is refused.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use clopos_auth::{Config, Credentials, Error, Reason, Status, Token};
use clopos_sandbox::{
    AUTH_PATH, CLIENT_ID, CLIENT_SECRET, DISABLED_CLIENT, DISABLED_INTEGRATOR, Fault,
    PRODUCTION_BRAND, PRODUCTION_INTEGRATOR, Recorded, Sandbox, Step, TEST_BRAND, TEST_INTEGRATOR,
    UNICODE_BRAND,
};

use support::*;

const HOST: &str = "localhost:";

/// What one attempt of a new client comes to.
fn attempt(bench: &Bench) -> Result<Token, Error> {
    noted(bench.client(&single(bench)).get_token(None))
}

fn single(bench: &Bench) -> Config {
    let mut config = bench.config();
    config.set_max_attempts(1).unwrap();
    config
}

/// What it comes to if the service answers with this.
fn answered(
    bench: &Bench,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Token, Error> {
    let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    bench.sandbox.fail(Fault::Response {
        status,
        headers: headers.iter().map(own).collect(),
        body: body.to_vec(),
    });
    attempt(bench)
}

fn refused(result: Result<Token, Error>, case: &str) -> Error {
    match result {
        Ok(token) => panic!("{case}: accepted, {token:?}"),
        Err(error) => error,
    }
}

fn good_body(token: &str) -> String {
    format!(
        r#"{{"success":true,"token":"{token}","token_type":"Bearer","expires_in":3600,"expires_at":1793939000}}"#
    )
}

// ---------------------------------------------------------------------------------------------
// What is sent

fn header<'a>(request: &'a Recorded, name: &str) -> &'a str {
    let mut values = request.headers.iter().filter(|(n, _)| n == name);
    let value = values.next().map_or("", |(_, value)| value);
    assert!(values.next().is_none(), "{name} stands twice");
    value
}

#[test]
fn the_request_is_one_post_with_the_headers_that_it_needs_and_no_other() {
    for bench in [Bench::start(), Bench::with_tls()] {
        attempt(&bench).unwrap();
        let request = bench.sandbox.last_request().unwrap();
        assert_eq!(request.method, "POST");
        assert_eq!(request.path, AUTH_PATH);
        let headers: BTreeMap<_, _> = request.headers.iter().cloned().collect();
        assert_eq!(headers.len(), request.headers.len());
        let expected = [
            ("accept", "application/json".to_owned()),
            ("accept-encoding", "identity".to_owned()),
            ("content-length", request.body.len().to_string()),
            ("content-type", "application/json".to_owned()),
            ("host", format!("{HOST}{}", bench.sandbox.port())),
            (
                "user-agent",
                format!("libclopos_auth/{}", env!("CARGO_PKG_VERSION")),
            ),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(headers, BTreeMap::from(expected));
    }
}

#[test]
fn the_body_has_the_four_texts_once_and_nothing_else() {
    let bench = Bench::start();
    attempt(&bench).unwrap();
    let request = bench.sandbox.last_request().unwrap();
    let expected = format!(
        r#"{{"client_id":"{CLIENT_ID}","client_secret":"{CLIENT_SECRET}","brand":"{TEST_BRAND}","integrator_id":"{TEST_INTEGRATOR}"}}"#
    );
    assert_eq!(String::from_utf8(request.body).unwrap(), expected);
}

#[test]
fn texts_arrive_as_they_were_given_whatever_is_in_them() {
    let bench = Bench::start();
    let longest = "\"\\".repeat(512);
    let table = [
        r#"quote " backslash \ slash / brace } comma , end"#,
        "çay-evi Ünïcödé ÀÉÎÕÜ",
        "日本語 العربية עברית",
        "emoji 🧾☕️👩‍🍳 and \u{10FFFF}",
        "'; DROP TABLE tills; --",
        " spaces around ",
        "\u{2028}line\u{2029}separators",
        &longest,
    ];
    for text in table {
        let credentials = Credentials::new(text, text, text, text).unwrap();
        let client = bench.client_for(credentials, &single(&bench));
        assert_eq!(status(client.get_token(None)), Status::Rejected);
        let request = bench.sandbox.last_request().unwrap();
        let body: BTreeMap<String, String> = serde_json::from_slice(&request.body).unwrap();
        let fields = ["brand", "client_id", "client_secret", "integrator_id"];
        let expected = fields.map(|field| (field.to_owned(), text.to_owned()));
        assert_eq!(body, BTreeMap::from(expected));
        assert_eq!(
            header(&request, "content-length"),
            request.body.len().to_string()
        );
    }
    let credentials =
        Credentials::new(CLIENT_ID, CLIENT_SECRET, UNICODE_BRAND, TEST_INTEGRATOR).unwrap();
    let client = bench.client_for(credentials, &single(&bench));
    assert_eq!(status(client.get_token(None)), Status::Ok);
}

#[test]
fn the_host_program_may_name_itself_and_the_service_may_have_a_prefix() {
    let bench = Bench::start();
    let mut config = single(&bench);
    config
        .set_user_agent("TillPro/7.2 (kiosk)")
        .and_then(|config| config.set_base_url(&format!("{}/gateway/", bench.sandbox.url())))
        .unwrap();
    let error = failed(bench.client(&config).get_token(None));
    assert_eq!(error.http_status(), Some(404));
    let request = bench.sandbox.last_request().unwrap();
    assert_eq!(request.path, "/gateway/open-api/v2/auth");
    let own = format!(
        "TillPro/7.2 (kiosk) libclopos_auth/{}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(header(&request, "user-agent"), own);
}

#[test]
fn the_request_goes_to_the_path_that_is_set() {
    let bench = Bench::with(|settings| settings.auth_path = "/gateway/v3/sign-in".into());
    for (prefix, path) in [
        ("", "/gateway/v3/sign-in"),
        ("/", "/gateway/v3/sign-in"),
        ("/gateway", "/v3/sign-in"),
        ("/gateway/", "/v3/sign-in"),
    ] {
        let mut config = single(&bench);
        config
            .set_base_url(&format!("{}{prefix}", bench.sandbox.url()))
            .and_then(|config| config.set_auth_path(path))
            .unwrap();
        noted(bench.client(&config).get_token(None)).unwrap();
        let request = bench.sandbox.last_request().unwrap();
        assert_eq!(request.path, "/gateway/v3/sign-in");
    }
}

#[test]
fn no_path_leads_to_another_host() {
    let (bench, thief) = (Bench::start(), Bench::start());
    let port = thief.sandbox.port();
    let mut sent = 0;
    for path in [
        format!("//127.0.0.1:{port}/"),
        format!("/\\127.0.0.1:{port}/"),
        format!("\\\\127.0.0.1:{port}/"),
        format!("@127.0.0.1:{port}/"),
        format!(":pass@127.0.0.1:{port}/"),
        format!(".127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}/"),
        format!("/@127.0.0.1:{port}/"),
        format!("/..//127.0.0.1:{port}/"),
        format!("/.//127.0.0.1:{port}/"),
        format!("/%2f127.0.0.1:{port}/"),
        format!("/http://127.0.0.1:{port}/"),
        format!("/\t/127.0.0.1:{port}/"),
    ] {
        let mut config = single(&bench);
        if let Err(error) = config.set_auth_path(&path) {
            assert_eq!(error.status(), Status::InvalidArgument, "{path}");
            continue;
        }
        let error = failed(noted(bench.client(&config).get_token(None)));
        assert_eq!(error.http_status(), Some(404), "{path}");
        assert_eq!(bench.sandbox.last_request().unwrap().path, path);
        sent += 1;
    }
    assert_eq!(sent, 5);
    assert_eq!(thief.sandbox.connections(), 0);
}

#[test]
fn the_longest_settings_that_are_taken_reach_the_service() {
    let bench = Bench::start();
    let mut config = single(&bench);
    let mut url = bench.sandbox.url() + "/";
    url += &"a".repeat(2048 - url.len());
    config
        .set_user_agent(&"t".repeat(256))
        .and_then(|config| config.set_base_url(&url))
        .and_then(|config| config.set_auth_path(&format!("/{}", "p".repeat(255))))
        .unwrap();
    let longest = "\"\\".repeat(512);
    let credentials = Credentials::new(&longest, &longest, &longest, &longest).unwrap();
    let error = failed(bench.client_for(credentials, &config).get_token(None));
    assert_eq!(error.http_status(), Some(404));
    let request = bench.sandbox.last_request().unwrap();
    let (prefix, path) = request.path.rsplit_once('/').unwrap();
    assert!(url.ends_with(prefix) && prefix.ends_with("aaa"));
    assert_eq!(path.len(), 255);
    assert!(request.body.len() > 8192);
}

// ---------------------------------------------------------------------------------------------
// What is accepted

#[test]
fn a_good_answer_is_handed_on_as_it_is() {
    let bench = Bench::with_tls();
    let token = attempt(&bench).unwrap();
    assert_eq!(token.value(), bench.sandbox.issued_tokens()[0]);
    assert_eq!(token.token_type(), "Bearer");
    assert!(token.expires_in() <= HOUR && token.expires_in() > HOUR - 5 * SECOND);
}

#[test]
fn tokens_of_one_to_8192_visible_characters_are_accepted() {
    let bench = Bench::start();
    let all: String = (b'!'..=b'~').map(char::from).collect();
    let escaped = all.replace('\\', "\\\\").replace('"', "\\\"");
    for (given, expected) in [
        ("x".to_owned(), "x".to_owned()),
        ("a".repeat(8192), "a".repeat(8192)),
        (escaped, all),
        (r"a\/b\u0041\u007e".to_owned(), "a/bA~".to_owned()),
    ] {
        let token = answered(&bench, 200, &[], good_body(&given).as_bytes()).unwrap();
        assert_eq!(token.value(), expected);
        assert!(!format!("{token:?}").contains(&expected) || expected == "x");
    }
}

#[test]
fn an_answer_of_exactly_64_kib_is_read_and_one_byte_more_is_not() {
    let bench = Bench::start();
    let body = good_body("the.long.one");
    for chunked in [false, true] {
        let answer = |size: usize| {
            let padding = "x".repeat(size - body.len() - r#","padding":"""#.len());
            let body = body.replace('}', &format!(r#","padding":"{padding}"}}"#));
            assert_eq!(body.len(), size);
            bench.sandbox.fail(Fault::Raw(if chunked {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                format!("{head}{size:x}\r\n{body}\r\n0\r\n\r\n").into_bytes()
            } else {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: ";
                format!("{head}{size}\r\n\r\n{body}").into_bytes()
            }));
            attempt(&bench)
        };
        assert_eq!(answer(65_536).unwrap().value(), "the.long.one");
        let error = refused(answer(65_537), "64 KiB + 1");
        assert_eq!(error.status(), Status::Protocol);
        assert_eq!(error.http_status(), Some(200));
        assert!(error.message().contains("larger than 64 KiB"), "{error}");
    }
}

#[test]
fn fields_that_are_not_known_do_not_matter_nor_does_their_order() {
    let bench = Bench::start();
    let body = r#" { "new": {"deep": [1, 2, {"a": null}]}, "expires_at": 1793939000, "venues": [],
        "expires_in": 60, "token": "t.o.k", "message": 5, "success": true, "error": null }
        "#;
    let token = answered(
        &bench,
        200,
        &[("content-type", "text/plain")],
        body.as_bytes(),
    )
    .unwrap();
    assert_eq!(token.value(), "t.o.k");
    assert_eq!(token.token_type(), "Bearer");
    assert!(answered(&bench, 201, &[], body.as_bytes()).is_ok());
    bench.sandbox.fail(Fault::NumbersAsStrings);
    assert!(attempt(&bench).is_ok());
    // Ten thousand arrays in each other stand in a field that nobody reads.
    bench.sandbox.fail(Fault::Nesting);
    assert!(attempt(&bench).is_ok());
}

// ---------------------------------------------------------------------------------------------
// What is refused

#[test]
fn every_answer_that_is_not_one_of_the_service_is_refused_and_the_message_says_why() {
    use Status::{Connect, Protocol};
    let table = [
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
    for bench in [Bench::start(), Bench::with_tls()] {
        for (fault, expected, reason) in &table {
            bench.sandbox.fail(fault.clone());
            let error = refused(attempt(&bench), fault.name());
            let case = format!("{}: {error}", fault.name());
            assert_eq!(error.status(), *expected, "{case}");
            assert_eq!(error.http_status(), Some(200), "{case}");
            assert!(error.message().contains(reason), "{case}");
            assert!(error.message().contains(HOST), "{case}");
        }
        // No whole response came, so there is no HTTP status.
        for (fault, expected, reason) in [
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
        ] {
            bench.sandbox.fail(fault.clone());
            let error = refused(attempt(&bench), fault.name());
            let case = format!("{}: {error}", fault.name());
            assert_eq!(error.status(), expected, "{case}");
            assert_eq!(error.http_status(), None, "{case}");
            assert!(error.message().contains(reason), "{case}");
            assert!(error.message().contains(HOST), "{case}");
        }
    }
}

#[test]
fn bodies_that_are_json_but_no_answer_are_refused() {
    let bench = Bench::start();
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
        let error = refused(answered(&bench, 200, &[], body.as_bytes()), body);
        assert_eq!(error.status(), Status::Protocol, "{error}");
        assert!(error.message().contains(reason), "{error}");
        assert!(error.message().len() < 300, "{error}");
    }
    // Escapes and bytes that would end up in a header.
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
            answered(&bench, 200, &[], good_body(token).as_bytes()),
            token,
        );
        assert_eq!(error.status(), Status::Protocol, "{error}");
    }
    // Not UTF-8, in a field that is read and in one that is not.
    for field in ["token", "other"] {
        let mut body = format!(r#"{{"success":true,"{field}":"a"#).into_bytes();
        body.extend_from_slice(b"\xff\xfe\"}");
        let error = refused(answered(&bench, 200, &[], &body), field);
        assert_eq!(error.status(), Status::Protocol, "{error}");
    }
}

#[test]
fn raw_bytes_that_are_no_http_are_refused() {
    let bench = Bench::start();
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
        bench.sandbox.fail(Fault::Raw(raw.into()));
        let (result, took) = timed(|| attempt(&bench));
        let error = refused(result, raw);
        let statuses = [Status::Protocol, Status::Connect];
        assert!(statuses.contains(&error.status()), "{raw:.60}: {error}");
        assert!(took < 5 * SECOND, "{raw:.60}: {took:?}");
    }
}

#[test]
fn an_answer_in_small_chunks_or_until_the_close_is_as_good_as_another() {
    let bench = Bench::start();
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
        bench.sandbox.fail(Fault::Raw(raw.clone().into_bytes()));
        let token = attempt(&bench).unwrap_or_else(|error| panic!("{raw:.70}: {error}"));
        assert_eq!(token.value(), "in.pieces");
    }
}

#[test]
fn interim_responses_and_folded_fields_are_read_however_they_arrive() {
    for bench in [Bench::start(), Bench::with_tls()] {
        let body = good_body("after.an.interim");
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 100 Continue\r\nServer: a\r\nX: b\r\n c\r\n\r\n\
             HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
             HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\n\tc\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let answer = answer.into_bytes();
        let once = vec![Step::Send(answer.clone()), Step::Close];
        let in_drops = vec![Step::Drip(answer, Duration::ZERO), Step::Close];
        for steps in [once, in_drops] {
            bench.sandbox.fail(Fault::Request(steps));
            assert_eq!(attempt(&bench).unwrap().value(), "after.an.interim");
        }
        // An answer is still missing.
        let alone = b"HTTP/1.1 100 Continue\r\nServer: a\r\n\r\n".to_vec();
        bench.sandbox.fail(Fault::Raw(alone));
        let error = refused(attempt(&bench), "an interim response alone");
        assert_eq!(error.status(), Status::Connect, "{error}");
    }
}

#[test]
fn a_limit_that_a_legal_answer_may_exceed_is_named_in_the_message() {
    let bench = Bench::start();
    let body = good_body("at.the.limit");
    let length = body.len();
    let answer = |fields: usize, line: &str| {
        let fields: String = (1..fields).map(|n| format!("X-{n}: a\r\n")).collect();
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
        let answer = format!("{head}{length:x}{line}\r\n{body}\r\n0\r\n\r\n");
        bench.sandbox.fail(Fault::Raw(answer.into_bytes()));
        attempt(&bench)
    };
    let extension =
        |bytes: usize| format!(";{}", "x".repeat(bytes - 1 - format!("{length:x}").len()));
    assert!(answer(128, &extension(20)).is_ok());
    for (result, limit) in [
        (answer(129, ""), "over 128 header fields"),
        (answer(2, &extension(21)), "over 20 bytes"),
    ] {
        let error = refused(result, limit);
        assert_eq!(error.status(), Status::Protocol, "{error}");
        assert!(error.message().contains(limit), "{error}");
    }
}

#[test]
fn a_body_without_a_length_that_was_cut_off_is_refused_even_if_it_is_whole_json() {
    let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}", good_body("cut.off"));
    let send = Step::Send(answer.into_bytes());
    let wait = Step::Sleep(50 * MS);
    let reset = vec![wait, Step::Reset];
    for (with_tls, end, is_whole) in [
        (true, vec![Step::Close], true),
        // Without close_notify, anyone on the way may have ended the connection.
        (true, vec![], false),
        (true, reset.clone(), false),
        (false, vec![], true),
        (false, reset, false),
    ] {
        let bench = if with_tls {
            Bench::with_tls()
        } else {
            Bench::start()
        };
        let steps = [send.clone()].iter().chain(&end).cloned().collect();
        bench.sandbox.fail(Fault::Request(steps));
        let result = attempt(&bench);
        if is_whole {
            assert_eq!(result.unwrap().value(), "cut.off");
        } else {
            let error = refused(result, "truncated");
            assert_eq!(error.status(), Status::Connect, "{end:?}: {error}");
        }
    }
}

#[test]
fn a_token_in_a_transfer_encoding_that_was_not_asked_for_is_refused() {
    let bench = Bench::start();
    let body = good_body("in.chunks");
    for (encoding, is_read) in [
        ("chunked", true),
        ("Chunked", true),
        ("gzip, chunked", false),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {encoding}\r\n\r\n");
        let answer = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        bench.sandbox.fail(Fault::Raw(answer.into_bytes()));
        match attempt(&bench) {
            Ok(token) => assert!(is_read && token.value() == "in.chunks"),
            Err(error) => {
                assert!(!is_read, "{error}");
                assert_eq!(error.status(), Status::Protocol);
                assert!(error.message().contains("Transfer-Encoding"), "{error}");
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Redirects

#[test]
fn no_redirect_is_followed_so_no_other_host_ever_sees_the_secret() {
    let thief = Bench::start();
    let tls_thief = Bench::with_tls();
    for bench in [Bench::start(), Bench::with_tls()] {
        for target in [&thief, &tls_thief, &bench] {
            let to = format!("{}{AUTH_PATH}", target.sandbox.url());
            bench.sandbox.update(|settings| settings.redirect_to = to);
            for (fault, http_status) in [
                (Fault::Redirect301, 301),
                (Fault::Redirect302, 302),
                (Fault::Redirect307, 307),
                (Fault::Redirect308, 308),
            ] {
                let before = bench.requests();
                bench.sandbox.fail(fault);
                let error = refused(attempt(&bench), "redirect");
                assert_eq!(error.status(), Status::Protocol);
                assert_eq!(error.http_status(), Some(http_status));
                let words = format!(
                    "redirects {AUTH_PATH} to {}{AUTH_PATH}",
                    target.sandbox.url()
                );
                assert!(error.message().contains(&words), "{error}");
                assert_eq!(bench.requests(), before + 1);
            }
        }
    }
    assert_eq!(thief.sandbox.connections(), 0);
    assert_eq!(tls_thief.sandbox.connections(), 0);
}

#[test]
fn a_redirect_that_carries_a_good_answer_is_still_none() {
    let bench = Bench::start();
    let headers = [("location", "https://example.com/")];
    for http_status in [300, 303, 304, 399] {
        let body = good_body("from.a.redirect");
        let error = refused(
            answered(&bench, http_status, &headers, body.as_bytes()),
            "redirect",
        );
        assert_eq!(error.status(), Status::Protocol, "{error}");
    }
}

#[test]
fn a_sign_in_that_has_moved_is_an_error_that_says_where_and_what_to_set() {
    let moved_to = |location| answered_moved(308, &[("location", location)]);
    for (error, words) in [
        (
            answered_moved(404, &[]),
            "has no sign-in at /open-api/v2/auth",
        ),
        (
            answered_moved(410, &[]),
            "has no sign-in at /open-api/v2/auth",
        ),
        (
            moved_to("/v3/auth"),
            "redirects /open-api/v2/auth to /v3/auth (HTTP 308, moved)",
        ),
        (
            moved_to("https://open-api.clopos.com/auth?session=5e55#top"),
            "redirects /open-api/v2/auth to https://open-api.clopos.com/auth (HTTP 308, moved)",
        ),
        // As Java servers have it.
        (
            moved_to("http://portal.example/login;jsessionid=5e55"),
            "to http://portal.example/login (HTTP",
        ),
        // What may hold a password or the secret is not shown.
        (
            moved_to("https://user:5e55@host/"),
            "to another place (HTTP",
        ),
        (moved_to("?5e55"), "to another place (HTTP"),
        (
            moved_to(&format!("https://host/{CLIENT_SECRET}")),
            "to https://host/*** (HTTP",
        ),
    ] {
        assert_eq!(error.status(), Status::Protocol, "{error}");
        let text = error.message();
        assert!(text.contains(words) && text.contains("auth_path"), "{text}");
        assert!(!text.contains("5e55"), "{text}");
    }
}

/// The same for the service's JSON and for a web page.
fn answered_moved(http_status: u16, headers: &[(&str, &str)]) -> Error {
    let bench = Bench::start();
    let json = br#"{"success":false,"error":"moved"}"#;
    let page = refused(answered(&bench, http_status, headers, b"<html>"), "a page");
    let error = refused(answered(&bench, http_status, headers, json), "JSON");
    assert_eq!(error.server_code(), Some("moved"));
    assert_eq!(error.http_status(), Some(http_status));
    let plain = error.message().replacen(", moved", "", 1);
    assert!(page.message().starts_with(&plain), "{page}");
    assert!(page.message().contains("web page"), "{page}");
    error
}

// ---------------------------------------------------------------------------------------------
// Failures that the service reports

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
    let bench = Bench::start();
    for (http_status, expected) in table {
        let body = br#"{"success":false,"error":"some_code","message":"Some words"}"#;
        let error = refused(answered(&bench, http_status, &[], body), "failure");
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

        // What is not JSON, or claims success, changes nothing about a failure, but that it is not the
        // service that refuses.
        let expected = if expected == Rejected {
            Protocol
        } else {
            expected
        };
        if http_status >= 400 {
            let good = good_body("from.a.failure");
            for body in ["", "<html>gateway</html>", "Bad Gateway", "{", &good] {
                let error = refused(answered(&bench, http_status, &[], body.as_bytes()), body);
                assert_eq!(error.status(), expected, "{http_status} {body}: {error}");
                assert_eq!(error.http_status(), Some(http_status));
            }
        }
    }
}

#[test]
fn the_documented_failures_come_with_their_code_and_words() {
    let bench = Bench::start();
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
        bench.sandbox.fail(fault.clone());
        let error = refused(attempt(&bench), fault.name());
        assert_eq!(error.status(), expected, "{}", fault.name());
        assert_eq!(error.http_status(), Some(http_status));
        assert_eq!(error.server_code(), code);
    }
    bench.sandbox.fail(Fault::Status502Html);
    let error = refused(attempt(&bench), "502");
    assert_eq!(
        (error.status(), error.http_status()),
        (Status::Server, Some(502))
    );
    assert!(error.message().contains("web page"), "{error}");
}

#[test]
fn a_refusal_says_whose_value_is_wrong_and_what_to_do() {
    let bench = Bench::start();
    let good = [CLIENT_ID, CLIENT_SECRET, TEST_BRAND, TEST_INTEGRATOR];
    for (field, value, reason, words) in [
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
        let client = bench.client_for(credentials, &single(&bench));
        let error = failed(client.get_token(None));
        assert_eq!(error.status(), Status::Rejected, "{error}");
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.message().contains(words), "{error}");
    }
}

#[test]
fn a_pause_that_the_server_asks_for_is_reported() {
    let bench = Bench::start();
    let body = br#"{"success":false,"error":"busy","message":"Later"}"#;
    let wait = |http_status, headers: &[(&str, &str)]| {
        refused(answered(&bench, http_status, headers, body), "busy")
            .retry_after()
            .unwrap()
    };
    let asked = wait(429, &[("retry-after", "33")]);
    assert!((33 * SECOND..42 * SECOND).contains(&asked), "{asked:?}");
    let asked = wait(503, &[("retry-after", "20")]);
    assert!((20 * SECOND..26 * SECOND).contains(&asked), "{asked:?}");
    let asked = wait(429, &[("retry-after", "33"), ("ratelimit-reset", "55")]);
    assert!((55 * SECOND..70 * SECOND).contains(&asked), "{asked:?}");
    // The library's own, where the server asks for nothing.
    let own = wait(503, &[]);
    assert!(own <= SECOND, "{own:?}");
}

// ---------------------------------------------------------------------------------------------
// Hostile words

fn is_one_clean_line(text: &str) -> bool {
    let is_bidi = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !text.chars().any(|c| c.is_control() || is_bidi(c))
}

#[test]
fn hostile_words_of_the_server_become_one_clean_short_line_without_the_secret() {
    let bench = Bench::start();
    bench.sandbox.fail(Fault::MessageHostile);
    let error = refused(attempt(&bench), "hostile");
    assert_eq!(error.status(), Status::Rejected);
    assert!(is_one_clean_line(error.message()), "{error:?}");
    assert!(error.message().contains("your secret is ***"), "{error}");
    let (_, theirs) = error.message().split_once("The service says: ").unwrap();
    assert!(theirs.len() <= 512, "{}", theirs.len());

    for (message, expected) in [
        // Control characters between the secret's letters do not hide it.
        (CLIENT_SECRET.split_at(4), "***"),
        (("plain", "words"), "plainwords"),
        (("日本", "語"), "日本語"),
    ] {
        for between in ["", "\\u0000", "\\r\\n", "\\u001b", "\\u202e", "\\u0085"] {
            let words = format!("{}{between}{}", message.0, message.1);
            let body = format!(r#"{{"success":false,"error":"{words}","message":"{words}"}}"#);
            let error = refused(answered(&bench, 400, &[], body.as_bytes()), &words);
            assert_eq!(error.server_code(), Some(expected), "{between}");
            assert!(error.message().ends_with(expected), "{error}");
            assert!(is_one_clean_line(error.message()));
        }
    }
    // Cut at 512 bytes, but never inside a character, nor so that half of the secret stays.
    for (unit, len) in [("x", 512), ("é", 512), ("日", 510), ("🧾", 512)] {
        let words = unit.repeat(5000 / unit.len());
        let body = format!(r#"{{"success":false,"error":"{words}","message":"{words}"}}"#);
        let error = refused(answered(&bench, 400, &[], body.as_bytes()), unit);
        assert_eq!(error.server_code().map(str::len), Some(len));
    }
    let words = format!("{}{CLIENT_SECRET}", "x".repeat(505));
    let body = format!(r#"{{"success":false,"message":"{words}"}}"#);
    let error = refused(answered(&bench, 400, &[], body.as_bytes()), "cut");
    assert!(!error.message().contains(&CLIENT_SECRET[..5]), "{error}");
    // Not texts at all.
    for other in ["null", "5", "{}", "[\"a\"]", "true", "\"\"", "\" \""] {
        let body = format!(r#"{{"success":false,"error":{other},"message":{other}}}"#);
        let error = refused(answered(&bench, 400, &[], body.as_bytes()), other);
        assert_eq!(error.server_code(), None);
        assert_eq!(error.status(), Status::Rejected);
    }
}

#[test]
fn a_sandbox_that_is_gone_is_a_connection_that_cannot_be_made() {
    let sandbox = Sandbox::start(clopos_sandbox::Settings::default()).unwrap();
    let mut config = Config::new();
    config
        .set_base_url(&sandbox.url())
        .and_then(|config| config.set_proxy("none"))
        .and_then(|config| config.set_max_attempts(1))
        .unwrap();
    drop(sandbox);
    let client = clopos_auth::Client::new(credentials(), &config).unwrap();
    let error = failed(client.get_token(None));
    assert_eq!(error.status(), Status::Connect);
    assert_eq!(error.http_status(), None);
    assert!(error.message().contains(HOST), "{error}");
}
