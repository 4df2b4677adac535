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

use crate::sanitize::sanitize;
use crate::secret::Secret;
use crate::wiped::WipedBuffer;
use crate::{Credentials, Error, Reason, Status, planted};

/// The longest response body that is read.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;
/// The longest token that is accepted.
pub(crate) const MAX_TOKEN_BYTES: usize = 8192;
/// More than a usual request body has, so that its buffer seldom grows.
const USUAL_REQUEST_BYTES: usize = 512;
/// Longer lifetimes than ten years are taken for ten years, so that no arithmetic overflows.
const MAX_LIFETIME_SECONDS: i64 = 10 * 366 * 86_400;
/// An `expires_at` that is further away is not in seconds; in milliseconds it would be 55 000 years.
const MAX_DISTANCE_SECONDS: i64 = 100 * 366 * 86_400;
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
    /// Of the response.
    pub http_status: u16,
}

/// What matters of a response in addition to its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head<'a> {
    pub http_status: u16,
    pub date: Option<&'a str>,
    pub location: Option<&'a str>,
    /// The values of all header lines with this name: a proxy may add one of its own.
    pub retry_after: Vec<&'a str>,
    pub rate_limit_reset: Vec<&'a str>,
}

/// What was asked, for the texts of errors: whom, for what, and what must not be in them.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub host: &'a str,
    pub path: &'a str,
    pub secret: &'a Secret,
}

/// The request body.
pub(crate) fn request_body(credentials: &Credentials) -> WipedBuffer {
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
    planted::panic_if(request.brand, "panic in the flight");
    let mut body = WipedBuffer::with_capacity(USUAL_REQUEST_BYTES);
    serde_json::to_writer(&mut body, &request).expect("the buffer grows");
    body
}

/// How long the server asks clients to stay away: the largest of all values of `Retry-After` (seconds,
/// or a date, which only the server's own `Date` turns into a time) and, if the limit is what was hit,
/// `RateLimit-Reset`, which comes with every answer.
pub(crate) fn retry_hint(head: &Head) -> Option<Duration> {
    let server_now = head.date.and_then(unix_seconds);
    let until = |date: &str| {
        let (until, now) = (unix_seconds(date)?, server_now?);
        Some(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
    };
    let retry_after = head.retry_after.iter();
    let retry_after =
        retry_after.filter_map(|&value| whole_seconds(value).or_else(|| until(value)));
    let resets = head
        .rate_limit_reset
        .iter()
        .filter(|_| head.http_status == 429);
    let resets = resets.filter_map(|&value| whole_seconds(value));
    retry_after.chain(resets).max().map(Duration::from_secs)
}

/// The largest of a list of numbers, rounded up. `Retry-After` is specified as one whole number, but
/// servers send fractions, and proxies join the values of two header lines into a list.
fn whole_seconds(list: &str) -> Option<u64> {
    let seconds = |number: &str| {
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        // More digits than fit are a long time, too.
        let whole = whole.parse().unwrap_or(u64::MAX);
        Some(whole.saturating_add(u64::from(fraction.bytes().any(|b| b != b'0'))))
    };
    list.split(',').filter_map(seconds).max()
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

/// Reads a response.
pub(crate) fn parse_response(
    head: &Head,
    body: &[u8],
    unix_now: i64,
    asked: Asked,
) -> Result<Grant, Error> {
    let host = asked.host;
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
        (Ok(fields), Some("false")) => refusal(fields, head, asked),
        // The service's schema of errors, unlike its pages, has no `success`.
        (Ok(fields), None) if is_text(fields.error) && fields.token.is_none() => {
            refusal(fields, head, asked)
        }
        (Ok(_), None) if is_2xx => protocol_error(host, "the answer has no \"success\" field"),
        (Ok(_), Some(_)) if is_2xx => protocol_error(host, "\"success\" is neither true nor false"),
        (Ok(fields), _) if status_for(http_status) != Status::Rejected => {
            refusal(fields, head, asked)
        }
        (Ok(_), _) => foreign_error(head, asked, "the JSON is not one of the service"),
        (Err(problem), _) if is_2xx => protocol_error(host, problem),
        (Err(problem), _) => foreign_error(head, asked, problem),
    };
    Err(Error {
        http_status: Some(http_status),
        retry_after: retry_hint(head),
        ..failure
    })
}

pub(crate) fn protocol_error(host: &str, problem: &str) -> Error {
    Error::new(
        Status::Protocol,
        format!("the answer of {host} is not one of the service: {problem}"),
    )
}

/// An HTTP error whose body is not the service's: of a gateway, a proxy or a login page.
fn foreign_error(head: &Head, asked: Asked, problem: &str) -> Error {
    let status = match status_for(head.http_status) {
        // Only the service itself can refuse credentials.
        Status::Rejected => Status::Protocol,
        status => status,
    };
    let (host, http_status) = (asked.host, head.http_status);
    let what = moved(head, "", asked).unwrap_or_else(|| {
        let note = match http_status {
            511 => ", this network asks for a login: open any web site on it",
            _ => "",
        };
        format!("{host} answered HTTP {http_status}{note}")
    });
    Error::new(status, format!("{what}; {problem}"))
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
    let server_now = head.date.and_then(unix_seconds);
    let now = server_now.unwrap_or(unix_now);
    let is_in_seconds = |at: &i64| at.saturating_sub(now) <= MAX_DISTANCE_SECONDS;
    let expires_in = positive("expires_in", fields.expires_in)?;
    // Where it is not needed, a strange one does no harm.
    let given_at = match positive("expires_at", fields.expires_at) {
        Err(_) if expires_in.is_some() => None,
        given_at => given_at?,
    };
    let expires_at = given_at.filter(is_in_seconds);
    let (expires_in, expires_at) = match (expires_in, expires_at, server_now) {
        (Some(within), Some(at), _) => (within, at),
        (Some(within), None, _) => (within, now.saturating_add(within)),
        // Never from this device's date: a token must not live or die by it.
        (None, Some(at), Some(now)) if at > now => (at - now, at),
        (None, Some(_), Some(_)) => return Err("the token has already expired".into()),
        (None, Some(_), None) => {
            return Err("it has no positive \"expires_in\" and no Date header".into());
        }
        (None, None, _) if given_at.is_some() => {
            return Err(
                "\"expires_at\" is over a hundred years away, not a date in seconds".into(),
            );
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
        http_status: head.http_status,
    })
}

/// A whole number above zero, also as text and with a fraction of zero. Absent, null, zero and negative
/// count as not given; anything that is not a whole number is an error.
fn positive(name: &str, raw: Option<&RawValue>) -> Result<Option<i64>, Cow<'static, str>> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    let in_quotes = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    let number = in_quotes.unwrap_or(raw);
    match whole_number(number) {
        Some(number) => Ok(Some(number).filter(|&n| n > 0)),
        None => Err(format!("\"{name}\" is not a whole number").into()),
    }
}

/// A JSON number that is whole, such as `60`, `60.0` or `6e1`. Without floating point: a host may have
/// turned its exceptions into signals.
fn whole_number(text: &str) -> Option<i64> {
    serde_json::from_str::<&RawValue>(text).ok()?;
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits: i64 = format!("{whole}{fraction}").parse().ok()?;
    let shift = exponent
        .parse::<i32>()
        .ok()?
        .checked_sub(fraction.len() as i32)?;
    let factor = 10_i64.checked_pow(shift.unsigned_abs())?;
    match shift {
        0.. => digits.checked_mul(factor),
        _ => (digits % factor == 0).then_some(digits / factor),
    }
}

fn is_text(raw: Option<&RawValue>) -> bool {
    raw.is_some_and(|raw| raw.get().starts_with('"'))
}

/// The text of a JSON string if it is 1 to `max` visible ASCII characters.
fn header_text(raw: &RawValue, max: usize) -> Option<Secret> {
    let text = unescape(raw)?;
    let fits = (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| Secret::new(&text))
}

/// The text of a JSON string, `None` for any other value. In memory that is wiped and never moves:
/// serde_json would leave a copy of an escaped token, or of a secret that is repeated, somewhere.
fn unescape(raw: &RawValue) -> Option<Zeroizing<String>> {
    let quoted = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    // Every escape is longer than what it stands for.
    let mut text = Zeroizing::new(String::with_capacity(quoted.len()));
    let mut rest = quoted;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut after = escape.chars();
        let c = match after.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (c, length) = unicode_escape(escape)?;
                after = escape[length..].chars();
                c
            }
            // A quote, a backslash or a slash: serde_json has seen to it.
            c => c,
        };
        text.push(c);
        rest = after.as_str();
    }
    text.push_str(rest);
    Some(text)
}

/// What `u` and four digits stand for, or such a pair (`ud83e\udd16`), and their length. The half of a
/// pair is U+FFFD.
fn unicode_escape(text: &str) -> Option<(char, usize)> {
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix('u')?.get(..4)?, 16).ok();
    let first = unit(text)?;
    let second = text[5..].strip_prefix('\\').and_then(unit);
    let mut pair = char::decode_utf16([first].into_iter().chain(second));
    match pair.next()? {
        Ok(c) => Some((c, if c.len_utf16() == 2 { 11 } else { 5 })),
        Err(_) => Some((char::REPLACEMENT_CHARACTER, 5)),
    }
}

/// What a failure with this HTTP status is if the service itself answered.
fn status_for(http_status: u16) -> Status {
    match http_status {
        200..300 | 400 | 401 | 403 | 422 => Status::Rejected,
        408 => Status::Timeout,
        429 => Status::RateLimited,
        // RFC 6585: never from the service, but from a network that wants a login first.
        511 => Status::Protocol,
        500.. => Status::Server,
        _ => Status::Protocol,
    }
}

fn refusal(fields: &Fields, head: &Head, asked: Asked) -> Error {
    let token = fields
        .token
        .and_then(|raw| header_text(raw, MAX_TOKEN_BYTES));
    let secrets: Vec<&Secret> = [asked.secret].into_iter().chain(&token).collect();
    let text = |raw: Option<&RawValue>| sanitize(&unescape(raw?)?, &secrets);
    let (server_code, server_message) = (text(fields.error), text(fields.message));

    let (host, http_status) = (asked.host, head.http_status);
    let status = status_for(http_status);
    let (what, reason) = match status {
        Status::Rejected => {
            let texts = [server_code.as_deref(), server_message.as_deref()];
            ("refused the sign-in", Reason::of(http_status, texts))
        }
        Status::RateLimited => ("asks to slow down", Reason::Unknown),
        Status::Timeout => ("waited too long for the request", Reason::Unknown),
        Status::Server => ("failed", Reason::Unknown),
        _ => (
            "gave an answer that is not one of the service",
            Reason::Unknown,
        ),
    };
    let code = server_code
        .as_deref()
        .map(|code| format!(", {code}"))
        .unwrap_or_default();
    let mut message = moved(head, &code, asked)
        .unwrap_or_else(|| format!("{host} {what} (HTTP {http_status}{code})"));
    if status == Status::Rejected {
        message = format!("{message}: {}", reason.advice());
    }
    if let Some(text) = server_message {
        message = format!("{message}. The service says: {text}");
    }
    Error {
        server_code,
        reason,
        ..Error::new(status, message)
    }
}

/// What is said of an answer that means that the sign-in is elsewhere. `None` for every other one.
fn moved(head: &Head, code: &str, asked: Asked) -> Option<String> {
    let Asked { host, path, .. } = asked;
    let http_status = head.http_status;
    match (http_status, head.location) {
        (300..400, Some(location)) => {
            let target = shown_target(location, asked.secret);
            let target = target.as_deref().unwrap_or("another place");
            Some(format!(
                "{host} redirects {path} to {target} (HTTP {http_status}{code}): redirects are not \
                 followed, so that no other host sees the secret; if the service has moved, set its new \
                 base_url or auth_path"
            ))
        }
        (404 | 410, _) => Some(format!(
            "{host} has no sign-in at {path} (HTTP {http_status}{code}): check base_url, and if the service \
             has moved the sign-in, set auth_path"
        )),
        _ => None,
    }
}

/// Where a redirect points, without its query and its fragment, which may hold a session. `None` if it has a
/// user name or nothing that can be shown.
fn shown_target(location: &str, secret: &Secret) -> Option<Box<str>> {
    let target = location.split(['?', '#']).next()?;
    match target.contains('@') {
        true => None,
        false => sanitize(target, &[secret]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_848_732;
    const DATE: &str = "Thu, 08 Jan 2026 05:05:32 GMT";

    fn asked(secret: &Secret) -> Asked<'_> {
        Asked {
            host: "host",
            path: "/auth",
            secret,
        }
    }

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
        parse_response(&head, body.as_bytes(), NOW, asked(&secret))
    }

    #[test]
    fn the_request_has_the_four_documented_fields_and_no_other() {
        let credentials = Credentials::new("id", "a\"b\\c", "çay-evi", "integrator").unwrap();
        let body = request_body(&credentials);
        assert_eq!(
            str::from_utf8(body.bytes()).unwrap(),
            r#"{"client_id":"id","client_secret":"a\"b\\c","brand":"çay-evi","integrator_id":"integrator"}"#
        );
    }

    #[test]
    fn the_longest_credentials_fit_into_the_request() {
        let long = "\"".repeat(1024);
        let credentials = Credentials::new(&long, &long, &long, &long).unwrap();
        assert!(request_body(&credentials).bytes().len() > 8 * 1024);
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
            r#"{"success":true,"token":"t","expires_in":9e308}"#,
            r#"{"success":true,"token":"t","expires_in":1e99999999999}"#,
            r#"{"success":true,"token":"t","expires_in":1e-2147483648}"#,
            r#"{"success":true,"token":"t","expires_in":6.05e1}"#,
            r#"{"success":true,"token":"t","expires_in":"null"}"#,
            r#"{"success":true,"token":"t","expires_in":"+60"}"#,
            r#"{"success":true,"token":"t","expires_in":"060"}"#,
            r#"{"success":true,"token":"t","expires_in":3600.5}"#,
            r#"{"success":true,"token":"t","expires_in":"3600.5"}"#,
            r#"{"success":true,"token":"t","expires_in":"1 h"}"#,
            r#"{"success":true,"token":"t","expires_in":"NaN"}"#,
            r#"{"success":true,"token":"t","expires_in":""}"#,
            r#"{"success":true,"token":"t","expires_in":"\u0031"}"#,
            r#"{"success":true,"token":"t","expires_in":null}"#,
            r#"{"success":true,"token":"t","expires_in":true}"#,
            r#"{"success":true,"token":"t","expires_in":[60]}"#,
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
    fn whole_numbers_are_taken_as_text_and_with_a_fraction_of_zero() {
        let numbers = [
            "60",
            "60.0",
            "6e1",
            "600E-1",
            "0.6e+2",
            "60.000",
            r#""60""#,
            r#""60.0""#,
        ];
        for number in numbers {
            for rest in [
                "",
                r#","expires_at":null"#,
                r#","expires_at":0"#,
                r#","expires_at":1767852332.5"#,
                r#","expires_at":"2026-01-08T06:05:32Z""#,
            ] {
                let body = format!(r#"{{"success":true,"token":"t","expires_in":{number}{rest}}}"#);
                let grant = read(200, &body).unwrap();
                assert_eq!(grant.expires_in, Duration::from_secs(60), "{body}");
                assert_eq!(grant.expires_at, NOW + 60, "{body}");
            }
        }
        for at in [format!("{}.0", NOW + 90), format!("\"{}\"", NOW + 90)] {
            let body = format!(r#"{{"success":true,"token":"t","expires_at":{at}}}"#);
            assert_eq!(read(200, &body).unwrap().expires_at, NOW + 90, "{body}");
        }
    }

    #[test]
    fn an_end_in_milliseconds_is_not_taken_for_seconds() {
        let at = 1000 * (NOW + 60);
        let body = format!(r#"{{"success":true,"token":"t","expires_at":{at}}}"#);
        let refused = read(200, &body).unwrap_err();
        assert_eq!(refused.status(), Status::Protocol);
        assert!(
            refused.message().contains("not a date in seconds"),
            "{refused}"
        );
        let body = format!(r#"{{"success":true,"token":"t","expires_in":60,"expires_at":{at}}}"#);
        let grant = read(200, &body).unwrap();
        assert_eq!(grant.expires_in, Duration::from_secs(60));
        assert_eq!(grant.expires_at, NOW + 60);
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
            (408, refused, Status::Timeout),
            (511, refused, Status::Protocol),
            (301, "", Status::Protocol),
            (408, "", Status::Timeout),
            (511, "<html>", Status::Protocol),
            (502, "<html>", Status::Server),
            (200, "<html>", Status::Protocol),
            (200, "{}", Status::Protocol),
            (
                200,
                r#"{"error":"Invalid integrator_id"}"#,
                Status::Rejected,
            ),
            (200, r#"{"error":"e","token":"t"}"#, Status::Protocol),
            (200, r#"{"error":5}"#, Status::Protocol),
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
    fn only_the_services_own_json_refuses_credentials() {
        for http_status in [400, 401, 403, 422] {
            for foreign in [
                "",
                "<html>Forbidden</html>",
                "Forbidden",
                "null",
                "{}",
                r#"{"message":"Forbidden"}"#,
                r#"{"error":{"code":403,"message":"Forbidden"}}"#,
                r#"{"success":true,"token":"t","expires_in":60}"#,
                r#"{"success":"false"}"#,
            ] {
                let error = read(http_status, foreign).unwrap_err();
                assert_eq!(error.status(), Status::Protocol, "{http_status} {foreign}");
                assert_eq!(error.http_status(), Some(http_status));
            }
            for own in [
                r#"{"success":false}"#,
                r#"{"success":false,"error":5}"#,
                r#"{"error":"Invalid integrator_id"}"#,
            ] {
                let error = read(http_status, own).unwrap_err();
                assert_eq!(error.status(), Status::Rejected, "{http_status} {own}");
            }
        }
    }

    #[test]
    fn a_network_that_asks_for_a_login_is_no_failure_of_the_service() {
        for body in ["<html>Log in</html>", ""] {
            let error = read(511, body).unwrap_err();
            assert!(error.message().contains("asks for a login"), "{error}");
        }
    }

    #[test]
    fn a_refusal_says_whose_value_is_wrong() {
        let reason = |body: &str| read(400, body).unwrap_err();
        let error = reason(r#"{"success":false,"error":"Invalid integrator_id"}"#);
        assert_eq!(error.reason(), Reason::Integrator);
        assert!(
            error.message().contains(Reason::Integrator.advice()),
            "{error}"
        );
        // Only of a refusal.
        let failed = read(503, r#"{"success":false,"error":"Invalid integrator_id"}"#).unwrap_err();
        assert_eq!(failed.reason(), Reason::Unknown);
    }

    #[test]
    fn texts_of_the_server_reach_the_log_as_one_short_line_without_the_secret() {
        let hostile = format!(
            r#"{{"success":false,"message":"a\nb\u001b[31m hun\u0007ter2 {}"}}"#,
            "é".repeat(400)
        );
        let message = read(401, &hostile).unwrap_err().message().to_owned();
        assert!(message.contains("ab[31m *** é"), "{message}");
        let (_, theirs) = message.split_once("The service says: ").unwrap();
        assert!(theirs.len() <= 512);
        assert!(!message.contains("hunter2"));
    }

    #[test]
    fn neither_the_secret_nor_the_token_of_an_answer_is_in_its_error() {
        let token = "a.token.that.is.no.jwt";
        let body = format!(
            r#"{{"success":false,"token":"{token}","error":"\u0068unter2","message":"{token}, hunter2"}}"#
        );
        let error = read(400, &body).unwrap_err();
        assert_eq!(error.server_code(), Some("***"));
        assert!(
            error.message().ends_with("The service says: ***, ***"),
            "{error}"
        );
    }

    #[test]
    fn every_escape_of_json_is_read() {
        let raw = |text: &str| serde_json::from_str::<&RawValue>(text).unwrap().to_owned();
        for text in [
            r#""""#,
            r#""plain ç 🧾""#,
            r#""\b\f\n\r\t\"\\\/ \u00e7\u00C7 \ud83e\uddfe.""#,
        ] {
            let expected: String = serde_json::from_str(text).unwrap();
            assert_eq!(*unescape(&raw(text)).unwrap(), expected);
        }
        for (half, expected) in [
            (r#""\ud83e""#, "\u{fffd}"),
            (r#""\uddfe\ud83e\u0041""#, "\u{fffd}\u{fffd}A"),
            (r#""\ud83e\n""#, "\u{fffd}\n"),
        ] {
            assert_eq!(*unescape(&raw(half)).unwrap(), expected);
        }
        for other in ["5", "null", "{}", "[]"] {
            assert_eq!(unescape(&raw(other)), None);
        }
    }

    #[test]
    fn the_server_says_how_long_to_stay_away() {
        type Values = &'static [&'static str];
        let table: [(u16, Values, Values, Option<u64>); 17] = [
            (429, &[], &[], None),
            (429, &["7"], &[], Some(7)),
            (429, &[], &["9"], Some(9)),
            (429, &["7"], &["9"], Some(9)),
            (429, &["Thu, 08 Jan 2026 05:06:02 GMT"], &["9"], Some(30)),
            (429, &["Thu, 08 Jan 1998 05:06:02 GMT"], &[], Some(0)),
            (429, &["99999999999999999999999"], &[], Some(u64::MAX)),
            (429, &["-5"], &["soon"], None),
            (503, &["7"], &["60"], Some(7)),
            (503, &[], &["60"], None),
            // Every value counts, also that of a proxy on the way, and a part of a second is one more.
            (429, &["5", "37"], &["9", "8"], Some(37)),
            (429, &["5, 37"], &["6,40"], Some(40)),
            (429, &["5", "Thu, 08 Jan 2026 05:06:02 GMT"], &[], Some(30)),
            (429, &["soon", "7"], &[], Some(7)),
            (429, &["37.5"], &["37.01"], Some(38)),
            (429, &["37.0"], &["37."], Some(37)),
            (429, &[".5", "1.x", "0x10", "soon, ", ""], &[","], None),
        ];
        for (http_status, retry_after, rate_limit_reset, seconds) in table {
            let head = Head {
                http_status,
                date: Some(DATE),
                retry_after: retry_after.to_vec(),
                rate_limit_reset: rate_limit_reset.to_vec(),
                ..Head::default()
            };
            let hint = retry_hint(&head);
            let case = format!("{retry_after:?} {rate_limit_reset:?}");
            assert_eq!(hint, seconds.map(Duration::from_secs), "{case}");
        }
    }

    /// This device's own may be decades away from the server's.
    #[test]
    fn a_date_until_which_to_stay_away_says_nothing_without_the_servers_date() {
        let head = Head {
            http_status: 429,
            retry_after: vec!["Thu, 08 Jan 2026 05:06:02 GMT"],
            ..Head::default()
        };
        assert_eq!(retry_hint(&head), None);
    }
}
