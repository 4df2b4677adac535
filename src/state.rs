//! What a client says about itself.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::Error;

/// What is known of a client at one moment, for status displays and reports. Since 1.1.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct State {
    /// How long the token lives on; `None`: there is none.
    pub expires_in: Option<Duration>,
    /// Whether [`crate::Client::get_token`] gives the token at once.
    pub is_fresh: bool,
    /// How long until the token is due to be replaced, zero if it is; `None`: there is none. The first
    /// call after that starts the request.
    pub refresh_in: Option<Duration>,
    /// Whether a sign-in is running; between its attempts, too.
    pub request_in_flight: bool,
    /// How long until the next request may be sent.
    pub next_request_in: Duration,
    /// `None`: no request has finished yet.
    pub last_result: Option<LastResult>,
    /// How many requests were sent by this process, including those that did not reach the service.
    pub requests: u64,
    /// How many attempts failed. An attempt may send two requests.
    pub failures: u64,
}

/// How the last request that has finished ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LastResult {
    /// How long ago that was.
    pub age: Duration,
    /// The HTTP status of the response; `None`: there was none.
    pub http_status: Option<u16>,
    /// `None`: it brought a token. [`crate::Status::Rejected`] also where the service has refused that
    /// token within a minute, see [`crate::Client::invalidate`].
    pub error: Option<Error>,
}
