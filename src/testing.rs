//! What this library's own tests use besides its interface: clocks that a test moves, the pure policies, and,
//! in a build for fuzzing, the parser of responses. No part of the interface: all of it may change in any version.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use crate::Config;

pub mod clock {
    pub use crate::clock::{Clock, Instant, TimeSource};
}

pub mod freshness {
    pub use crate::freshness::{Lifetime, Spread, plan};
}

pub mod pace {
    pub use crate::pace::{FailureKind, Pace};
}

/// Makes clients that use another clock than the system's.
pub fn set_clock(config: &mut Config, clock: clock::Clock) -> &mut Config {
    config.network.clock = clock;
    config
}

/// Compiled only with the `cfg(fuzzing)` that cargo-fuzz sets.
#[cfg(fuzzing)]
pub mod fuzz {
    use std::time::Duration;

    use crate::DEFAULT_AUTH_PATH;
    use crate::Error;
    use crate::protocol::{self, Head, Request};
    use crate::secret::Secret;

    /// What an HTTP date stands for.
    pub fn unix_seconds(http_date: &str) -> Option<i64> {
        protocol::unix_seconds(http_date)
    }

    /// A response as it comes in.
    #[derive(Clone, Debug, Default)]
    pub struct Response<'a> {
        pub http_status: u16,
        pub date: Option<&'a str>,
        pub location: Option<&'a str>,
        pub retry_after: Vec<&'a str>,
        pub rate_limit_reset: Vec<&'a str>,
        pub body: &'a [u8],
    }

    /// What was granted.
    #[derive(Debug)]
    pub struct Granted {
        pub token: String,
        pub token_type: String,
        pub expires_in: Duration,
        pub expires_at: i64,
    }

    pub fn parse_response(
        response: &Response,
        unix_now: i64,
        host: &str,
        secret: &str,
    ) -> Result<Granted, Error> {
        let secret = Secret::new(secret);
        let asked = Request {
            host,
            path: DEFAULT_AUTH_PATH,
            secret: &secret,
        };
        let grant = protocol::parse_response(&head(response), response.body, unix_now, asked)?;
        Ok(Granted {
            token: grant.token.expose().into(),
            token_type: grant.token_type.into(),
            expires_in: grant.expires_in,
            expires_at: grant.expires_at,
        })
    }

    pub fn retry_hint(response: &Response) -> Option<Duration> {
        protocol::retry_hint(&head(response))
    }

    fn head<'a>(response: &Response<'a>) -> Head<'a> {
        Head {
            http_status: response.http_status,
            date: response.date,
            location: response.location,
            retry_after: response.retry_after.clone(),
            rate_limit_reset: response.rate_limit_reset.clone(),
        }
    }
}
