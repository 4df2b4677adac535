//! The service without faults: the documented responses, the settings, the counters and the control port.

mod client;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::{RawClient, agent, credentials, header, read, sign_in, start, start_with};
use clopos_sandbox::*;
use jsonwebtoken::dangerous::insecure_decode;
use serde_json::{Value, json};
use ureq::http::Response;

fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut body = credentials();
    body[field] = value.into();
    body
}

fn venues(sandbox: &Sandbox, token: &str) -> Response<Value> {
    let url = sandbox.url() + VENUES_PATH;
    read(
        agent(sandbox.ca_pem())
            .get(url)
            .header("x-token", token)
            .call(),
    )
}

fn unix_now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    now.as_secs()
        .try_into()
        .expect("before the year 292 billion")
}

const MISSING: &str = "Missing client_id, client_secret, brand, or integrator_id";
const MISMATCH: &str = "Integrator is in test mode. But brand is not in test mode";

/// Checks a rejection that has only a `message`.
#[track_caller]
fn assert_wrong_credentials(response: &Response<Value>) {
    assert_eq!(response.status(), 401);
    let expected = json!({ "success": false, "message": "Invalid credentials" });
    assert_eq!(*response.body(), expected);
}

#[track_caller]
fn assert_failure(response: &Response<Value>, status: u16, error: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(response.body()["success"], false);
    assert_eq!(response.body()["error"], error);
}

#[test]
fn good_credentials_get_exactly_the_documented_response() {
    let sandbox = start();
    let before = unix_now();
    let response = sign_in(&sandbox, &credentials());
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), "application/json");
    let body = response.body().as_object().expect("an object");
    let mut names: Vec<_> = body.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "expires_at",
            "expires_in",
            "message",
            "success",
            "token",
            "token_type"
        ]
    );
    assert_eq!(body["success"], true);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["message"], "Authentication successful");
    assert_eq!(body["expires_in"], 3600);
    let expires_at = body["expires_at"].as_i64().expect("a number");
    assert!((before + 3600..=unix_now() + 3600).contains(&expires_at));

    let token = body["token"].as_str().expect("a string");
    assert_eq!(sandbox.issued_tokens(), [token]);
    let jwt = insecure_decode::<Value>(token).expect("a JWT");
    assert_eq!(jwt.header.alg, jsonwebtoken::Algorithm::HS256);
    assert_eq!(jwt.claims["brand"], TEST_BRAND);
    assert_eq!(jwt.claims["integrator_id"], TEST_INTEGRATOR);
    assert_eq!(jwt.claims["exp"], expires_at);
    assert_eq!(jwt.claims["iat"], expires_at - 3600);
    for name in ["token", "stage", "venue_id"] {
        assert!(!jwt.claims[name].is_null(), "{name}");
    }
}

#[test]
fn each_brand_works_with_an_integrator_of_its_environment() {
    let sandbox = start();
    assert_eq!(
        sign_in(&sandbox, &with("brand", UNICODE_BRAND)).body()["success"],
        true
    );
    let mut production = with("brand", PRODUCTION_BRAND);
    assert_failure(&sign_in(&sandbox, &production), 200, MISMATCH);
    production["integrator_id"] = PRODUCTION_INTEGRATOR.into();
    assert_eq!(sign_in(&sandbox, &production).body()["success"], true);
    let mixed = with("integrator_id", PRODUCTION_INTEGRATOR);
    assert_failure(&sign_in(&sandbox, &mixed), 200, MISMATCH);
}

#[test]
fn a_missing_empty_or_wrongly_typed_field_is_refused() {
    let sandbox = start();
    for name in ["client_id", "client_secret", "brand", "integrator_id"] {
        for value in [Value::Null, json!(""), json!(7)] {
            assert_failure(&sign_in(&sandbox, &with(name, value)), 400, MISSING);
        }
    }
    assert_failure(&sign_in(&sandbox, &json!([])), 400, MISSING);
    let url = sandbox.url() + AUTH_PATH;
    let response = read(agent(sandbox.ca_pem()).post(url).send("no JSON"));
    assert_failure(&response, 400, MISSING);
}

#[test]
fn unknown_and_disabled_integrators_and_wrong_credentials_are_refused() {
    let sandbox = start();
    let refused = |field, value| sign_in(&sandbox, &with(field, value));
    for integrator in ["unknown", DISABLED_INTEGRATOR] {
        assert_failure(
            &refused("integrator_id", integrator),
            400,
            "Invalid integrator_id",
        );
    }
    assert_failure(
        &refused("client_id", DISABLED_CLIENT),
        403,
        "Client is disabled",
    );
    for field in ["client_id", "client_secret", "brand"] {
        assert_wrong_credentials(&refused(field, "other"));
    }
}

#[test]
fn a_venue_id_of_version_1_is_ignored() {
    assert_eq!(
        sign_in(&start(), &with("venue_id", 1)).body()["success"],
        true
    );
}

#[test]
fn other_paths_and_methods_are_refused_with_a_json_error() {
    let sandbox = start();
    let agent = agent(sandbox.ca_pem());
    let response = read(agent.get(sandbox.url() + "/open-api/v2/orders").call());
    assert_failure(&response, 404, "not_found");
    let response = read(agent.get(sandbox.url() + AUTH_PATH).call());
    assert_failure(&response, 405, "method_not_allowed");
}

#[test]
fn sign_ins_are_accepted_only_at_the_configured_path() {
    let sandbox = start_with(|settings| settings.auth_path = "/v3/sign-in".into());
    assert_failure(&sign_in(&sandbox, &credentials()), 404, "not_found");
    assert_eq!(sandbox.auth_requests(), 0);
    let agent = agent(sandbox.ca_pem());
    let post = agent.post(sandbox.url() + "/v3/sign-in");
    let response = read(post.send(credentials().to_string()));
    assert_eq!(response.body()["success"], true);
    assert_eq!(sandbox.auth_requests(), 1);
    for path in ["v3", "/{v3}", "/v3?", VENUES_PATH] {
        let settings = Settings {
            auth_path: path.into(),
            ..Settings::default()
        };
        assert!(Sandbox::start(settings).is_err(), "{path}");
    }
}

#[test]
fn a_body_over_64_kib_is_refused() {
    let response = sign_in(&start(), &with("brand", "x".repeat(64 * 1024)));
    assert_failure(&response, 413, "validation_error");
}

#[test]
fn venues_accepts_a_valid_token_and_refuses_others() {
    let sandbox = start();
    let response = sign_in(&sandbox, &credentials());
    let token = response.body()["token"].as_str().expect("a token");
    assert_eq!(venues(&sandbox, token).body()["data"][0]["id"], 1);
    let url = sandbox.url() + VENUES_PATH;
    let without = read(agent(sandbox.ca_pem()).get(url).call());
    assert_failure(&without, 401, "Headers are missing");
    assert_failure(&venues(&sandbox, ""), 401, "Invalid token");
    assert_failure(
        &venues(&sandbox, &format!("{token}x")),
        401,
        "Invalid token",
    );
    let other = start();
    assert_failure(&venues(&other, token), 401, "Invalid token");
}

#[test]
fn venues_gives_each_configured_response_once() {
    let sandbox = start();
    let elsewhere = sandbox.url() + VENUES_PATH + "?elsewhere";
    sandbox.update(|settings| settings.venues = vec!["Invalid integrator_id".into(), elsewhere]);
    let response = sign_in(&sandbox, &credentials());
    let token = response.body()["token"].as_str().expect("a token");
    assert_failure(&venues(&sandbox, token), 401, "Invalid integrator_id");
    assert_eq!(venues(&sandbox, token).status(), 200);
    let last = sandbox.requests().pop().expect("the redirected request");
    assert_eq!(last.path, format!("{VENUES_PATH}?elsewhere"));
}

#[test]
fn venues_refuses_a_token_that_expired_on_the_servers_clock() {
    let sandbox = start();
    let response = sign_in(&sandbox, &credentials());
    let token = response.body()["token"].as_str().expect("a token");
    sandbox.update(|settings| settings.clock_offset = 3590);
    assert_eq!(venues(&sandbox, token).status(), 200);
    sandbox.update(|settings| settings.clock_offset = 3600);
    let expired = venues(&sandbox, token);
    assert_failure(&expired, 401, "Token expired");
    let expires_at = expired.body()["expires_at"].as_str().expect("a text");
    assert!(
        expires_at.starts_with("20") && expires_at.ends_with(".000Z"),
        "{expires_at}"
    );
}

#[test]
fn the_rate_limit_is_announced_and_enforced() {
    let sandbox = start_with(|settings| {
        settings.requests_per_minute = 2;
        settings.retry_after = Some("7".into());
    });
    let limits = |response: &Response<Value>| {
        let names = ["ratelimit-limit", "ratelimit-remaining", "retry-after"];
        names.map(|name| header(response, name).to_owned())
    };
    assert_eq!(limits(&sign_in(&sandbox, &credentials())), ["2", "1", ""]);
    assert_eq!(
        limits(&sign_in(&sandbox, &with("client_secret", "other"))),
        ["2", "0", ""]
    );
    let refused = sign_in(&sandbox, &credentials());
    assert_failure(&refused, 429, "rate_limit_exceeded");
    assert_eq!(limits(&refused), ["2", "0", "7"]);
    let reset: u64 = header(&refused, "ratelimit-reset")
        .parse()
        .expect("seconds");
    assert!((1..=60).contains(&reset));

    sandbox.update(|settings| settings.rate_limit_reset = Some("12".into()));
    assert_eq!(
        header(&sign_in(&sandbox, &credentials()), "ratelimit-reset"),
        "12"
    );
    sandbox.update(|settings| settings.rate_limit_headers = false);
    assert_eq!(limits(&sign_in(&sandbox, &credentials())), ["", "", "7"]);
    sandbox.update(|settings| settings.requests_per_minute = 0);
    let free = sign_in(&sandbox, &credentials());
    assert_eq!(
        (free.status().as_u16(), limits(&free)),
        (200, ["", "", ""].map(String::from))
    );
}

#[test]
fn the_clock_offset_moves_expiry_and_the_date_header() {
    let day = 86_400;
    for offset in [-30 * day, 400 * day] {
        let sandbox = start_with(|settings| settings.clock_offset = offset);
        let response = sign_in(&sandbox, &credentials());
        let server_now = unix_now() + offset;
        let expires_at = response.body()["expires_at"].as_i64().expect("a number");
        assert!((server_now + 3590..=server_now + 3600).contains(&expires_at));
        let date = httpdate::parse_http_date(header(&response, "date")).expect("an HTTP date");
        let date = date
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        assert!((server_now - 10..=server_now).contains(&date.try_into().expect("small")));
    }
}

#[test]
fn a_clock_beyond_the_range_of_http_dates_is_accepted() {
    for offset in [i64::MIN, i64::MAX] {
        let sandbox = start_with(|settings| settings.clock_offset = offset);
        assert_eq!(sign_in(&sandbox, &credentials()).status(), 200);
    }
}

#[test]
fn lifetime_latency_and_the_expiry_fields_are_settable_while_it_runs() {
    let sandbox = start();
    sandbox.update(|settings| {
        settings.lifetime = Duration::from_secs(5);
        settings.latency = Duration::from_millis(80);
        settings.expires_at = Some(StandIn::Omit);
    });
    let before = Instant::now();
    let response = sign_in(&sandbox, &credentials());
    assert!(before.elapsed() >= Duration::from_millis(80));
    assert_eq!(response.body()["expires_in"], 5);
    assert!(response.body().get("expires_at").is_none());
    sandbox.update(|settings| settings.expires_in = Some(StandIn::Value(json!("soon"))));
    assert_eq!(
        sign_in(&sandbox, &credentials()).body()["expires_in"],
        "soon"
    );
}

#[test]
fn requests_are_recorded_and_counted() {
    let sandbox = start();
    sign_in(&sandbox, &credentials());
    let recorded = sandbox.last_request().expect("a request");
    assert_eq!(
        (recorded.method.as_str(), recorded.path.as_str()),
        ("POST", AUTH_PATH)
    );
    assert_eq!(recorded.body, credentials().to_string().into_bytes());
    let json = ("content-type".to_owned(), "application/json".to_owned());
    assert!(recorded.headers.contains(&json));
    venues(&sandbox, "none");
    assert_eq!(sandbox.requests().len(), 2);
    assert_eq!(sandbox.auth_requests(), 1);
    assert_eq!((sandbox.connections(), sandbox.handshakes_full()), (2, 2));
}

#[test]
fn both_tls_versions_work_and_resume_sessions() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let sandbox = start();
        let client = RawClient::with_versions(&sandbox, &[version]);
        for _ in 0..2 {
            let (bytes, _) = client.send_request(&sandbox, "close", Duration::from_secs(5));
            assert!(bytes.starts_with(b"HTTP/1.1 200"));
        }
        let handshakes = (sandbox.handshakes_full(), sandbox.handshakes_resumed());
        assert_eq!(handshakes, (1, 1), "{version:?}");
    }
}

#[test]
fn each_bad_certificate_is_refused_for_its_own_reason() {
    let reasons = [
        (Certificate::Expired, "expired"),
        (Certificate::NotYetValid, "not valid yet"),
        (Certificate::WrongHost, "not valid for name"),
        (Certificate::UnknownIssuer, "UnknownIssuer"),
    ];
    for (certificate, reason) in reasons {
        let sandbox = start_with(|settings| settings.certificate = certificate);
        let sent = agent(sandbox.ca_pem())
            .get(sandbox.url() + VENUES_PATH)
            .call();
        let error = sent.expect_err("a refusal").to_string();
        assert!(error.contains(reason), "{certificate:?}: {error}");
    }
}

#[test]
fn without_tls_it_serves_plain_http() {
    let sandbox = start_with(|settings| settings.tls = false);
    assert_eq!(
        sandbox.url(),
        format!("http://localhost:{}", sandbox.port())
    );
    assert_eq!(sandbox.ca_pem(), "");
    let url = sandbox.url() + AUTH_PATH;
    let sent = ureq::post(url).send(credentials().to_string());
    assert_eq!(read(sent).body()["success"], true);
}

#[test]
fn the_control_port_changes_faults_and_settings_and_reports_counters() {
    let sandbox = start();
    let control = |path: &str| sandbox.control_url() + path;
    let post = |path: &str, body: Value| {
        let sent = ureq::post(control(path)).content_type("application/json");
        sent.config()
            .http_status_as_error(false)
            .build()
            .send(body.to_string())
    };
    let status = |sent: Result<Response<ureq::Body>, ureq::Error>| sent.expect("sent").status();

    // A connection fault does not affect the control port.
    assert_eq!(
        status(post("/sandbox/faults", json!({ "name": "connect-reset" }))),
        204
    );
    assert_eq!(status(ureq::delete(control("/sandbox/faults")).call()), 204);
    let twice = json!({ "name": "status-503", "times": 1 });
    assert_eq!(status(post("/sandbox/faults", twice)), 204);
    assert_eq!(sign_in(&sandbox, &credentials()).status(), 503);
    assert_eq!(
        status(post("/sandbox/faults", json!({ "name": "unknown" }))),
        400
    );

    assert_eq!(
        status(post("/sandbox/settings", json!({ "lifetime": 60 }))),
        204
    );
    assert_eq!(sign_in(&sandbox, &credentials()).body()["expires_in"], 60);
    assert_eq!(
        status(post("/sandbox/settings", json!({ "lifetimes": 60 }))),
        422
    );

    let stats = read(ureq::get(control("/sandbox/stats")).call());
    assert_eq!(stats.body()["auth_requests"], 2);
    assert_eq!(stats.body()["tokens_issued"], 1);
    let ca = ureq::get(control("/sandbox/ca.pem"))
        .call()
        .expect("a response");
    assert_eq!(
        ca.into_body().read_to_string().expect("text"),
        sandbox.ca_pem()
    );
}

#[test]
fn commands_on_the_services_own_port_have_no_faults_and_are_not_counted() {
    let sandbox = start();
    sandbox.fail(Fault::RequestReset);
    let stats = read(
        agent(sandbox.ca_pem())
            .get(sandbox.url() + "/sandbox/stats")
            .call(),
    );
    assert_eq!(stats.body()["auth_requests"], 0);
    assert!(sandbox.requests().is_empty());
}
