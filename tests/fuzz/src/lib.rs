//! What the fuzz targets share.
#![forbid(unsafe_code)]

use clopos_auth::Error;
use clopos_auth::testing::fuzz::Response;

/// No text that a caller gets may contain it.
pub const SECRET: &str = "hunter2";

/// A time on the device's clock: 8 January 2026.
pub const NOW: i64 = 1_767_852_332;

/// Parses an input: a line with the HTTP status, lines `name: value`, an empty line, the body. Other lines are
/// ignored, so that every input is a response.
pub fn response(input: &[u8]) -> Response<'_> {
    let mut response = Response::default();
    let mut rest = input;
    let mut first = true;
    loop {
        let (line, after) = match rest.iter().position(|&byte| byte == b'\n') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &[][..]),
        };
        rest = after;
        if line.is_empty() {
            break;
        }
        // As in the HTTP library, where only ASCII is text.
        let line = if line.is_ascii() {
            str::from_utf8(line).unwrap_or("")
        } else {
            ""
        };
        if first {
            response.http_status = line.trim().parse().unwrap_or(200);
            first = false;
        }
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        match name {
            "Date" => response.date = Some(value),
            "Location" => response.location = Some(value),
            "Retry-After" => response.retry_after.push(value),
            "RateLimit-Reset" => response.rate_limit_reset.push(value),
            _ => {}
        }
    }
    response.body = rest;
    response
}

/// Checks the texts of an error.
pub fn check_error(error: &Error) {
    let texts = [Some(error.message()), error.server_code()];
    for text in texts.into_iter().flatten() {
        assert!(!text.contains(SECRET), "the secret leaked: {text:?}");
        assert!(
            !text.chars().any(char::is_control),
            "not one line: {text:?}"
        );
        assert!(text.len() < 4096, "{} bytes of text", text.len());
    }
    assert!(!error.message().is_empty());
    assert!(!format!("{error:?} {error}").contains(SECRET));
}
