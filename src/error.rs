//! The error type: what failed, and what the caller can do.
//!
//! An error never holds a secret: its texts are this library's own, the host name, and the texts
//! of a response after `sanitize` has masked secrets.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::{Reason, Status};

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub(crate) status: Status,
    pub(crate) http_status: Option<u16>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) server_code: Option<Box<str>>,
    pub(crate) reason: Reason,
    /// `None`: as its status is.
    pub(crate) retryable: Option<bool>,
    /// Borrowed if it is constant: the error for lack of memory needs no memory.
    pub(crate) message: Cow<'static, str>,
}

impl Error {
    pub(crate) fn new(status: Status, message: impl Into<Cow<'static, str>>) -> Error {
        Error {
            status,
            http_status: None,
            retry_after: None,
            server_code: None,
            reason: Reason::Unknown,
            retryable: None,
            message: message.into(),
        }
    }

    pub(crate) fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Status::InvalidArgument, message)
    }

    pub(crate) fn with_retry_after(mut self, wait: Duration) -> Error {
        self.retry_after = Some(wait);
        self
    }

    /// The status number that C callers see.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The HTTP status of the response, `None` where no response was received.
    pub fn http_status(&self) -> Option<u16> {
        self.http_status
    }

    /// Whether the same call may succeed later without any change. That depends on the status, but for two cases:
    ///
    /// - a proxy that asks for (other) credentials or forbids the host is not retryable; one that is down or
    ///   overloaded is;
    /// - [`Status::Rejected`] is retryable after the service has refused a new token, see
    ///   [`crate::Client::invalidate`].
    pub fn is_retryable(&self) -> bool {
        let proxy_refused = match self.http_status {
            Some(408 | 425 | 429) | None => false,
            Some(code) => self.status == Status::Proxy && (400..500).contains(&code),
        };
        self.retryable
            .unwrap_or(self.status.is_retryable() && !proxy_refused)
    }

    /// The time until the next request may be sent, if it is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The `error` field of the response: an identifier or a sentence.
    pub fn server_code(&self) -> Option<&str> {
        self.server_code.as_deref()
    }

    /// Why the service refused the sign-in, for people and reports. Since 1.1.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// One line for a log, never a secret.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.name(), self.message)
    }
}

impl std::error::Error for Error {}

/// Carries an error of a connection through ureq, to the request that needs the connection.
impl From<Error> for ureq::Error {
    fn from(error: Error) -> ureq::Error {
        ureq::Error::Other(Box::new(error))
    }
}
