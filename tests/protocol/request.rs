//! What is sent: method, path, headers and body.

use super::*;

fn header<'a>(request: &'a Recorded, name: &str) -> &'a str {
    let mut values = request.headers.iter().filter(|(n, _)| n == name);
    let value = values.next().map_or("", |(_, value)| value);
    assert!(values.next().is_none(), "{name} occurs twice");
    value
}

#[test]
fn the_request_is_one_post_with_the_necessary_headers_only() {
    for fixture in [Fixture::start(), Fixture::with_tls()] {
        attempt(&fixture).unwrap();
        let request = fixture.sandbox.last_request().unwrap();
        assert_eq!(request.method, "POST");
        assert_eq!(request.path, AUTH_PATH);
        let headers: BTreeMap<_, _> = request.headers.iter().cloned().collect();
        assert_eq!(headers.len(), request.headers.len());
        let expected = [
            ("accept", "application/json".to_owned()),
            ("accept-encoding", "identity".to_owned()),
            ("content-length", request.body.len().to_string()),
            ("content-type", "application/json".to_owned()),
            ("host", format!("{HOST}{}", fixture.sandbox.port())),
            (
                "user-agent",
                format!("libclopos_auth/{}", env!("CARGO_PKG_VERSION")),
            ),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(headers, BTreeMap::from(expected));
    }
}

#[test]
fn the_body_has_the_four_credentials_and_nothing_else() {
    let fixture = Fixture::start();
    attempt(&fixture).unwrap();
    let request = fixture.sandbox.last_request().unwrap();
    let expected = format!(
        r#"{{"client_id":"{CLIENT_ID}","client_secret":"{CLIENT_SECRET}","brand":"{TEST_BRAND}","integrator_id":"{TEST_INTEGRATOR}"}}"#
    );
    assert_eq!(String::from_utf8(request.body).unwrap(), expected);
}

#[test]
fn credentials_arrive_unchanged_whatever_characters_they_have() {
    let fixture = Fixture::start();
    let longest = "\"\\".repeat(512);
    let table = [
        r#"quote " backslash \ slash / brace } comma , end"#,
        "çay-evi Ünïcödé ÀÉÎÕÜ",
        "日本語 العربية עברית",
        "emoji 🧾☕️👩‍🍳 and \u{10FFFF}",
        "'; DROP TABLE tills; --",
        " spaces around ",
        "\u{2028}line\u{2029}separators",
        &longest,
    ];
    for text in table {
        let credentials = Credentials::new(text, text, text, text).unwrap();
        let client = fixture.client_for(credentials, &config_with_one_attempt(&fixture));
        assert_eq!(status(client.get_token(None)), Status::Rejected);
        let request = fixture.sandbox.last_request().unwrap();
        let body: BTreeMap<String, String> = serde_json::from_slice(&request.body).unwrap();
        let fields = ["brand", "client_id", "client_secret", "integrator_id"];
        let expected = fields.map(|field| (field.to_owned(), text.to_owned()));
        assert_eq!(body, BTreeMap::from(expected));
        assert_eq!(
            header(&request, "content-length"),
            request.body.len().to_string()
        );
    }
    let credentials =
        Credentials::new(CLIENT_ID, CLIENT_SECRET, UNICODE_BRAND, TEST_INTEGRATOR).unwrap();
    let client = fixture.client_for(credentials, &config_with_one_attempt(&fixture));
    assert_eq!(status(client.get_token(None)), Status::Ok);
}

#[test]
fn the_user_agent_and_a_prefix_of_the_base_url_are_sent() {
    let fixture = Fixture::start();
    let mut config = config_with_one_attempt(&fixture);
    config
        .set_user_agent("TillPro/7.2 (kiosk)")
        .and_then(|config| config.set_base_url(&format!("{}/gateway/", fixture.sandbox.url())))
        .unwrap();
    let error = failed(fixture.client(&config).get_token(None));
    assert_eq!(error.http_status(), Some(404));
    let request = fixture.sandbox.last_request().unwrap();
    assert_eq!(request.path, "/gateway/open-api/v2/auth");
    let expected = format!(
        "TillPro/7.2 (kiosk) libclopos_auth/{}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(header(&request, "user-agent"), expected);
}

#[test]
fn the_request_goes_to_the_configured_path() {
    let fixture = Fixture::with(|settings| settings.auth_path = "/gateway/v3/sign-in".into());
    for (prefix, path) in [
        ("", "/gateway/v3/sign-in"),
        ("/", "/gateway/v3/sign-in"),
        ("/gateway", "/v3/sign-in"),
        ("/gateway/", "/v3/sign-in"),
    ] {
        let mut config = config_with_one_attempt(&fixture);
        config
            .set_base_url(&format!("{}{prefix}", fixture.sandbox.url()))
            .and_then(|config| config.set_auth_path(path))
            .unwrap();
        recorded(fixture.client(&config).get_token(None)).unwrap();
        let request = fixture.sandbox.last_request().unwrap();
        assert_eq!(request.path, "/gateway/v3/sign-in");
    }
}

#[test]
fn no_path_sends_the_request_to_another_host() {
    let (fixture, other) = (Fixture::start(), Fixture::start());
    let port = other.sandbox.port();
    let mut sent = 0;
    for path in [
        format!("//127.0.0.1:{port}/"),
        format!("/\\127.0.0.1:{port}/"),
        format!("\\\\127.0.0.1:{port}/"),
        format!("@127.0.0.1:{port}/"),
        format!(":pass@127.0.0.1:{port}/"),
        format!(".127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}/"),
        format!("/@127.0.0.1:{port}/"),
        format!("/..//127.0.0.1:{port}/"),
        format!("/.//127.0.0.1:{port}/"),
        format!("/%2f127.0.0.1:{port}/"),
        format!("/http://127.0.0.1:{port}/"),
        format!("/\t/127.0.0.1:{port}/"),
    ] {
        let mut config = config_with_one_attempt(&fixture);
        if let Err(error) = config.set_auth_path(&path) {
            assert_eq!(error.status(), Status::InvalidArgument, "{path}");
            continue;
        }
        let error = failed(recorded(fixture.client(&config).get_token(None)));
        assert_eq!(error.http_status(), Some(404), "{path}");
        assert_eq!(fixture.sandbox.last_request().unwrap().path, path);
        sent += 1;
    }
    assert_eq!(sent, 5);
    assert_eq!(other.sandbox.connections(), 0);
}

#[test]
fn the_longest_settings_and_credentials_reach_the_service() {
    let fixture = Fixture::start();
    let mut config = config_with_one_attempt(&fixture);
    let mut url = fixture.sandbox.url() + "/";
    url += &"a".repeat(2048 - url.len());
    config
        .set_user_agent(&"t".repeat(256))
        .and_then(|config| config.set_base_url(&url))
        .and_then(|config| config.set_auth_path(&format!("/{}", "p".repeat(255))))
        .unwrap();
    let longest = "\"\\".repeat(512);
    let credentials = Credentials::new(&longest, &longest, &longest, &longest).unwrap();
    let error = failed(fixture.client_for(credentials, &config).get_token(None));
    assert_eq!(error.http_status(), Some(404));
    let request = fixture.sandbox.last_request().unwrap();
    let (prefix, path) = request.path.rsplit_once('/').unwrap();
    assert!(url.ends_with(prefix) && prefix.ends_with("aaa"));
    assert_eq!(path.len(), 255);
    assert!(request.body.len() > 8192);
}
