//! The request and the response of a sign-in, on the wire: a client and the sandbox.

#[path = "../support/mod.rs"]
mod support;

mod errors;
mod invalid_responses;
mod redirects;
mod request;
mod valid_responses;

use std::collections::BTreeMap;
use std::time::Duration;

use clopos_auth::{Config, Credentials, Error, Reason, Status, Token};
use clopos_sandbox::{
    AUTH_PATH, CLIENT_ID, CLIENT_SECRET, DISABLED_CLIENT, DISABLED_INTEGRATOR, Fault,
    PRODUCTION_BRAND, PRODUCTION_INTEGRATOR, Recorded, Step, TEST_BRAND, TEST_INTEGRATOR,
    UNICODE_BRAND,
};

use support::*;

const HOST: &str = "localhost:";

/// Signs in with a new client that makes one attempt.
fn attempt(fixture: &Fixture) -> Result<Token, Error> {
    recorded(
        fixture
            .client(&config_with_one_attempt(fixture))
            .get_token(None),
    )
}

fn config_with_one_attempt(fixture: &Fixture) -> Config {
    let mut config = fixture.config();
    config.set_max_attempts(1).unwrap();
    config
}

/// Signs in like [`attempt`]; the service sends this response.
fn attempt_with_response(
    fixture: &Fixture,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Token, Error> {
    let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    fixture.sandbox.fail(Fault::Response {
        status,
        headers: headers.iter().map(owned).collect(),
        body: body.to_vec(),
    });
    attempt(fixture)
}

/// The error of an attempt that must fail.
fn refused(result: Result<Token, Error>, case: &str) -> Error {
    match result {
        Ok(token) => panic!("{case}: accepted, {token:?}"),
        Err(error) => error,
    }
}

fn good_body(token: &str) -> String {
    format!(
        r#"{{"success":true,"token":"{token}","token_type":"Bearer","expires_in":3600,"expires_at":1793939000}}"#
    )
}
