//! The faults: what a client receives for each, and that requests succeed afterwards.

mod client;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use client::{End, RawClient, credentials, sign_in, start, start_with};
use clopos_sandbox::{CLIENT_SECRET, Fault, Sandbox, Step};
use serde_json::Value;

/// How long a connection is watched that should stay silent. `body-drip` sends a byte each second.
const SHORT_TIMEOUT: Duration = Duration::from_millis(800);
/// The limit for waiting for a state or for bytes.
const LONG_TIMEOUT: Duration = Duration::from_secs(10);

fn wait_until(what: &str, is_reached: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG_TIMEOUT;
    while !is_reached() {
        assert!(Instant::now() < deadline, "did not happen: {what}");
        thread::yield_now();
    }
}

/// What a client received: the status code, the head, the body, and how the connection ended.
struct Received {
    status: u16,
    head: String,
    body: Vec<u8>,
    end: End,
}

impl Received {
    fn of((bytes, end): (Vec<u8>, End)) -> Self {
        let split = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .map(|at| at + 4);
        let (head, body) = bytes.split_at(split.unwrap_or(bytes.len()));
        let head = String::from_utf8_lossy(head).into_owned();
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let status = status.and_then(|code| code.parse().ok()).unwrap_or(0);
        Received {
            status,
            head,
            body: body.to_vec(),
            end,
        }
    }

    /// A complete response with this status.
    fn is_complete(&self, status: u16) -> bool {
        self.end == End::Closed && self.status == status && self.length() == Some(self.body.len())
    }

    fn length(&self) -> Option<usize> {
        let head = self.head.to_ascii_lowercase();
        let rest = head.split_once("content-length: ")?.1;
        rest.split_once("\r\n")?.0.parse().ok()
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// A complete response with a JSON field that is as expected.
    fn field(&self, name: &str, is_expected: impl Fn(&Value) -> bool) -> bool {
        self.is_complete(200) && self.json().is_some_and(|json| is_expected(&json[name]))
    }

    fn token(&self, is_expected: impl Fn(&str) -> bool) -> bool {
        self.field("token", |token| token.as_str().is_some_and(&is_expected))
    }

    fn expiry(&self, is_expected: impl Fn(&Value) -> bool) -> bool {
        self.field("expires_in", &is_expected) && self.field("expires_at", &is_expected)
    }

    fn empty(&self, end: End) -> bool {
        self.head.is_empty() && self.end == end
    }

    fn in_head(&self, end: End) -> bool {
        !self.head.is_empty() && !self.head.ends_with("\r\n\r\n") && self.end == end
    }

    fn in_body(&self, end: End) -> bool {
        self.status == 200 && self.length() > Some(self.body.len()) && self.end == end
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A good response without undocumented fields.
    fn is_good(&self, sandbox: &Sandbox) -> bool {
        self.token(|token| {
            sandbox
                .issued_tokens()
                .last()
                .is_some_and(|last| last == token)
        }) && self.head.len() < 1024
            && self
                .json()
                .and_then(|json| json.as_object().map(|object| object.len()))
                == Some(6)
    }
}

/// Whether a client has received what the fault's name and meaning say.
fn is_as_documented(fault: &Fault, received: &Received) -> bool {
    use Fault::*;
    match fault {
        ConnectReset | TlsReset | RequestReset => received.empty(End::Reset),
        // The ClientHello may arrive after the close, and is then answered with a reset.
        ConnectClose => received.empty(End::Closed) || received.empty(End::Reset),
        TlsClose | RequestClose => received.empty(End::Closed),
        TlsHang | RequestHang | BodySlow => received.empty(End::Quiet),
        TlsGarbage | PlainHttp => received.empty(End::NoTls),

        StatusGarbage => {
            received.status == 0 && !received.head.is_empty() && received.end == End::Closed
        }
        StatusHang | HeadersHang => received.in_head(End::Quiet),
        TlsDrip | HeadersDrip => unreachable!("tested separately"),
        HeadersOversize => received.is_complete(200) && received.head.len() > 16 * 1024,
        HeadersTruncated => received.in_head(End::Closed),
        HeadersReset => received.in_head(End::Reset),

        BodyEmpty => received.is_complete(200) && received.body.is_empty(),
        BodyHang | BodyDrip => received.in_body(End::Quiet),
        BodyTruncated => received.in_body(End::Closed),
        BodyReset => received.in_body(End::Reset),
        BodyOversize => received.token(|_| true) && received.body.len() == 64 * 1024 + 1,
        BodyEndless => received.status == 200 && received.end == End::Flood,
        BodyWrongLength => received.length() == Some(received.body.len() - 10),
        BodyGzip => {
            let mut json = Vec::new();
            let mut decoder = flate2::write::GzDecoder::new(&mut json);
            let unpacked = decoder
                .write_all(&received.body)
                .and_then(|()| decoder.try_finish());
            drop(decoder);
            received.is_complete(200)
                && received.head.contains("content-encoding: gzip")
                && unpacked.is_ok()
                && serde_json::from_slice::<Value>(&json).is_ok()
        }
        BodyHtml => received.is_complete(200) && received.text().starts_with("<!DOCTYPE html>"),
        BodyGarbage => received.is_complete(200) && std::str::from_utf8(&received.body).is_err(),
        BodyBom => received.is_complete(200) && received.body.starts_with("\u{feff}{".as_bytes()),
        BodyTruncatedJson => {
            received.is_complete(200)
                && received.text().starts_with('{')
                && received.json().is_none()
        }

        TokenNul => received.token(|token| token.contains('\0')),
        TokenCrlf => received.token(|token| token.contains("\r\n")),
        TokenSpace => received.token(|token| token.contains(' ')),
        TokenEmpty => received.token(str::is_empty),
        TokenOversize => received.token(|token| token.len() == 8193),
        TokenMissing => received.field("token", Value::is_null),
        TokenNumber => received.field("token", Value::is_number),
        DuplicateKeys => received.text().matches("\"token\":").count() == 2,
        NumbersAsStrings => received.expiry(Value::is_string),
        ExpiresHuge => received.text().matches("\":1e999").count() == 2,
        ExpiresNegative => received.expiry(|expiry| *expiry == -1),
        ExpiresZero => received.expiry(|expiry| *expiry == 0),
        ExpiresMissing => received.token(|_| true) && received.expiry(Value::is_null),
        ExpiresFraction => {
            received.expiry(|expiry| expiry.as_f64().is_some_and(|n| n.fract() == 0.5))
        }
        Nesting => received.text().contains(&"[".repeat(10_000)),
        SuccessMissing => received.token(|_| true) && received.field("success", Value::is_null),
        SuccessString => received.field("success", |success| success == "true"),
        SuccessFalse => received.field("success", |success| *success == false),
        MessageHostile => {
            let json = received.json().unwrap_or_default();
            let message = json["message"].as_str().unwrap_or_default();
            received.is_complete(401)
                && message.len() == 4096
                && ["\u{1b}[2J", "\r\n", "\0", CLIENT_SECRET]
                    .iter()
                    .all(|part| message.contains(part))
        }
        SameToken => received.token(|_| true),

        Status502Html => {
            received.is_complete(502) && received.text().starts_with("<!DOCTYPE html>")
        }
        Status400 | Status401 | Status403 | Status404 | Status422 | Status429 | Status500
        | Status503 | Status504 => {
            let json = received.json().unwrap_or_default();
            fault.name() == format!("status-{}", received.status)
                && received.is_complete(received.status)
                && json["success"] == false
                && (json["message"].is_string() || json["error"].is_string())
        }
        Redirect301 | Redirect302 | Redirect307 | Redirect308 => {
            fault.name() == format!("redirect-{}", received.status)
                && received
                    .head
                    .contains("location: https://127.0.0.2:1/stolen\r\n")
        }
        DropIdle => received.token(|_| true),
        Connection(_) | Request(_) | Raw(_) | Response { .. } => unreachable!("they have no name"),
    }
}

#[test]
fn every_fault_does_what_its_name_says_and_after_heal_requests_succeed() {
    let sandbox = start_with(|settings| settings.requests_per_minute = 0);
    let client = RawClient::new(&sandbox);
    let drips = [Fault::TlsDrip, Fault::HeadersDrip];
    for fault in Fault::NAMED.iter().filter(|fault| !drips.contains(fault)) {
        sandbox.fail(fault.clone());
        let silent =
            fault.name().ends_with("-hang") || matches!(fault, Fault::BodyDrip | Fault::BodySlow);
        let timeout = if silent { SHORT_TIMEOUT } else { LONG_TIMEOUT };
        let received = Received::of(client.send_request(&sandbox, "close", timeout));
        assert!(
            is_as_documented(fault, &received),
            "{}: {:?} after {}{}",
            fault.name(),
            received.end,
            received.head,
            received.text(),
        );
        sandbox.heal();
        let healthy = Received::of(client.send_request(&sandbox, "close", LONG_TIMEOUT));
        assert!(
            healthy.is_good(&sandbox),
            "after {}: {}",
            fault.name(),
            healthy.text()
        );
    }
}

#[test]
fn drips_send_one_byte_every_100_ms() {
    let sandbox = start();
    let client = RawClient::new(&sandbox);
    let connect = || client.connect(&sandbox, LONG_TIMEOUT).expect("connected");
    let assert_drips = |before: Instant, from: &mut dyn Read, expected: &[u8]| {
        let mut start = vec![0; expected.len()];
        from.read_exact(&mut start).expect("a drip");
        assert_eq!(start, expected);
        assert!(
            before.elapsed() >= Duration::from_millis(200),
            "{:?}",
            before.elapsed()
        );
    };

    sandbox.fail_times(Fault::TlsDrip, 1);
    let mut tls = connect();
    let before = Instant::now();
    tls.conn.write_tls(&mut tls.sock).expect("sent");
    // The start of every ServerHello: a handshake record.
    assert_drips(before, &mut tls.sock, &[0x16, 0x03, 0x03, 0x00]);

    sandbox.fail_times(Fault::HeadersDrip, 1);
    let mut http = connect();
    let before = Instant::now();
    http.write_all(&client::request("close")).expect("sent");
    assert_drips(before, &mut http, b"HTTP");
}

#[test]
fn drop_idle_closes_a_kept_connection_that_a_healthy_service_leaves_open() {
    let sandbox = start();
    let client = RawClient::new(&sandbox);
    let (_, end) = client.send_request(&sandbox, "keep-alive", SHORT_TIMEOUT);
    assert_eq!(end, End::Quiet);
    sandbox.fail(Fault::DropIdle);
    let received = Received::of(client.send_request(&sandbox, "keep-alive", LONG_TIMEOUT));
    assert!(received.is_complete(200), "{}", received.head);
}

#[test]
fn counted_faults_happen_in_order_and_then_requests_succeed() {
    let sandbox = start();
    sandbox.fail_times(Fault::Status503, 2);
    sandbox.fail_times(Fault::Status401, 1);
    let status = || sign_in(&sandbox, &credentials()).status().as_u16();
    assert_eq!(
        [status(), status(), status(), status()],
        [503, 503, 401, 200]
    );
}

#[test]
fn a_counted_connection_fault_affects_only_that_many_connections() {
    let sandbox = start();
    let client = RawClient::new(&sandbox);
    sandbox.fail_times(Fault::TlsReset, 1);
    assert_eq!(
        client.send_request(&sandbox, "close", LONG_TIMEOUT).1,
        End::Reset
    );
    assert!(Received::of(client.send_request(&sandbox, "close", LONG_TIMEOUT)).is_good(&sandbox));
    assert_eq!(sandbox.auth_requests(), 1);
    assert_eq!(sandbox.connections(), 2);
}

#[test]
fn the_same_token_has_its_remaining_lifetime() {
    let sandbox = start();
    let first = sign_in(&sandbox, &credentials());
    sandbox.fail(Fault::SameToken);
    sandbox.update(|settings| settings.clock_offset = 600);
    let second = sign_in(&sandbox, &credentials());
    assert_eq!(first.body()["token"], second.body()["token"]);
    assert_eq!(first.body()["expires_at"], second.body()["expires_at"]);
    let left = second.body()["expires_in"].as_i64().expect("a number");
    assert!((2990..=3000).contains(&left));
    assert_eq!(sandbox.issued_tokens().len(), 1);
}

#[test]
fn raw_bytes_and_whole_responses_are_sent_as_given() {
    let sandbox = start();
    let client = RawClient::new(&sandbox);
    sandbox.fail_times(Fault::Raw(b"HTTP/0.9 nonsense\n\x00".to_vec()), 1);
    let received = client.send_request(&sandbox, "close", LONG_TIMEOUT);
    assert_eq!(received, (b"HTTP/0.9 nonsense\n\x00".to_vec(), End::Closed));
    sandbox.fail_times(
        Fault::Response {
            status: 418,
            headers: vec![("x-pot".into(), "tea".into())],
            body: b"short and stout".to_vec(),
        },
        1,
    );
    let received = Received::of(client.send_request(&sandbox, "close", LONG_TIMEOUT));
    assert!(
        received.is_complete(418) && received.head.contains("x-pot: tea\r\n"),
        "{}",
        received.head
    );
    assert_eq!(received.text(), "short and stout");
}

#[test]
fn a_script_is_played_on_a_connection_or_after_a_request() {
    let sandbox = start();
    let client = RawClient::new(&sandbox);
    let steps = vec![Step::Sleep(Duration::from_millis(30)), Step::Proceed];
    sandbox.fail_times(Fault::Connection(steps), 1);
    assert!(Received::of(client.send_request(&sandbox, "close", LONG_TIMEOUT)).is_good(&sandbox));
    assert_eq!(sandbox.scripts_ended(), 1);

    sandbox.fail_times(Fault::Request(vec![Step::Grant, Step::Close]), 1);
    assert!(
        Received::of(client.send_request(&sandbox, "keep-alive", LONG_TIMEOUT)).is_good(&sandbox)
    );
    wait_until("the script ended", || sandbox.scripts_ended() == 2);

    // Half of a handshake, and bytes that are no TLS.
    let half = vec![Step::Handshake(Duration::ZERO, 50), Step::Close];
    sandbox.fail_times(Fault::Connection(half), 1);
    assert!(Received::of(client.send_request(&sandbox, "close", LONG_TIMEOUT)).empty(End::Closed));
    let below = vec![Step::SendBelow(vec![0xFF; 100]), Step::Hang];
    sandbox.fail_times(Fault::Request(below), 1);
    assert!(Received::of(client.send_request(&sandbox, "close", LONG_TIMEOUT)).empty(End::NoTls));
}

#[test]
fn an_injected_429_has_the_rate_limit_headers() {
    let sandbox = start_with(|settings| settings.retry_after = Some("3".into()));
    sandbox.fail(Fault::Status429);
    let refused = sign_in(&sandbox, &credentials());
    let names = ["ratelimit-limit", "ratelimit-remaining", "retry-after"];
    assert_eq!(
        names.map(|name| client::header(&refused, name)),
        ["60", "0", "3"]
    );
}

#[test]
fn dropping_the_sandbox_ends_hanging_connections_within_a_second() {
    let sandbox = start();
    let client = RawClient::new(&sandbox);
    sandbox.fail_times(Fault::RequestHang, 1);
    sandbox.fail_times(Fault::TlsHang, 1);
    let mut hanging = client.connect(&sandbox, LONG_TIMEOUT).expect("connected");
    hanging.write_all(&client::request("close")).expect("sent");
    wait_until("the request arrives", || sandbox.auth_requests() == 1);
    let _in_handshake = TcpStream::connect(("127.0.0.1", sandbox.port())).expect("connected");
    wait_until("the connection arrives", || sandbox.connections() == 2);
    let before = Instant::now();
    drop(sandbox);
    assert!(before.elapsed() < Duration::from_secs(1));
}
