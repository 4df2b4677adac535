//! `/sandbox/*`: faults, settings and counters for tests in other languages. Requests on the control port have
//! no faults and are not counted.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::state::State;

pub(crate) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/sandbox/faults", post(fail).delete(heal))
        .route("/sandbox/settings", post(update))
        .route("/sandbox/stats", get(stats))
        .route("/sandbox/ca.pem", get(ca_pem))
        .with_state(state)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFault {
    name: String,
    /// Absent: every time, until healed.
    times: Option<u32>,
}

async fn fail(
    Shared(state): Shared<Arc<State>>,
    Json(new): Json<NewFault>,
) -> Result<StatusCode, (StatusCode, String)> {
    let fault: Fault = new
        .name
        .parse()
        .map_err(|error| (StatusCode::BAD_REQUEST, error))?;
    match new.times {
        Some(times) => state.faults.lock().push(fault, times),
        None => state.faults.lock().set_standing(fault),
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn heal(Shared(state): Shared<Arc<State>>) -> StatusCode {
    state.faults.lock().heal();
    StatusCode::NO_CONTENT
}

/// The settings that can be changed. An absent one is unchanged.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    lifetime: Option<u64>,
    latency_ms: Option<u64>,
    clock_offset: Option<i64>,
    requests_per_minute: Option<u32>,
}

async fn update(Shared(state): Shared<Arc<State>>, Json(update): Json<Update>) -> StatusCode {
    let mut settings = state.settings.lock();
    if let Some(seconds) = update.lifetime {
        settings.lifetime = Duration::from_secs(seconds);
    }
    if let Some(milliseconds) = update.latency_ms {
        settings.latency = Duration::from_millis(milliseconds);
    }
    if let Some(seconds) = update.clock_offset {
        settings.clock_offset = seconds;
    }
    if let Some(requests) = update.requests_per_minute {
        settings.requests_per_minute = requests;
    }
    StatusCode::NO_CONTENT
}

async fn stats(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    Json(json!({
        "connections": state.connections.get(),
        "handshakes_full": state.handshakes_full.get(),
        "handshakes_resumed": state.handshakes_resumed.get(),
        "auth_requests": state.auth_requests.get(),
        "tokens_issued": state.tokens_issued.get(),
    }))
}

async fn ca_pem(Shared(state): Shared<Arc<State>>) -> String {
    state.ca_pem.clone()
}
