//! The service's HTTP interface: routes, records and rate limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::auth::{AuthRequest, failure, internal_error, json, set_header, too_many_requests};
use crate::control;
use crate::effects::{Effect, effect};
use crate::faults::Stage;
use crate::limit::Verdict;
use crate::script::Step;
use crate::settings::Settings;
use crate::state::{Recorded, State};

/// The path of the sign-in, unless [`Settings::auth_path`] is another one.
pub const AUTH_PATH: &str = "/open-api/v2/auth";
/// An endpoint that needs a token.
pub const VENUES_PATH: &str = "/open-api/v2/venues";

const MAX_BODY: usize = 64 * 1024;

/// The connection of a request.
#[derive(Clone)]
pub(crate) struct Connection {
    pub client: IpAddr,
    /// Ends HTTP on the connection and runs this script on it.
    pub scripts: mpsc::Sender<Vec<Step>>,
}

pub(crate) fn router(state: Arc<State>) -> Router {
    let auth_path = state.settings.lock().auth_path.clone();
    Router::new()
        .route(&auth_path, post(auth))
        .route(VENUES_PATH, get(venues))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(from_fn_with_state(Arc::clone(&state), record))
        .with_state(Arc::clone(&state))
        .merge(control::router(state))
}

/// Counts, records and logs a request, and sets the `Date` of the response.
async fn record(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let at = Instant::now();
    let (parts, body) = request.into_parts();
    if parts.uri.path() == state.settings.lock().auth_path {
        state.auth_requests.add_one();
    }
    let body = to_bytes(body, MAX_BODY).await;
    let headers = parts.headers.iter().map(|(name, value)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    state.requests.lock().push(Recorded {
        method: parts.method.to_string(),
        path: parts
            .uri
            .path_and_query()
            .map_or("", |path| path.as_str())
            .to_owned(),
        headers: headers.collect(),
        body: body.as_ref().map(|body| body.to_vec()).unwrap_or_default(),
        at,
    });
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let mut response = match body {
        Ok(body) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(_) => {
            let message = "The body is over 64 KiB or did not arrive whole";
            let error = "validation_error";
            failure(StatusCode::PAYLOAD_TOO_LARGE, Some(error), Some(message))
        }
    };
    set_header(&mut response, "date", &state.date());
    log_response(&method, &path, response.status(), at);
    response
}

// Without query, headers and body, which may contain secrets.
fn log_response(method: &Method, path: &str, status: StatusCode, since: Instant) {
    log::info!(
        "{method} {path} {} in {} ms",
        status.as_u16(),
        since.elapsed().as_millis()
    );
}

async fn auth(
    Shared(state): Shared<Arc<State>>,
    Extension(connection): Extension<Connection>,
    body: Bytes,
) -> Response {
    let settings = state.settings.lock().clone();
    let limit = settings.requests_per_minute;
    let verdict = state
        .limiter
        .lock()
        .count(connection.client, Instant::now(), limit);
    let fault = state.faults.lock().take(Stage::Request);
    sleep(settings.latency).await;

    let request = AuthRequest::new(&state, settings, &body);
    let mut response = match fault {
        Some(fault) => {
            log::info!("fault {}", fault.name());
            match effect(fault, &request) {
                Ok(Effect::Run(steps)) => return run_script(&connection, steps).await,
                Ok(Effect::Respond(response)) => response,
                Err(error) => internal_error(&error),
            }
        }
        None if verdict.is_some_and(|verdict| !verdict.allowed) => too_many_requests(),
        None => request.respond(),
    };
    set_rate_limit(&mut response, verdict, &request.settings);
    response
}

/// Passes a script to the connection, which then drops this future: there is no HTTP response.
async fn run_script(connection: &Connection, steps: Vec<Step>) -> Response {
    // A connection that is already closed needs no script.
    let _ = connection.scripts.send(steps).await;
    std::future::pending().await
}

/// Sets the headers of every response to an auth request.
fn set_rate_limit(response: &mut Response, verdict: Option<Verdict>, settings: &Settings) {
    let refused = response.status() == StatusCode::TOO_MANY_REQUESTS;
    if refused && let Some(value) = &settings.retry_after {
        set_header(response, "retry-after", value);
    }
    if refused && !settings.rate_limit_headers {
        return;
    }
    if let Some(verdict) = verdict {
        let remaining = if refused { 0 } else { verdict.remaining };
        set_header(response, "ratelimit-limit", &verdict.limit.to_string());
        set_header(response, "ratelimit-remaining", &remaining.to_string());
        set_header(response, "ratelimit-reset", &verdict.reset.to_string());
    }
    if refused && let Some(value) = &settings.rate_limit_reset {
        set_header(response, "ratelimit-reset", value);
    }
}

async fn venues(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> Response {
    let refused = |error| failure(StatusCode::UNAUTHORIZED, Some(error), None);
    let instead = {
        let venues = &mut state.settings.lock().venues;
        (!venues.is_empty()).then(|| venues.remove(0))
    };
    if let Some(instead) = instead {
        return match instead.starts_with("http") {
            true => redirect(&instead),
            false => refused(&instead),
        };
    }
    let Some(token) = headers.get("x-token") else {
        return refused("Headers are missing");
    };
    let claims = token
        .to_str()
        .ok()
        .and_then(|token| state.signer.verify(token));
    let Some(claims) = claims else {
        return refused("Invalid token");
    };
    if claims.exp <= state.now() {
        let body = serde_json::json!({
            "success": false,
            "error": "Token expired",
            "expires_at": iso_8601(claims.exp),
        });
        return json(StatusCode::UNAUTHORIZED.as_u16(), body.to_string());
    }
    let venue = serde_json::json!({ "id": claims.venue_id, "name": "Sandbox Café" });
    let body = serde_json::json!({ "success": true, "data": [venue] });
    json(200, body.to_string())
}

fn redirect(to: &str) -> Response {
    let mut response = failure(StatusCode::FOUND, Some("moved"), None);
    set_header(&mut response, "location", to);
    response
}

/// A date in the format of the endpoints that need a token. (`/auth` has Unix seconds.)
fn iso_8601(unix_seconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(unix_seconds);
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = at.to_hms();
    format!("{}T{hour:02}:{minute:02}:{second:02}.000Z", at.date())
}

async fn not_found() -> Response {
    let message = "No such endpoint";
    failure(StatusCode::NOT_FOUND, Some("not_found"), Some(message))
}

async fn method_not_allowed() -> Response {
    let error = "method_not_allowed";
    let message = "This endpoint does not accept that method";
    failure(StatusCode::METHOD_NOT_ALLOWED, Some(error), Some(message))
}
