//! The error for a response without a token.
#![forbid(unsafe_code)]

use serde_json::value::RawValue;

use super::fields::Fields;
use super::json::{header_text, unescape};
use super::types::{Head, MAX_TOKEN_BYTES, Request};
use crate::sanitize::sanitize;
use crate::secret::Secret;
use crate::{Error, Reason, Status};

pub(crate) fn unexpected(host: &str, problem: &str) -> Error {
    Error::new(
        Status::Protocol,
        format!("unexpected response from {host}: {problem}"),
    )
}

/// The status of a failure with this HTTP status, if the service itself responded.
pub(super) fn status_for(http_status: u16) -> Status {
    match http_status {
        200..300 | 400 | 401 | 403 | 422 => Status::Rejected,
        408 => Status::Timeout,
        429 => Status::RateLimited,
        // RFC 6585: never from the service, but from a network that requires a login.
        511 => Status::Protocol,
        500.. => Status::Server,
        _ => Status::Protocol,
    }
}

/// An HTTP error whose body is not the service's: of a gateway, a proxy or a login page.
pub(super) fn foreign_error(head: &Head, request: Request, problem: &str) -> Error {
    let status = match status_for(head.http_status) {
        // Only the service itself can refuse credentials.
        Status::Rejected => Status::Protocol,
        status => status,
    };
    let (host, http_status) = (request.host, head.http_status);
    let what = moved(head, "", request).unwrap_or_else(|| {
        let note = match http_status {
            511 => ", this network asks for a login: open any web site on it",
            _ => "",
        };
        format!("{host} answered HTTP {http_status}{note}")
    });
    Error::new(status, format!("{what}; {problem}"))
}

/// A failure that the service itself reports.
pub(super) fn refusal(fields: &Fields, head: &Head, request: Request) -> Error {
    let token = fields
        .token
        .and_then(|raw| header_text(raw, MAX_TOKEN_BYTES));
    let secrets: Vec<&Secret> = [request.secret].into_iter().chain(&token).collect();
    let text = |raw: Option<&RawValue>| sanitize(&unescape(raw?)?, &secrets);
    let (server_code, server_message) = (text(fields.error), text(fields.message));

    let (host, http_status) = (request.host, head.http_status);
    let status = status_for(http_status);
    let (what, reason) = match status {
        Status::Rejected => {
            let texts = [server_code.as_deref(), server_message.as_deref()];
            ("refused the sign-in", Reason::of(http_status, texts))
        }
        Status::RateLimited => ("answered that the rate limit is exceeded", Reason::Unknown),
        Status::Timeout => ("waited too long for the request", Reason::Unknown),
        Status::Server => ("failed", Reason::Unknown),
        _ => ("gave an unexpected response", Reason::Unknown),
    };
    let code = server_code
        .as_deref()
        .map(|code| format!(", {code}"))
        .unwrap_or_default();
    let mut message = moved(head, &code, request)
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

/// The message for a response that means that the sign-in has moved; `None` for other responses.
fn moved(head: &Head, code: &str, request: Request) -> Option<String> {
    let Request { host, path, .. } = request;
    let http_status = head.http_status;
    match (http_status, head.location) {
        (300..400, Some(location)) => {
            let target = shown_target(location, request.secret);
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

/// The target of a redirect without its query, fragment and parameters, which may hold a session. `None` if it
/// has a user name, or nothing is left.
fn shown_target(location: &str, secret: &Secret) -> Option<Box<str>> {
    let target = location.split(['?', '#', ';']).next()?;
    match target.contains('@') {
        true => None,
        false => sanitize(target, &[secret]),
    }
}
