//! The parts of a request and of its response.
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

/// The parts of a response's head that are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head<'a> {
    pub http_status: u16,
    pub date: Option<&'a str>,
    pub location: Option<&'a str>,
    /// The values of all fields with this name: a proxy may add one.
    pub retry_after: Vec<&'a str>,
    pub rate_limit_reset: Vec<&'a str>,
}

/// The request, for error messages: its host, its path, and the secret that they must not contain.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub host: &'a str,
    pub path: &'a str,
    pub secret: &'a Secret,
}
