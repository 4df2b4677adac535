//! An auth request and the documented responses to it: the known credentials, the token, the errors.

use std::io;
use std::time::{Duration, Instant};

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use crate::settings::{Settings, StandIn};
use crate::state::{Issued, State};
use crate::token::{Claims, random_claim};

/// The only client id that is known.
pub const CLIENT_ID: &str = "sandbox_client";
/// Its secret.
pub const CLIENT_SECRET: &str = "sandbox_secret";
/// A test brand.
pub const TEST_BRAND: &str = "sandbox";
/// A test brand whose name is not ASCII.
pub const UNICODE_BRAND: &str = "çay-evi";
/// A production brand.
pub const PRODUCTION_BRAND: &str = "omega";
/// An integrator that may use test brands.
pub const TEST_INTEGRATOR: &str = "test_sandbox";
/// An integrator that may use production brands.
pub const PRODUCTION_INTEGRATOR: &str = "live_sandbox";
/// An integrator that is switched off: refused like an unknown one.
pub const DISABLED_INTEGRATOR: &str = "disabled_sandbox";

/// A client whose restaurant has switched its access off.
pub const DISABLED_CLIENT: &str = "disabled_client";

/// A century. A longer lifetime could overflow the clock.
const LONGEST_LIFE: Duration = Duration::from_secs(100 * 366 * 86_400);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Test,
    Production,
}

fn stage_of_brand(brand: &str) -> Option<Stage> {
    match brand {
        TEST_BRAND | UNICODE_BRAND => Some(Stage::Test),
        PRODUCTION_BRAND => Some(Stage::Production),
        _ => None,
    }
}

/// An auth request, and the state and settings for its response.
pub(crate) struct AuthRequest<'a> {
    pub state: &'a State,
    pub settings: Settings,
    body: Value,
}

impl<'a> AuthRequest<'a> {
    pub(crate) fn new(state: &'a State, settings: Settings, body: &[u8]) -> Self {
        // A body that is not JSON has no fields.
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        AuthRequest {
            state,
            settings,
            body,
        }
    }

    /// The documented response.
    pub(crate) fn respond(&self) -> Response {
        let fields = ["client_id", "client_secret", "brand", "integrator_id"];
        if fields.iter().any(|name| self.field(name).is_empty()) {
            return missing_field();
        }
        if self.body.get("venue_id").is_some() {
            log::warn!("the request has a venue_id, which is no longer part of it in v2");
        }
        let integrator_stage = match self.field("integrator_id") {
            TEST_INTEGRATOR => Stage::Test,
            PRODUCTION_INTEGRATOR => Stage::Production,
            // Also DISABLED_INTEGRATOR.
            _ => return failure(StatusCode::BAD_REQUEST, Some("Invalid integrator_id"), None),
        };
        if self.field("client_id") == DISABLED_CLIENT {
            return disabled_client();
        }
        let known =
            (self.field("client_id"), self.field("client_secret")) == (CLIENT_ID, CLIENT_SECRET);
        match stage_of_brand(self.field("brand")).filter(|_| known) {
            None => wrong_credentials(),
            Some(stage) if stage != integrator_stage => wrong_environment(),
            Some(_) => match self.grant() {
                Ok(grant) => json(200, grant.text()),
                Err(error) => internal_error(&error),
            },
        }
    }

    /// A string of the request's body, empty if there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.body
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Issues a token.
    pub(crate) fn grant(&self) -> io::Result<Grant> {
        let now = self.state.now();
        let lifetime = i64::try_from(self.settings.lifetime.as_secs()).unwrap_or(i64::MAX);
        let expires_at = now.saturating_add(lifetime);
        let brand = self.field("brand");
        let claims = Claims {
            token: random_claim().map_err(io::Error::other)?,
            brand: brand.to_owned(),
            stage: match stage_of_brand(brand) {
                Some(Stage::Production) => "production".to_owned(),
                _ => "beta".to_owned(),
            },
            venue_id: 1,
            integrator_id: self.field("integrator_id").to_owned(),
            iat: now,
            exp: expires_at,
        };
        let token = self.state.signer.sign(&claims).map_err(io::Error::other)?;
        let issued = Issued {
            token,
            expires_at,
            ends: Instant::now() + self.settings.lifetime.min(LONGEST_LIFE),
        };
        self.state.tokens.lock().push(issued.clone());
        self.state.tokens_issued.add_one();
        Ok(self.grant_of(issued, now))
    }

    /// Grants the last token again, with its remaining lifetime.
    pub(crate) fn grant_again(&self) -> io::Result<Grant> {
        let last = self.state.tokens.lock().last();
        last.map_or_else(
            || self.grant(),
            |issued| Ok(self.grant_of(issued, self.state.now())),
        )
    }

    fn grant_of(&self, issued: Issued, now: i64) -> Grant {
        let sent = |stand_in: &Option<StandIn>, correct: i64| match stand_in {
            None => Some(Value::from(correct)),
            Some(StandIn::Omit) => None,
            Some(StandIn::Value(value)) => Some(value.clone()),
        };
        let left = issued.expires_at.saturating_sub(now).max(0);
        Grant {
            success: Some(Value::Bool(true)),
            token: Some(Value::from(issued.token)),
            token_type: "Bearer",
            expires_in: sent(&self.settings.expires_in, left),
            expires_at: sent(&self.settings.expires_at, issued.expires_at),
            message: "Authentication successful",
        }
    }
}

/// The successful response. A field that is `None` is left out.
#[derive(Clone, Serialize)]
pub(crate) struct Grant {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Value>,
    pub token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Value>,
    pub message: &'static str,
}

impl Grant {
    pub(crate) fn text(&self) -> String {
        // Serializing strings, numbers and string keys cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A JSON response.
pub(crate) fn json(status: u16, body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A failure: `error` is an identifier or a sentence, and it or `message` may be absent.
pub(crate) fn failure(status: StatusCode, error: Option<&str>, message: Option<&str>) -> Response {
    let mut body = serde_json::json!({ "success": false });
    for (name, text) in [("error", error), ("message", message)] {
        if let Some(text) = text {
            body[name] = text.into();
        }
    }
    json(status.as_u16(), body.to_string())
}

pub(crate) fn missing_field() -> Response {
    let error = "Missing client_id, client_secret, brand, or integrator_id";
    failure(StatusCode::BAD_REQUEST, Some(error), None)
}

pub(crate) fn wrong_credentials() -> Response {
    failure(StatusCode::UNAUTHORIZED, None, Some("Invalid credentials"))
}

/// The HTTP status of this error is not documented.
pub(crate) fn disabled_client() -> Response {
    failure(StatusCode::FORBIDDEN, Some("Client is disabled"), None)
}

/// Documented for a test integrator and a production brand, and said to be the same for the opposite case.
pub(crate) fn wrong_environment() -> Response {
    let error = "Integrator is in test mode. But brand is not in test mode";
    failure(StatusCode::OK, Some(error), None)
}

/// The sandbox itself failed and made no token. This is no injected fault.
pub(crate) fn internal_error(error: &io::Error) -> Response {
    failure(
        StatusCode::INTERNAL_SERVER_ERROR,
        Some("sandbox_failed"),
        Some(&error.to_string()),
    )
}

pub(crate) fn too_many_requests() -> Response {
    failure(
        StatusCode::TOO_MANY_REQUESTS,
        Some("rate_limit_exceeded"),
        Some("Too many requests"),
    )
}

/// Sets a header. An invalid one is left out and logged.
pub(crate) fn set_header(response: &mut Response, name: &str, value: &str) {
    match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        (Ok(name), Ok(value)) => {
            response.headers_mut().insert(name, value);
        }
        _ => log::warn!("left out a header that cannot be sent: {name:?}"),
    }
}
