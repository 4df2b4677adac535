//! What a response means: a token or an error.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::time::Duration;

use serde_json::value::RawValue;

use super::error::{foreign_error, refusal, status_for, unexpected};
use super::fields::{Fields, parse_fields};
use super::json::{header_text, is_text, whole_number};
use super::retry::{retry_hint, unix_seconds};
use super::types::{Grant, Head, MAX_TOKEN_BYTES, Request};
use crate::secret::Secret;
use crate::{Error, Status};

/// Longer lifetimes are cut to ten years, so that no arithmetic overflows.
const MAX_LIFETIME_SECONDS: i64 = 10 * 366 * 86_400;
/// An `expires_at` that is further away is not in seconds; in milliseconds it would be 55 000 years.
const MAX_DISTANCE_SECONDS: i64 = 100 * 366 * 86_400;
/// The end of the year 9999, the latest that the dates of .NET and Python can tell.
const MAX_EXPIRES_AT: i64 = 253_402_300_799;

/// Reads a response.
pub(crate) fn parse_response(
    head: &Head,
    body: &[u8],
    unix_now: i64,
    request: Request,
) -> Result<Grant, Error> {
    let host = request.host;
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
            Err(problem) => unexpected(host, &problem),
        },
        (Ok(fields), Some("false")) => refusal(fields, head, request),
        // The service's schema of errors, unlike its pages, has no `success`.
        (Ok(fields), None) if is_text(fields.error) && fields.token.is_none() => {
            refusal(fields, head, request)
        }
        (Ok(_), None) if is_2xx => unexpected(host, "the field \"success\" is missing"),
        (Ok(_), Some(_)) if is_2xx => unexpected(host, "\"success\" is neither true nor false"),
        (Ok(fields), _) if status_for(http_status) != Status::Rejected => {
            refusal(fields, head, request)
        }
        (Ok(_), _) => foreign_error(head, request, "the JSON is not one of the service"),
        (Err(problem), _) if is_2xx => unexpected(host, problem),
        (Err(problem), _) => foreign_error(head, request, problem),
    };
    Err(Error {
        http_status: Some(http_status),
        retry_after: retry_hint(head),
        ..failure
    })
}

fn parse_grant(fields: &Fields, head: &Head, unix_now: i64) -> Result<Grant, Cow<'static, str>> {
    let token = match fields.token {
        Some(raw) => header_text(raw, MAX_TOKEN_BYTES)
            .ok_or("\"token\" is not a string of 1 to 8192 visible ASCII characters")?,
        None => return Err("the field \"token\" is missing".into()),
    };
    let token_type = match fields.token_type {
        Some(raw) => header_text(raw, 64)
            .ok_or("\"token_type\" is not a string of 1 to 64 visible ASCII characters")?,
        None => Secret::new("Bearer"),
    };
    let server_now = head.date.and_then(unix_seconds);
    let now = server_now.unwrap_or(unix_now);
    let is_in_seconds = |at: &i64| at.saturating_sub(now) <= MAX_DISTANCE_SECONDS;
    let expires_in = positive("expires_in", fields.expires_in)?;
    // An invalid `expires_at` is ignored if it is not needed.
    let given_at = match positive("expires_at", fields.expires_at) {
        Err(_) if expires_in.is_some() => None,
        given_at => given_at?,
    };
    let expires_at = given_at.filter(is_in_seconds);
    let (expires_in, expires_at) = match (expires_in, expires_at, server_now) {
        (Some(within), Some(at), _) => (within, at),
        (Some(within), None, _) => (within, now.saturating_add(within)),
        // Not from this device's date.
        (None, Some(at), Some(now)) if at > now => (at - now, at),
        (None, Some(_), Some(_)) => return Err("the token has already expired".into()),
        (None, Some(_), None) => {
            return Err(
                "\"expires_in\" is missing or not positive, and there is no valid Date \
                        header for \"expires_at\""
                    .into(),
            );
        }
        (None, None, _) if given_at.is_some() => {
            return Err(
                "\"expires_at\" is over a hundred years away, not a date in seconds".into(),
            );
        }
        (None, None, _) => {
            return Err("\"expires_in\" and \"expires_at\" are missing or not positive".into());
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

/// A positive integer, also as a string or with a fraction of zero. `None` if it is missing, null,
/// zero or negative; an error if it is not an integer.
fn positive(name: &str, raw: Option<&RawValue>) -> Result<Option<i64>, Cow<'static, str>> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    let in_quotes = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    let number = in_quotes.unwrap_or(raw);
    match whole_number(number) {
        Some(number) => Ok(Some(number).filter(|&n| n > 0)),
        None => Err(format!("\"{name}\" is not an integer").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    const NOW: i64 = 1_767_848_732;
    const DATE: &str = "Thu, 08 Jan 2026 05:05:32 GMT";

    fn request(secret: &Secret) -> Request<'_> {
        Request {
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
        parse_response(&head, body.as_bytes(), NOW, request(&secret))
    }

    #[test]
    fn the_documented_example_is_parsed() {
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
    fn whole_numbers_are_accepted_as_strings_and_with_a_zero_fraction() {
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
    fn an_expires_at_in_milliseconds_is_not_taken_for_seconds() {
        let at = 1000 * (NOW + 60);
        let body = format!(r#"{{"success":true,"token":"t","expires_at":{at}}}"#);
        let error = read(200, &body).unwrap_err();
        assert_eq!(error.status(), Status::Protocol);
        assert!(error.message().contains("not a date in seconds"), "{error}");
        let body = format!(r#"{{"success":true,"token":"t","expires_in":60,"expires_at":{at}}}"#);
        let grant = read(200, &body).unwrap();
        assert_eq!(grant.expires_in, Duration::from_secs(60));
        assert_eq!(grant.expires_at, NOW + 60);
    }

    #[test]
    fn an_expires_at_alone_needs_the_servers_date() {
        let body = format!(
            r#"{{"success":true,"token":"t","expires_at":{}}}"#,
            NOW + 90
        );
        for date in [None, Some("yesterday")] {
            let error = read_dated(200, date, &body).unwrap_err();
            assert_eq!(error.status(), Status::Protocol);
            assert!(
                error.to_string().contains("no valid Date header"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_huge_expires_in_is_limited() {
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
    fn a_token_type_is_one_short_word() {
        for (token_type, is_good) in [
            (r#""Bearer""#, true),
            (r#""""#, false),
            (r#""a b""#, false),
            ("7", false),
        ] {
            let rest = r#""token":"a","expires_in":60"#;
            let result = read(
                200,
                &format!(r#"{{"success":true,{rest},"token_type":{token_type}}}"#),
            );
            assert_eq!(result.is_ok(), is_good, "{token_type}");
        }
    }

    #[test]
    fn only_success_true_with_a_2xx_status_is_a_success_and_the_http_status_selects_the_error() {
        let failed =
            r#"{"success":false,"message":"Invalid credentials","error":"authentication_failed"}"#;
        let table = [
            (200, failed, Status::Rejected),
            (400, failed, Status::Rejected),
            (401, failed, Status::Rejected),
            (403, failed, Status::Rejected),
            (422, failed, Status::Rejected),
            (429, failed, Status::RateLimited),
            (500, failed, Status::Server),
            (504, failed, Status::Server),
            (404, failed, Status::Protocol),
            (408, failed, Status::Timeout),
            (511, failed, Status::Protocol),
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
            read(401, failed).unwrap_err().server_code(),
            Some("authentication_failed")
        );
    }

    #[test]
    fn only_json_of_the_service_is_a_rejection() {
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
    fn http_511_is_explained_as_a_network_that_asks_for_a_login() {
        for body in ["<html>Log in</html>", ""] {
            let error = read(511, body).unwrap_err();
            assert!(error.message().contains("asks for a login"), "{error}");
        }
    }

    #[test]
    fn only_a_rejection_has_a_reason_and_its_advice() {
        let reason = |body: &str| read(400, body).unwrap_err();
        let error = reason(r#"{"success":false,"error":"Invalid integrator_id"}"#);
        assert_eq!(error.reason(), Reason::Integrator);
        assert!(
            error.message().contains(Reason::Integrator.advice()),
            "{error}"
        );
        // Other errors have none.
        let failed = read(503, r#"{"success":false,"error":"Invalid integrator_id"}"#).unwrap_err();
        assert_eq!(failed.reason(), Reason::Unknown);
    }

    #[test]
    fn a_servers_message_becomes_one_short_line_without_the_secret() {
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
    fn a_rejection_shows_neither_the_secret_nor_a_token() {
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
}
