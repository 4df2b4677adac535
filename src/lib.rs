//! Signs in to the [Clopos] Open API v2: exchanges four credentials for a token, caches it, and refreshes
//! it before it expires.
//!
//! This is the Rust side of `libclopos_auth`; the C interface (`include/clopos_auth.h`) is a thin layer
//! on it. In Rust:
//!
//! ```no_run
//! use clopos_auth::{Client, Config, Credentials};
//!
//! # fn main() -> Result<(), clopos_auth::Error> {
//! let credentials = Credentials::new("client id", "client secret", "brand", "integrator id")?;
//! let client = Client::new(credentials, &Config::new())?;
//! let token = client.get_token(None)?;
//! println!("x-token: {} bytes, {:?} left", token.value().len(), token.expires_in());
//! # Ok(())
//! # }
//! ```
//!
//! # Keep `ureq_proto` out of logs at level TRACE
//!
//! This library itself writes only to the function given to [`Config::set_log`], and never a secret. But
//! the crates below it write to the [`log`](https://docs.rs/log) facade, and if the host has installed a
//! logger there, the target `ureq_proto::util` writes every response at level TRACE, byte by byte: **the
//! token is in it**. A host whose logger may be set to TRACE must except this target, for example with
//! `RUST_LOG=trace,ureq_proto=debug`. All other records, at any level, are free of secret and token
//! (`tests/rust_logger.rs` shows it). C hosts are not concerned: their library has no logger.
//!
//! [Clopos]: https://clopos.com

// Not `forbid`, which the files that need it could not override. Every file that does not has `forbid`.
#![deny(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

mod cache;
mod callbacks;
mod check;
mod client;
mod clock;
mod config;
mod connect;
mod credentials;
mod endpoint;
mod error;
pub mod ffi;
mod flight;
mod freshness;
mod gate;
mod http;
mod injected;
mod jitter;
mod pace;
mod process;
mod protocol;
mod reason;
mod roots;
mod sanitize;
mod secret;
mod sign_in;
mod state;
mod status;
#[doc(hidden)]
pub mod testing;
mod token;
mod wiped;

pub use callbacks::LogLevel;
pub use client::Client;
pub use config::{Config, DEFAULT_AUTH_PATH, DEFAULT_BASE_URL};
pub use credentials::Credentials;
pub use error::Error;
pub use reason::Reason;
pub use roots::Roots;
pub use state::{LastResult, State};
pub use status::Status;
pub use token::Token;
