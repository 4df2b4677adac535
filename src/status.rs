//! The status numbers, which every call returns and every error has.
//!
//! This table is the only source of the list. The numbers are part of the ABI: never changed,
//! never reused.
#![forbid(unsafe_code)]

use std::ffi::CStr;

/// The result of a call. `CLOPOS_AUTH_OK` is 0, every other number is a failure.
///
/// Always 32 bits wide. A newer library may return a number that this header does not know: treat it
/// as a failure, and print it with `clopos_auth_status_name()`.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The call succeeded.
    Ok = 0,
    /// An argument is NULL, empty, too long, out of range, not UTF-8, or contains a control
    /// character. The message names the argument. Nothing was done. Not retryable.
    InvalidArgument = 1,
    /// The handle was never created by this library, was already freed, or is of the wrong type. Not
    /// retryable.
    InvalidHandle = 2,
    /// The buffer cannot hold the token and its NUL; `*needed` is the required size in bytes. The
    /// token stays cached: call again with a larger buffer. Not retryable.
    BufferTooSmall = 3,
    /// Out of memory, threads, handles or random numbers, or a bug in this library (please report
    /// it); the message says which. The client stays usable. Not retryable, since it may be a bug; a later
    /// call may succeed.
    Internal = 4,
    /// The timeout was 0 and there is no token yet. A sign-in is running: call again. Retryable.
    WouldWait = 5,
    /// `clopos_auth_cancel()` was called, or the client was freed, while this call was waiting. Retryable.
    Cancelled = 6,
    /// The call's timeout expired (then the sign-in continues, and a later call gets its result), or the
    /// service did not respond within the attempt timeout, or it answered HTTP 408. Retryable.
    Timeout = 7,
    /// The host name of the service could not be resolved: DNS or the network is down, or the name
    /// is wrong. (A proxy's name that cannot be resolved is PROXY.) Retryable.
    Dns = 8,
    /// No connection could be made, or it broke before the response was complete. Retryable.
    Connect = 9,
    /// The server's certificate is not trusted (unknown issuer: add the CA of a TLS-inspecting
    /// proxy; or wrong host name), or the server does not support TLS 1.2 or newer. Not retryable.
    Tls = 10,
    /// The server's certificate is not valid *at this device's date*. Usually the device's clock
    /// is wrong; the message has both dates. Retryable.
    Clock = 11,
    /// The HTTP proxy is unreachable, or it refused (`http_status` is its response). Retryable, unless
    /// that is a 4xx other than 408, 425 and 429, or the proxy of the environment is not a valid one.
    Proxy = 12,
    /// The service refused the sign-in. Signing in again fails until the client id, secret, brand
    /// or integrator id is corrected (the error's `reason` and message say which); many attempts
    /// may lock the whole store out. Not retryable. Since 1.1 also if the service refuses the tokens that
    /// it issues; that ends by itself, so it is retryable: see `clopos_auth_invalidate()`.
    Rejected = 13,
    /// Too many requests: the service answered 429, or this client reached its
    /// `requests_per_minute` (then `http_status` is 0). `retry_after_ms` is the time to wait. Retryable.
    RateLimited = 14,
    /// The service failed (HTTP 5xx). It usually recovers without any change here. Retryable.
    Server = 15,
    /// The response is not one of the service: for example a captive portal's page (also with HTTP
    /// 400 to 403 or 511), a truncated or oversized body, a token that is not allowed in a header;
    /// or the sign-in has moved (HTTP 404, 410 or a redirect). Retryable.
    Protocol = 16,
}

/// One row of the table: a status, its name and whether the same call may succeed later without
/// any change.
struct Row(Status, &'static CStr, bool);

const TABLE: [Row; 17] = [
    Row(Status::Ok, c"OK", false),
    Row(Status::InvalidArgument, c"INVALID_ARGUMENT", false),
    Row(Status::InvalidHandle, c"INVALID_HANDLE", false),
    Row(Status::BufferTooSmall, c"BUFFER_TOO_SMALL", false),
    Row(Status::Internal, c"INTERNAL", false),
    Row(Status::WouldWait, c"WOULD_WAIT", true),
    Row(Status::Cancelled, c"CANCELLED", true),
    Row(Status::Timeout, c"TIMEOUT", true),
    Row(Status::Dns, c"DNS", true),
    Row(Status::Connect, c"CONNECT", true),
    Row(Status::Tls, c"TLS", false),
    Row(Status::Clock, c"CLOCK", true),
    Row(Status::Proxy, c"PROXY", true),
    Row(Status::Rejected, c"REJECTED", false),
    Row(Status::RateLimited, c"RATE_LIMITED", true),
    Row(Status::Server, c"SERVER", true),
    Row(Status::Protocol, c"PROTOCOL", true),
];

impl Status {
    /// Every status, in the order of its number.
    pub fn all() -> impl Iterator<Item = Status> {
        TABLE.iter().map(|row| row.0)
    }

    /// The name without its prefix, for logs: `REJECTED`.
    pub fn name(self) -> &'static str {
        self.c_name().to_str().expect("the table is ASCII")
    }

    /// The same name as a C string.
    pub fn c_name(self) -> &'static CStr {
        self.row().1
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(self) -> bool {
        self.row().2
    }

    /// The status with this number, if there is one.
    pub fn from_number(number: i32) -> Option<Status> {
        let row = TABLE.get(usize::try_from(number).ok()?)?;
        Some(row.0)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_found_by_its_number() {
        for (number, status) in Status::all().enumerate() {
            assert_eq!(status as usize, number);
            assert_eq!(Status::from_number(number as i32), Some(status));
        }
        assert_eq!(Status::from_number(-1), None);
        assert_eq!(Status::from_number(TABLE.len() as i32), None);
    }
}
