//! What a request and its response consist of.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::secret::Secret;

/// The longest response body that is read.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;
/// The longest token that is accepted.
pub(crate) const MAX_TOKEN_BYTES: usize = 8192;

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
