//! The status numbers: what every call returns and every error carries.
//!
//! This file is the one source of the list. The numbers are part of the ABI: they are written once,
//! never changed and never reused.
#![forbid(unsafe_code)]

use std::ffi::CStr;

/// What a call came to. `CLOPOS_AUTH_OK` is 0, everything else is a failure.
///
/// Always 32 bits wide. A newer library may return a number that this header does not know: treat it
/// as a failure, and print it with `clopos_auth_status_name()`.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The call succeeded.
    Ok = 0,
    /// An argument was NULL, empty, too long, not UTF-8, held control characters or was out of
    /// range. The message names the argument. Nothing was done.
    InvalidArgument = 1,
    /// The handle was never made by this library, was already freed, or is of the other kind.
    InvalidHandle = 2,
    /// The buffer cannot hold the token and its NUL; `*needed` says how many bytes it takes. The
    /// token stays cached: call again with a larger buffer.
    BufferTooSmall = 3,
    /// The system gives no memory, no thread or no random numbers, or there is a bug in this library
    /// (please report it); the message says which. The client stays usable.
    Internal = 4,
    /// The call would have had to wait and its timeout was 0. A request has been started: call again.
    WouldWait = 5,
    /// `clopos_auth_cancel()` was called, or the client was freed while this call was waiting.
    Cancelled = 6,
    /// The time allowed for the call ran out before there was a result, or the request took the
    /// service too long to arrive (HTTP 408).
    Timeout = 7,
    /// The host name of the service (or of the proxy) could not be resolved: DNS or the network is
    /// down, or the name is wrong.
    Dns = 8,
    /// No connection could be made, or it broke before an answer was complete.
    Connect = 9,
    /// The server could not be trusted or spoke no TLS that this library accepts: unknown issuer
    /// (a TLS-inspecting proxy needs its CA added), wrong host name, older than TLS 1.2.
    Tls = 10,
    /// The server's certificate is not valid *at this device's date*. The device's clock is almost
    /// always what is wrong: the message gives both dates.
    Clock = 11,
    /// The HTTP proxy could not be used: unreachable, or it refused (`http_status` says how).
    Proxy = 12,
    /// The service refused the sign-in. Asking again will not help until somebody corrects the client
    /// id, secret, brand or integrator id (the error's `reason` and message say which); asking often
    /// may lock the whole store out. Since 1.1 also where the service refuses the tokens that it issues:
    /// see `clopos_auth_invalidate()`.
    Rejected = 13,
    /// Too many requests: the service said so, or this client used up its own
    /// `requests_per_minute` (then `http_status` is 0). `retry_after_ms` says how long to wait.
    RateLimited = 14,
    /// The service failed (HTTP 5xx). It usually recovers by itself.
    Server = 15,
    /// The answer was not one that the service gives: a captive portal's page (also with HTTP 400 to
    /// 403 or 511), a truncated or oversized body, a token that cannot go into a header.
    Protocol = 16,
}

/// One row of the table: a status, its name and whether the same call may succeed later by itself.
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

    /// Whether the same call may succeed later without anybody changing anything.
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
    fn every_number_finds_its_own_row() {
        for (number, status) in Status::all().enumerate() {
            assert_eq!(status as usize, number);
            assert_eq!(Status::from_number(number as i32), Some(status));
        }
        assert_eq!(Status::from_number(-1), None);
        assert_eq!(Status::from_number(TABLE.len() as i32), None);
    }
}
