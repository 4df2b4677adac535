//! The faults: what a client sees of each, and that the sandbox is well afterwards.

mod client;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use client::{End, RawClient, ask, credentials, start, start_with};
use clopos_sandbox::{CLIENT_SECRET, Fault, Sandbox, Step};
use serde_json::Value;

/// How long a connection that should stay silent is watched.
const BRIEFLY: Duration = Duration::from_millis(400);
/// How long something that should come is waited for.
const PATIENTLY: Duration = Duration::from_secs(10);

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENTLY;
    while !is_so() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::yield_now();
    }
}

/// What a client saw: the status line's code, the head, the body, and how it ended.
struct Seen {
    status: u16,
    head: String,
    body: Vec<u8>,
    end: End,
}

impl Seen {
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
        Seen {
            status,
            head,
            body: body.to_vec(),
            end,
        }
    }

    /// A complete answer with this status.
    fn answered(&self, status: u16) -> bool {
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

    /// A complete answer whose JSON field is so.
    fn field(&self, name: &str, is_so: impl Fn(&Value) -> bool) -> bool {
        self.answered(200) && self.json().is_some_and(|json| is_so(&json[name]))
    }

    fn token(&self, is_so: impl Fn(&str) -> bool) -> bool {
        self.field("token", |token| token.as_str().is_some_and(&is_so))
    }

    fn expiry(&self, is_so: impl Fn(&Value) -> bool) -> bool {
        self.field("expires_in", &is_so) && self.field("expires_at", &is_so)
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

    /// A good answer, and nothing in it that is not documented.
    fn good(&self, sandbox: &Sandbox) -> bool {
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

fn is_as_it_says(fault: &Fault, seen: &Seen) -> bool {
    use Fault::*;
    match fault {
        ConnectReset | TlsReset | RequestReset => seen.empty(End::Reset),
        // The ClientHello may arrive after the close, and is then answered with a reset.
        ConnectClose => seen.empty(End::Closed) || seen.empty(End::Reset),
        TlsClose | RequestClose => seen.empty(End::Closed),
        TlsHang | RequestHang | BodySlow => seen.empty(End::Quiet),
        TlsGarbage | PlainHttp => seen.empty(End::NoTls),

        StatusGarbage => seen.status == 0 && !seen.head.is_empty() && seen.end == End::Closed,
        StatusHang | HeadersHang => seen.in_head(End::Quiet),
        TlsDrip | HeadersDrip => unreachable!("neither quiet nor at an end: tested apart"),
        HeadersOversize => seen.answered(200) && seen.head.len() > 16 * 1024,
        HeadersTruncated => seen.in_head(End::Closed),
        HeadersReset => seen.in_head(End::Reset),

        BodyEmpty => seen.answered(200) && seen.body.is_empty(),
        BodyHang | BodyDrip => seen.in_body(End::Quiet),
        BodyTruncated => seen.in_body(End::Closed),
        BodyReset => seen.in_body(End::Reset),
        BodyOversize => seen.token(|_| true) && seen.body.len() == 64 * 1024 + 1,
        BodyEndless => seen.status == 200 && seen.end == End::Flood,
        BodyWrongLength => seen.length() == Some(seen.body.len() - 10),
        BodyGzip => {
            let mut json = Vec::new();
            let mut decoder = flate2::write::GzDecoder::new(&mut json);
            let unpacked = decoder
                .write_all(&seen.body)
                .and_then(|()| decoder.try_finish());
            drop(decoder);
            seen.answered(200)
                && seen.head.contains("content-encoding: gzip")
                && unpacked.is_ok()
                && serde_json::from_slice::<Value>(&json).is_ok()
        }
        BodyHtml => seen.answered(200) && seen.text().starts_with("<!DOCTYPE html>"),
        BodyGarbage => seen.answered(200) && std::str::from_utf8(&seen.body).is_err(),
        BodyBom => seen.answered(200) && seen.body.starts_with("\u{feff}{".as_bytes()),
        BodyTruncatedJson => {
            seen.answered(200) && seen.text().starts_with('{') && seen.json().is_none()
        }

        TokenNul => seen.token(|token| token.contains('\0')),
        TokenCrlf => seen.token(|token| token.contains("\r\n")),
        TokenSpace => seen.token(|token| token.contains(' ')),
        TokenEmpty => seen.token(str::is_empty),
        TokenOversize => seen.token(|token| token.len() == 8193),
        TokenMissing => seen.field("token", Value::is_null),
        TokenNumber => seen.field("token", Value::is_number),
        DuplicateKeys => seen.text().matches("\"token\":").count() == 2,
        NumbersAsStrings => seen.expiry(Value::is_string),
        ExpiresHuge => seen.text().matches("\":1e999").count() == 2,
        ExpiresNegative => seen.expiry(|expiry| *expiry == -1),
        ExpiresZero => seen.expiry(|expiry| *expiry == 0),
        ExpiresMissing => seen.token(|_| true) && seen.expiry(Value::is_null),
        ExpiresFraction => seen.expiry(|expiry| expiry.as_f64().is_some_and(|n| n.fract() == 0.5)),
        Nesting => seen.text().contains(&"[".repeat(10_000)),
        SuccessMissing => seen.token(|_| true) && seen.field("success", Value::is_null),
        SuccessString => seen.field("success", |success| success == "true"),
        SuccessFalse => seen.field("success", |success| *success == false),
        MessageHostile => {
            let json = seen.json().unwrap_or_default();
            let message = json["message"].as_str().unwrap_or_default();
            seen.answered(401)
                && message.len() == 4096
                && ["\u{1b}[2J", "\r\n", "\0", CLIENT_SECRET]
                    .iter()
                    .all(|part| message.contains(part))
        }
        SameToken => seen.token(|_| true),

        Status502Html => seen.answered(502) && seen.text().starts_with("<!DOCTYPE html>"),
        Status400 | Status401 | Status403 | Status404 | Status422 | Status429 | Status500
        | Status503 | Status504 => {
            let json = seen.json().unwrap_or_default();
            fault.name() == format!("status-{}", seen.status)
                && seen.answered(seen.status)
                && json["success"] == false
                && (json["message"].is_string() || json["error"].is_string())
        }
        Redirect301 | Redirect302 | Redirect307 | Redirect308 => {
            fault.name() == format!("redirect-{}", seen.status)
                && seen
                    .head
                    .contains("location: https://127.0.0.2:1/stolen\r\n")
        }
        DropIdle => seen.token(|_| true),
        Connection(_) | Request(_) | Raw(_) | Response { .. } => unreachable!("they have no name"),
    }
}

#[test]
fn every_fault_does_what_its_name_says_and_the_next_request_after_healing_succeeds() {
    let sandbox = start_with(|settings| settings.requests_per_minute = 0);
    let client = RawClient::new(&sandbox);
    let drips = [Fault::TlsDrip, Fault::HeadersDrip];
    for fault in Fault::NAMED.iter().filter(|fault| !drips.contains(fault)) {
        sandbox.fail(fault.clone());
        let silent =
            fault.name().ends_with("-hang") || matches!(fault, Fault::BodyDrip | Fault::BodySlow);
        let patience = if silent { BRIEFLY } else { PATIENTLY };
        let seen = Seen::of(client.see(&sandbox, "close", patience));
        assert!(
            is_as_it_says(fault, &seen),
            "{}: {:?} after {}{}",
            fault.name(),
            seen.end,
            seen.head,
            seen.text(),
        );
        sandbox.heal();
        let healthy = Seen::of(client.see(&sandbox, "close", PATIENTLY));
        assert!(
            healthy.good(&sandbox),
            "after {}: {}",
            fault.name(),
            healthy.text()
        );
    }
}

#[test]
fn drips_come_one_byte_every_100_ms() {
    let sandbox = start();
    let client = RawClient::new(&sandbox);
    let connect = || client.connect(&sandbox, PATIENTLY).expect("connected");
    let assert_drips = |from: &mut dyn Read, expected: &[u8]| {
        let before = Instant::now();
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
    tls.conn.write_tls(&mut tls.sock).expect("sent");
    // The beginning of any ServerHello: a handshake record.
    assert_drips(&mut tls.sock, &[0x16, 0x03, 0x03, 0x00]);

    sandbox.fail_times(Fault::HeadersDrip, 1);
    let mut http = connect();
    http.write_all(&client::request("close")).expect("sent");
    assert_drips(&mut http, b"HTTP");
}

#[test]
fn drop_idle_closes_a_kept_connection_that_a_healthy_service_leaves_open() {
    let sandbox = start();
    let client = RawClient::new(&sandbox);
    let (_, end) = client.see(&sandbox, "keep-alive", BRIEFLY);
    assert_eq!(end, End::Quiet);
    sandbox.fail(Fault::DropIdle);
    let seen = Seen::of(client.see(&sandbox, "keep-alive", PATIENTLY));
    assert!(seen.answered(200), "{}", seen.head);
}

#[test]
fn faults_that_are_counted_are_used_up_in_order_and_then_it_is_well() {
    let sandbox = start();
    sandbox.fail_times(Fault::Status503, 2);
    sandbox.fail_times(Fault::Status401, 1);
    let status = || ask(&sandbox, &credentials()).status().as_u16();
    assert_eq!(
        [status(), status(), status(), status()],
        [503, 503, 401, 200]
    );
}

#[test]
fn a_counted_connection_fault_strikes_only_that_many_connections() {
    let sandbox = start();
    let client = RawClient::new(&sandbox);
    sandbox.fail_times(Fault::TlsReset, 1);
    assert_eq!(client.see(&sandbox, "close", PATIENTLY).1, End::Reset);
    assert!(Seen::of(client.see(&sandbox, "close", PATIENTLY)).good(&sandbox));
    assert_eq!(sandbox.auth_requests(), 1);
    assert_eq!(sandbox.connections(), 2);
}

#[test]
fn the_same_token_comes_with_what_is_left_of_its_life() {
    let sandbox = start();
    let first = ask(&sandbox, &credentials());
    sandbox.fail(Fault::SameToken);
    sandbox.update(|settings| settings.clock_offset = 600);
    let second = ask(&sandbox, &credentials());
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
    let seen = client.see(&sandbox, "close", PATIENTLY);
    assert_eq!(seen, (b"HTTP/0.9 nonsense\n\x00".to_vec(), End::Closed));
    sandbox.fail_times(
        Fault::Response {
            status: 418,
            headers: vec![("x-pot".into(), "tea".into())],
            body: b"short and stout".to_vec(),
        },
        1,
    );
    let seen = Seen::of(client.see(&sandbox, "close", PATIENTLY));
    assert!(
        seen.answered(418) && seen.head.contains("x-pot: tea\r\n"),
        "{}",
        seen.head
    );
    assert_eq!(seen.text(), "short and stout");
}

#[test]
fn a_script_is_played_on_a_connection_or_after_a_request() {
    let sandbox = start();
    let client = RawClient::new(&sandbox);
    let steps = vec![Step::Sleep(Duration::from_millis(30)), Step::Proceed];
    sandbox.fail_times(Fault::Connection(steps), 1);
    assert!(Seen::of(client.see(&sandbox, "close", PATIENTLY)).good(&sandbox));
    assert_eq!(sandbox.scripts_ended(), 1);

    sandbox.fail_times(Fault::Request(vec![Step::Grant, Step::Close]), 1);
    assert!(Seen::of(client.see(&sandbox, "keep-alive", PATIENTLY)).good(&sandbox));
    wait_until("the script ended", || sandbox.scripts_ended() == 2);

    // Half of a handshake, and bytes that no TLS can read.
    let half = vec![Step::Handshake(Duration::ZERO, 50), Step::Close];
    sandbox.fail_times(Fault::Connection(half), 1);
    assert!(Seen::of(client.see(&sandbox, "close", PATIENTLY)).empty(End::Closed));
    let below = vec![Step::SendBelow(vec![0xFF; 100]), Step::Hang];
    sandbox.fail_times(Fault::Request(below), 1);
    assert!(Seen::of(client.see(&sandbox, "close", PATIENTLY)).empty(End::NoTls));
}

#[test]
fn a_429_on_command_carries_the_rate_limit_headers() {
    let sandbox = start_with(|settings| settings.retry_after = Some("3".into()));
    sandbox.fail(Fault::Status429);
    let refused = ask(&sandbox, &credentials());
    let names = ["ratelimit-limit", "ratelimit-remaining", "retry-after"];
    assert_eq!(
        names.map(|name| client::header(&refused, name)),
        ["60", "0", "3"]
    );
}

#[test]
fn dropping_it_ends_connections_that_hang_within_a_second() {
    let sandbox = start();
    let client = RawClient::new(&sandbox);
    sandbox.fail_times(Fault::RequestHang, 1);
    sandbox.fail_times(Fault::TlsHang, 1);
    let mut hanging = client.connect(&sandbox, PATIENTLY).expect("connected");
    hanging.write_all(&client::request("close")).expect("sent");
    wait_until("the request arrives", || sandbox.auth_requests() == 1);
    let _in_handshake = TcpStream::connect(("127.0.0.1", sandbox.port())).expect("connected");
    wait_until("the connection arrives", || sandbox.connections() == 2);
    let before = Instant::now();
    drop(sandbox);
    assert!(before.elapsed() < Duration::from_secs(1));
}
