//! Redirects are errors and are never followed.

use super::*;

#[test]
fn no_redirect_is_followed() {
    let other = Fixture::start();
    let other_tls = Fixture::with_tls();
    for fixture in [Fixture::start(), Fixture::with_tls()] {
        for target in [&other, &other_tls, &fixture] {
            let to = format!("{}{AUTH_PATH}", target.sandbox.url());
            fixture.sandbox.update(|settings| settings.redirect_to = to);
            for (fault, http_status) in [
                (Fault::Redirect301, 301),
                (Fault::Redirect302, 302),
                (Fault::Redirect307, 307),
                (Fault::Redirect308, 308),
            ] {
                let before = fixture.requests();
                fixture.sandbox.fail(fault);
                let error = refused(attempt(&fixture), "redirect");
                assert_eq!(error.status(), Status::Protocol);
                assert_eq!(error.http_status(), Some(http_status));
                let part = format!(
                    "redirects {AUTH_PATH} to {}{AUTH_PATH}",
                    target.sandbox.url()
                );
                assert!(error.message().contains(&part), "{error}");
                assert_eq!(fixture.requests(), before + 1);
            }
        }
    }
    assert_eq!(other.sandbox.connections(), 0);
    assert_eq!(other_tls.sandbox.connections(), 0);
}

#[test]
fn a_redirect_with_a_good_body_is_an_error() {
    let fixture = Fixture::start();
    let headers = [("location", "https://example.com/")];
    for http_status in [300, 303, 304, 399] {
        let body = good_body("from.a.redirect");
        let error = refused(
            attempt_with_response(&fixture, http_status, &headers, body.as_bytes()),
            "redirect",
        );
        assert_eq!(error.status(), Status::Protocol, "{error}");
    }
}

#[test]
fn a_moved_sign_in_is_an_error_that_names_the_new_place_and_the_setting() {
    let moved_to = |location| moved_error(308, &[("location", location)]);
    for (error, part) in [
        (moved_error(404, &[]), "has no sign-in at /open-api/v2/auth"),
        (moved_error(410, &[]), "has no sign-in at /open-api/v2/auth"),
        (
            moved_to("/v3/auth"),
            "redirects /open-api/v2/auth to /v3/auth (HTTP 308, moved)",
        ),
        (
            moved_to("https://open-api.clopos.com/auth?session=5e55#top"),
            "redirects /open-api/v2/auth to https://open-api.clopos.com/auth (HTTP 308, moved)",
        ),
        // As Java servers write it.
        (
            moved_to("http://portal.example/login;jsessionid=5e55"),
            "to http://portal.example/login (HTTP",
        ),
        // What may hold a password or the secret is not shown.
        (
            moved_to("https://user:5e55@host/"),
            "to another place (HTTP",
        ),
        (moved_to("?5e55"), "to another place (HTTP"),
        (
            moved_to(&format!("https://host/{CLIENT_SECRET}")),
            "to https://host/*** (HTTP",
        ),
    ] {
        assert_eq!(error.status(), Status::Protocol, "{error}");
        let text = error.message();
        assert!(text.contains(part) && text.contains("auth_path"), "{text}");
        assert!(!text.contains("5e55"), "{text}");
    }
}

/// The error for this status with the service's JSON. For a web page instead of the JSON the message begins with
/// the same part.
fn moved_error(http_status: u16, headers: &[(&str, &str)]) -> Error {
    let fixture = Fixture::start();
    let json = br#"{"success":false,"error":"moved"}"#;
    let page = refused(
        attempt_with_response(&fixture, http_status, headers, b"<html>"),
        "a page",
    );
    let error = refused(
        attempt_with_response(&fixture, http_status, headers, json),
        "JSON",
    );
    assert_eq!(error.server_code(), Some("moved"));
    assert_eq!(error.http_status(), Some(http_status));
    let plain = error.message().replacen(", moved", "", 1);
    assert!(page.message().starts_with(&plain), "{page}");
    assert!(page.message().contains("web page"), "{page}");
    error
}
