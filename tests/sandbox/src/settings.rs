//! The settings of a sandbox without faults. Each field is also an option of the program.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use serde_json::Value;

/// How the sandbox listens, what it presents and what it answers.
///
/// Start from [`Settings::default`] and change fields. Those that shape the listener (`listen`,
/// `control`, `auth_path`, `tls`, `certificate`, `names`) are read once, at start; the others may
/// change while it runs, with [`Sandbox::update`](crate::Sandbox::update).
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Service")]
pub struct Settings {
    /// Address of the service; port 0 takes a free one
    ///
    /// [library default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    pub listen: SocketAddr,

    /// Address of the control port, always plain HTTP
    #[arg(long, value_name = "ADDR", default_value_t = Settings::default().control)]
    pub control: SocketAddr,

    /// The path of the sign-in; other paths are not found
    #[arg(long, value_name = "PATH", default_value_t = Settings::default().auth_path)]
    pub auth_path: String,

    /// Serve plain HTTP, without TLS
    #[arg(long = "no-tls", action = ArgAction::SetFalse)]
    pub tls: bool,

    /// The certificate that the service presents
    #[arg(long, value_name = "KIND", value_enum, default_value = "valid")]
    pub certificate: Certificate,

    /// Host names and IP addresses in the certificate
    #[arg(long = "name", value_name = "NAME", default_values_t = Settings::default().names)]
    pub names: Vec<String>,

    /// Seconds that a token is valid
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "3600")]
    pub lifetime: Duration,

    /// Milliseconds to wait before each response to an auth request
    #[arg(long = "latency-ms", value_name = "MS", value_parser = milliseconds, default_value = "0")]
    pub latency: Duration,

    /// Seconds by which the server's clock is ahead of the real one; negative: behind
    #[arg(
        long,
        value_name = "SECONDS",
        allow_negative_numbers = true,
        default_value_t = 0
    )]
    pub clock_offset: i64,

    /// Auth requests allowed each minute for one client IP; 0: no limit
    #[arg(long, value_name = "N", default_value_t = Settings::default().requests_per_minute)]
    pub requests_per_minute: u32,

    /// Leave the RateLimit-* headers out of every 429
    #[arg(long = "no-rate-limit-headers", action = ArgAction::SetFalse)]
    pub rate_limit_headers: bool,

    /// RateLimit-Reset of every 429, as it is, instead of the seconds left in the minute
    #[arg(long, value_name = "VALUE")]
    pub rate_limit_reset: Option<String>,

    /// Retry-After of every 429, as it is: seconds or an HTTP date
    #[arg(long, value_name = "VALUE")]
    pub retry_after: Option<String>,

    /// The `expires_in` of each response instead of the correct one: any JSON value, or `omit`
    #[arg(long, value_name = "JSON", value_parser = stand_in, allow_hyphen_values = true)]
    pub expires_in: Option<StandIn>,

    /// The `expires_at` of each response instead of the correct one: any JSON value, or `omit`
    #[arg(long, value_name = "JSON", value_parser = stand_in, allow_hyphen_values = true)]
    pub expires_at: Option<StandIn>,

    /// The next response of /venues: a 401 with this `error`, or a redirect to this URL; repeat it for a
    /// sequence
    #[arg(long = "venues", value_name = "ERROR|URL")]
    pub venues: Vec<String>,

    /// The target of the redirect-* faults
    #[arg(long, value_name = "URL", default_value_t = Settings::default().redirect_to)]
    pub redirect_to: String,
}

impl Default for Settings {
    fn default() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Settings {
            listen: any_port,
            control: any_port,
            auth_path: crate::AUTH_PATH.into(),
            tls: true,
            certificate: Certificate::Valid,
            names: ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec(),
            lifetime: Duration::from_secs(3600),
            latency: Duration::ZERO,
            clock_offset: 0,
            requests_per_minute: 60,
            rate_limit_headers: true,
            rate_limit_reset: None,
            retry_after: None,
            expires_in: None,
            expires_at: None,
            venues: Vec::new(),
            redirect_to: "https://127.0.0.2:1/stolen".into(),
        }
    }
}

/// The certificate that the service presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Certificate {
    /// Good now, for the right names, under the CA that is written out
    Valid,
    /// Expired a year ago
    Expired,
    /// Valid from a year in the future
    NotYetValid,
    /// For other names than the configured ones
    WrongHost,
    /// Signed by a CA other than the one that is written out
    UnknownIssuer,
}

/// What replaces the correct value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum StandIn {
    /// The field is left out.
    Omit,
    /// This value.
    Value(Value),
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

fn milliseconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}

fn stand_in(text: &str) -> Result<StandIn, serde_json::Error> {
    match text {
        "omit" => Ok(StandIn::Omit),
        json => serde_json::from_str(json).map(StandIn::Value),
    }
}
