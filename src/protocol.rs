//! The words on the wire: builds the request body and reads the response. Pure: no clock, no socket.
//!
//! The contract is the page of `POST /open-api/v2/auth`: four required strings go out (`venue_id`,
//! known from v1, must not), `success` decides what came back, whatever the HTTP status says.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::config::Credentials;
use crate::secret::{Secret, SecretBuffer};
use crate::{Error, Reason, Status};

/// The longest response body that is read.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;
/// The longest token that is accepted.
pub(crate) const MAX_TOKEN_BYTES: usize = 8192;
/// The longest text of the server that reaches the caller.
const MAX_SERVER_TEXT_BYTES: usize = 512;
/// Longer lifetimes than ten years are taken for ten years, so that no arithmetic overflows.
const MAX_LIFETIME_SECONDS: i64 = 10 * 366 * 86_400;
/// The end of the year 9999, the latest that the dates of .NET and Python can tell.
const MAX_EXPIRES_AT: i64 = 253_402_300_799;

/// What the service granted.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub token: Secret,
    pub token_type: Box<str>,
    /// How long the token lives, counted from when the request was sent.
    pub expires_in: Duration,
    /// Unix seconds on the server's clock.
    pub expires_at: i64,
}

/// What matters of a response beside its body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head<'a> {
    pub http_status: u16,
    pub date: Option<&'a str>,
    pub location: Option<&'a str>,
    pub retry_after: Option<&'a str>,
    pub rate_limit_reset: Option<&'a str>,
}

/// The request body, in memory that is wiped and was never moved.
pub(crate) fn request_body(credentials: &Credentials) -> SecretBuffer {
    #[derive(Serialize)]
    struct Request<'a> {
        client_id: &'a str,
        client_secret: &'a str,
        brand: &'a str,
        integrator_id: &'a str,
    }
    let request = Request {
        client_id: credentials.client_id.expose(),
        client_secret: credentials.client_secret.expose(),
        brand: credentials.brand.expose(),
        integrator_id: credentials.integrator_id.expose(),
    };
    crate::planted_panic(request.brand, "panic in the flight");
    let texts = [
        request.client_id,
        request.client_secret,
        request.brand,
        request.integrator_id,
    ];
    // Escaping at most doubles a text that has no control characters; 80 covers the field names.
    let capacity = 80 + texts.iter().map(|text| 2 * text.len()).sum::<usize>();
    let mut body = SecretBuffer::with_capacity(capacity);
    serde_json::to_writer(&mut body, &request).expect("the buffer was measured to fit");
    body
}

/// How long the server asks clients to stay away: the larger of `Retry-After` (seconds, or a date,
/// which is compared with the server's own `Date`, or else with `unix_now`) and, where the limit is
/// what was hit, `RateLimit-Reset`, which comes with every answer.
pub(crate) fn retry_hint(head: &Head, unix_now: i64) -> Option<Duration> {
    let seconds = |text: &str| {
        let text = text.trim();
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More digits than fit are a long time, too.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let retry_after = head.retry_after.and_then(|text| {
        seconds(text).or_else(|| {
            let until = unix_seconds(text)?;
            let now = head.date.and_then(unix_seconds).unwrap_or(unix_now);
            Some(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
        })
    });
    let reset = head.rate_limit_reset.filter(|_| head.http_status == 429);
    let reset = reset.and_then(seconds);
    retry_after.max(reset).map(Duration::from_secs)
}

/// What an HTTP date stands for.
pub(crate) fn unix_seconds(http_date: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(http_date.trim()).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// The fields that are looked at. Kept as raw text until they are, so that a field of the wrong type
/// in one place does not hide what the others say; unknown fields are skipped, a field that stands
/// twice is an error.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    success: Option<&'a RawValue>,
    #[serde(borrow, default)]
    token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    token_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    expires_in: Option<&'a RawValue>,
    #[serde(borrow, default)]
    expires_at: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// Reads a response. `host` and `secret` serve the error text: what is named in it, what must not be.
pub(crate) fn parse_response(
    head: &Head,
    body: &[u8],
    unix_now: i64,
    host: &str,
    secret: &Secret,
) -> Result<Grant, Error> {
    let http_status = head.http_status;
    let fields = parse_fields(body);
    let success = match &fields {
        Ok(fields) => fields.success.map(RawValue::get),
        Err(_) => None,
    };
    let is_2xx = (200..300).contains(&http_status);

    let failure = match (&fields, success) {
        (Ok(fields), Some("true")) if is_2xx => match parse_grant(fields, head, unix_now) {
            Ok(grant) => return Ok(grant),
            Err(problem) => protocol_error(host, &problem),
        },
        (Ok(fields), Some("false")) => refusal(fields, head, host, secret),
        (Ok(_), None) if is_2xx => protocol_error(host, "the answer has no \"success\" field"),
        (Ok(_), Some(_)) if is_2xx => protocol_error(host, "\"success\" is neither true nor false"),
        (Ok(fields), _) => refusal(fields, head, host, secret),
        (Err(problem), _) if is_2xx => protocol_error(host, problem),
        (Err(problem), _) => Error::new(
            status_for(http_status),
            format!(
                "{host} answered HTTP {http_status}{}; {problem}",
                redirect_note(head)
            ),
        ),
    };
    Err(Error {
        http_status: Some(http_status),
        retry_after: retry_hint(head, unix_now),
        ..failure
    })
}

pub(crate) fn protocol_error(host: &str, problem: &str) -> Error {
    Error::new(
        Status::Protocol,
        format!("the answer of {host} is not one of the service: {problem}"),
    )
}

fn parse_fields(body: &[u8]) -> Result<Fields<'_>, Cow<'static, str>> {
    match body.trim_ascii_start() {
        [] => return Err("the body is empty".into()),
        [b'<', ..] => {
            return Err(
                "the body is a web page, not JSON (a captive portal or a gateway in \
                        between? open any web site on this network and look)"
                    .into(),
            );
        }
        [0xEF, 0xBB, 0xBF, ..] => return Err("the body starts with a byte order mark".into()),
        [0x1F, 0x8B, ..] => return Err("the body is compressed, which was not asked for".into()),
        // serde would take a list for an object without names.
        [b'[', ..] => return Err("the JSON is not one object with each field once".into()),
        _ => {}
    }
    // serde_json's own text would quote a field's content in some errors; category and place do not.
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "the JSON is cut off",
            serde_json::error::Category::Data => "the JSON is not one object with each field once",
            _ => "the body is not JSON",
        };
        format!("{what} (line {}, column {})", error.line(), error.column()).into()
    })
}

fn parse_grant(fields: &Fields, head: &Head, unix_now: i64) -> Result<Grant, Cow<'static, str>> {
    let token = match fields.token {
        Some(raw) => header_text(raw, MAX_TOKEN_BYTES).ok_or(
            "\"token\" is not a text of 1 to 8192 visible ASCII characters, which a header needs",
        )?,
        None => return Err("it has no \"token\"".into()),
    };
    let token_type = match fields.token_type {
        Some(raw) => header_text(raw, 64).ok_or("\"token_type\" is not a word")?,
        None => Secret::new("Bearer"),
    };
    let expires_in = positive("expires_in", fields.expires_in)?;
    let expires_at = positive("expires_at", fields.expires_at)?;
    let server_now = head.date.and_then(unix_seconds);
    let (expires_in, expires_at) = match (expires_in, expires_at, server_now) {
        (Some(within), Some(at), _) => (within, at),
        (Some(within), None, now) => (within, now.unwrap_or(unix_now).saturating_add(within)),
        // Never from this device's date: a token must not live or die by it.
        (None, Some(at), Some(now)) if at > now => (at - now, at),
        (None, Some(_), Some(_)) => return Err("the token has already expired".into()),
        (None, Some(_), None) => {
            return Err("it has no positive \"expires_in\" and no Date header".into());
        }
        (None, None, _) => {
            return Err("it has neither a positive \"expires_in\" nor \"expires_at\"".into());
        }
    };
    let expires_in = expires_in.min(MAX_LIFETIME_SECONDS);
    Ok(Grant {
        token,
        token_type: token_type.expose().into(),
        expires_in: Duration::from_secs(expires_in.unsigned_abs()),
        expires_at: expires_at.min(MAX_EXPIRES_AT),
    })
}

/// A whole number above zero. Absent, null, zero and negative count as not given; anything that is
/// not a whole number is an error.
fn positive(name: &str, raw: Option<&RawValue>) -> Result<Option<i64>, Cow<'static, str>> {
    let Some(raw) = raw else { return Ok(None) };
    match serde_json::from_str::<Option<i64>>(raw.get()) {
        Ok(number) => Ok(number.filter(|&n| n > 0)),
        Err(_) => Err(format!("\"{name}\" is not a whole number").into()),
    }
}

/// The text of a JSON string if it is 1 to `max` visible ASCII characters. Unescapes by itself:
/// serde_json would leave a copy of an escaped token in memory that nobody wipes.
fn header_text(raw: &RawValue, max: usize) -> Option<Secret> {
    let quoted = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if !quoted.contains('\\') {
        let fits =
            (1..=max).contains(&quoted.len()) && quoted.bytes().all(|b| b.is_ascii_graphic());
        return fits.then(|| Secret::new(quoted));
    }
    let mut text = Zeroizing::new(String::with_capacity(quoted.len()));
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        let c = match c {
            '\\' => match rest.next()? {
                c @ ('"' | '\\' | '/') => c,
                'u' => {
                    let digits = rest.as_str().get(..4)?;
                    rest = rest.as_str()[4..].chars();
                    char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
                }
                _ => return None,
            },
            c => c,
        };
        if !c.is_ascii_graphic() {
            return None;
        }
        text.push(c);
    }
    (1..=max).contains(&text.len()).then(|| Secret::new(&text))
}

fn status_for(http_status: u16) -> Status {
    match http_status {
        200..300 | 400 | 401 | 403 | 422 => Status::Rejected,
        429 => Status::RateLimited,
        500.. => Status::Server,
        _ => Status::Protocol,
    }
}

fn refusal(fields: &Fields, head: &Head, host: &str, secret: &Secret) -> Error {
    let text = |raw: Option<&RawValue>| {
        let text: Zeroizing<String> = Zeroizing::new(serde_json::from_str(raw?.get()).ok()?);
        let clean = clean(&text, secret);
        (!clean.is_empty()).then_some(clean)
    };
    let server_code = text(fields.error);
    let status = status_for(head.http_status);
    let what = match status {
        Status::Rejected => "refused the sign-in",
        Status::RateLimited => "asks to slow down",
        Status::Server => "failed",
        _ => "gave an answer that is not one of the service",
    };
    let text_of_message = text(fields.message);
    let reason = match status {
        Status::Rejected => Reason::of(
            head.http_status,
            [server_code.as_deref(), text_of_message.as_deref()],
        ),
        _ => Reason::Unknown,
    };
    let mut message = format!(
        "{host} {what} (HTTP {}{}{})",
        head.http_status,
        server_code
            .as_deref()
            .map(|code| format!(", {code}"))
            .unwrap_or_default(),
        redirect_note(head),
    );
    if status == Status::Rejected {
        message.push_str(": ");
        message.push_str(reason.advice());
    }
    if let Some(text) = text_of_message {
        let before = if status == Status::Rejected {
            ". The service says: "
        } else {
            ": "
        };
        message.push_str(before);
        message.push_str(&text);
    }
    Error {
        server_code: server_code.map(Into::into),
        reason,
        ..Error::new(status, message)
    }
}

fn redirect_note(head: &Head) -> &'static str {
    match (head.http_status, head.location) {
        (300..400, Some(_)) => ", a redirect, which is never followed: a secret goes nowhere else",
        _ => "",
    }
}

/// A text of the server's, fit for one line of a log: no control characters (nor the invisible ones
/// that reorder text), no echo of the secret, 512 bytes at most.
fn clean(text: &str, secret: &Secret) -> String {
    let is_hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{200E}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    let visible =
        |text: &str| Zeroizing::new(text.chars().filter(|&c| !is_hostile(c)).collect::<String>());
    // The secret as it would be seen: what is left out of the text must not hide it.
    let mut clean = match visible(secret.expose()) {
        secret if secret.is_empty() => visible(text).to_string(),
        secret => visible(text).replace(&*secret, "***"),
    };
    while clean.len() > MAX_SERVER_TEXT_BYTES {
        clean.pop();
    }
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_848_732;
    const DATE: &str = "Thu, 08 Jan 2026 05:05:32 GMT";

    fn read(http_status: u16, body: &str) -> Result<Grant, Error> {
        read_dated(http_status, Some(DATE), body)
    }

    fn read_dated(http_status: u16, date: Option<&str>, body: &str) -> Result<Grant, Error> {
        let head = Head {
            http_status,
            date,
            ..Head::default()
        };
        let secret = Secret::new("hunter2");
        parse_response(&head, body.as_bytes(), NOW, "host", &secret)
    }

    #[test]
    fn the_request_has_the_four_documented_fields_and_no_other() {
        let credentials = Credentials::new("id", "a\"b\\c", "çay-evi", "integrator").unwrap();
        let body = request_body(&credentials);
        assert_eq!(
            str::from_utf8(body.as_slice()).unwrap(),
            r#"{"client_id":"id","client_secret":"a\"b\\c","brand":"çay-evi","integrator_id":"integrator"}"#
        );
    }

    #[test]
    fn the_longest_credentials_fit_into_the_measured_buffer() {
        let long = "\"".repeat(1024);
        let credentials = Credentials::new(&long, &long, &long, &long).unwrap();
        assert!(request_body(&credentials).as_slice().len() > 8 * 1024);
    }

    #[test]
    fn the_example_of_the_contract_is_read() {
        let body = r#"{"success": true, "token": "eyJ.x.y", "token_type": "Bearer",
            "expires_in": 3600, "expires_at": 1767852332, "message": "Authentication successful"}"#;
        let grant = read(200, body).unwrap();
        assert_eq!(grant.token.expose(), "eyJ.x.y");
        assert_eq!(grant.expires_in, Duration::from_secs(3600));
        assert_eq!(grant.expires_at, 1_767_852_332);
    }

    #[test]
    fn a_missing_expiry_is_derived_from_the_other_and_the_servers_date() {
        let only_in = read(200, r#"{"success":true,"token":"t","expires_in":60}"#).unwrap();
        assert_eq!(only_in.expires_at, NOW + 60);
        let body = format!(
            r#"{{"success":true,"token":"t","expires_at":{}}}"#,
            NOW + 90
        );
        let only_at = read(200, &body).unwrap();
        assert_eq!(only_at.expires_in, Duration::from_secs(90));
        let unusable = [
            r#"{"success":true,"token":"t"}"#,
            r#"{"success":true,"token":"t","expires_in":0,"expires_at":0}"#,
            r#"{"success":true,"token":"t","expires_in":-1}"#,
            r#"{"success":true,"token":"t","expires_at":1767848732}"#,
            r#"{"success":true,"token":"t","expires_in":1e999}"#,
            r#"{"success":true,"token":"t","expires_in":"3600"}"#,
            r#"{"success":true,"token":"t","expires_in":3600.5}"#,
        ];
        for body in unusable {
            assert_eq!(
                read(200, body).unwrap_err().status(),
                Status::Protocol,
                "{body}"
            );
        }
    }

    #[test]
    fn an_end_alone_is_worth_nothing_without_the_servers_date() {
        let body = format!(
            r#"{{"success":true,"token":"t","expires_at":{}}}"#,
            NOW + 90
        );
        for date in [None, Some("yesterday")] {
            let refused = read_dated(200, date, &body).unwrap_err();
            assert_eq!(refused.status(), Status::Protocol);
            assert!(refused.to_string().contains("no Date header"), "{refused}");
        }
    }

    #[test]
    fn an_expiry_without_end_stays_within_what_clocks_can_count() {
        let body = format!(
            r#"{{"success":true,"token":"t","expires_in":{}}}"#,
            i64::MAX
        );
        assert!(read(200, &body).unwrap().expires_in < Duration::from_secs(400_000_000));
    }

    #[test]
    fn a_token_that_cannot_go_into_a_header_is_refused() {
        let good = [r#""a""#, r#""a\/b""#, r#""\u0061b""#];
        for token in good {
            let body = format!(r#"{{"success":true,"token":{token},"expires_in":60}}"#);
            assert!(read(200, &body).is_ok(), "{token}");
        }
        let long = format!("\"{}\"", "a".repeat(MAX_TOKEN_BYTES + 1));
        let bad = [
            r#""""#,
            r#""a b""#,
            r#""a\u0000b""#,
            r#""a\r\nb""#,
            r#""é""#,
            r#""\ud83d""#,
            r#""\u+061""#,
            "7",
            "null",
            "{}",
            &long,
        ];
        for token in bad {
            let body = format!(r#"{{"success":true,"token":{token},"expires_in":60}}"#);
            assert_eq!(
                read(200, &body).unwrap_err().status(),
                Status::Protocol,
                "{token}"
            );
        }
    }

    #[test]
    fn success_decides_and_the_http_status_says_which_failure() {
        let refused =
            r#"{"success":false,"message":"Invalid credentials","error":"authentication_failed"}"#;
        let table = [
            (200, refused, Status::Rejected),
            (400, refused, Status::Rejected),
            (401, refused, Status::Rejected),
            (403, refused, Status::Rejected),
            (422, refused, Status::Rejected),
            (429, refused, Status::RateLimited),
            (500, refused, Status::Server),
            (504, refused, Status::Server),
            (404, refused, Status::Protocol),
            (301, "", Status::Protocol),
            (502, "<html>", Status::Server),
            (200, "<html>", Status::Protocol),
            (200, "{}", Status::Protocol),
            (
                200,
                r#"{"success":"true","token":"t","expires_in":60}"#,
                Status::Protocol,
            ),
            (200, r#"{"success":true}"#, Status::Protocol),
            (
                500,
                r#"{"success":true,"token":"t","expires_in":60}"#,
                Status::Server,
            ),
        ];
        for (http_status, body, status) in table {
            let error = read(http_status, body).unwrap_err();
            assert_eq!(error.status(), status, "{http_status} {body}");
            assert_eq!(error.http_status(), Some(http_status));
        }
        assert_eq!(
            read(401, refused).unwrap_err().server_code(),
            Some("authentication_failed")
        );
    }

    #[test]
    fn texts_of_the_server_reach_the_log_as_one_short_line_without_the_secret() {
        let hostile = format!(
            r#"{{"success":false,"message":"a\nb\u001b[31m hun\u0007ter2 {}"}}"#,
            "é".repeat(400)
        );
        let message = read(401, &hostile).unwrap_err().message().to_owned();
        assert!(message.contains("ab[31m *** é"), "{message}");
        assert!(message.len() < 600);
        assert!(!message.contains("hunter2"));
    }

    #[test]
    fn a_secret_is_masked_as_it_would_be_seen() {
        let invisible = Secret::new("hun\u{200E}ter2");
        assert_eq!(clean("no hunter2 here", &invisible), "no *** here");
        assert_eq!(clean("no hun\u{200E}ter2 here", &invisible), "no *** here");
        assert_eq!(clean("nothing", &Secret::new("\u{200E}")), "nothing");
    }

    #[test]
    fn the_server_says_how_long_to_stay_away() {
        let head = |http_status, retry_after, rate_limit_reset| Head {
            http_status,
            date: Some(DATE),
            retry_after,
            rate_limit_reset,
            ..Head::default()
        };
        let table = [
            (429, None, None, None),
            (429, Some("7"), None, Some(7)),
            (429, None, Some("9"), Some(9)),
            (429, Some("7"), Some("9"), Some(9)),
            (
                429,
                Some("Thu, 08 Jan 2026 05:06:02 GMT"),
                Some("9"),
                Some(30),
            ),
            (429, Some("Thu, 08 Jan 1998 05:06:02 GMT"), None, Some(0)),
            (429, Some("99999999999999999999999"), None, Some(u64::MAX)),
            (429, Some("-5"), Some("soon"), None),
            (503, Some("7"), Some("60"), Some(7)),
            (503, None, Some("60"), None),
        ];
        for (http_status, retry_after, reset, seconds) in table {
            let hint = retry_hint(&head(http_status, retry_after, reset), NOW);
            assert_eq!(
                hint,
                seconds.map(Duration::from_secs),
                "{retry_after:?} {reset:?}"
            );
        }
    }
}
