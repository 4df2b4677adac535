//! The request and the response as bytes: builds the body of the one, reads the other. Pure: no clock, no
//! socket.
//!
//! The contract is the page of `POST /open-api/v2/auth`: four required strings are sent (`venue_id`,
//! known from v1, must not be). `success` decides whether the service agreed, whatever the HTTP status says; a
//! token needs a 2xx status, too.
#![forbid(unsafe_code)]

mod error;
mod fields;
mod json;
mod request;
mod response;
mod retry;
mod types;

pub(crate) use self::error::unexpected;
pub(crate) use self::request::request_body;
pub(crate) use self::response::parse_response;
#[cfg(fuzzing)]
pub(crate) use self::retry::retry_hint;
pub(crate) use self::retry::unix_seconds;
pub(crate) use self::types::{Grant, Head, MAX_BODY_BYTES, MAX_TOKEN_BYTES, Request};
