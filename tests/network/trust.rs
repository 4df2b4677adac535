//! Which servers a client trusts. The message for each certificate and server is tested in
//! `src/connect/tests/certificates.rs`.

use std::process::Command;

use clopos_auth::{Client, Config, Error, Roots, Status};
use clopos_sandbox::{Certificate, Sandbox, Settings};

use crate::clock::ShiftedClock;
use crate::lab;
use crate::support::{Fixture, SECOND, credentials, failed, value};

const YEAR: i64 = 365 * 86_400;

fn config(url: &str) -> Config {
    let mut config = Config::new();
    config
        .set_base_url(url)
        .unwrap()
        .set_proxy("none")
        .unwrap()
        .set_max_attempts(1)
        .unwrap();
    config
}

/// Settings that trust only the CA of this sandbox.
fn trusting(sandbox: &Sandbox) -> Config {
    let mut config = config(&sandbox.url());
    config.set_roots(Roots::None);
    if !sandbox.ca_pem().is_empty() {
        config.add_ca_pem(sandbox.ca_pem().as_bytes()).unwrap();
    }
    config
}

fn failed_sign_in(config: &Config) -> Error {
    failed(
        Client::new(credentials(), config)
            .unwrap()
            .authenticate(None),
    )
}

fn assert_explained(error: &Error, status: Status, parts: &[&str]) {
    assert_eq!(error.status(), status, "{error}");
    for part in parts {
        assert!(error.message().contains(part), "no {part:?} in {error}");
    }
    lab::announce(format_args!("| {error}"));
}

#[test]
fn an_untrusted_server_receives_no_request() {
    for (certificate, status) in [
        (Certificate::UnknownIssuer, Status::Tls),
        (Certificate::WrongHost, Status::Tls),
        (Certificate::Expired, Status::Clock),
        (Certificate::NotYetValid, Status::Clock),
    ] {
        let sandbox = Sandbox::start(Settings {
            certificate,
            ..Settings::default()
        })
        .unwrap();
        let error = failed_sign_in(&trusting(&sandbox));
        assert_explained(&error, status, &["localhost (127.0.0.1)"]);
        assert_eq!(sandbox.auth_requests(), 0);
    }
}

#[test]
fn a_wrong_date_is_named_with_the_dates_of_the_certificate_and_the_server() {
    let fixture = Fixture::with_tls();
    let clock = ShiftedClock::new();
    let mut config = fixture.config();
    clopos_auth::testing::set_clock(&mut config, clock.clock());

    clock.shift_date(-60 * YEAR);
    let client = fixture.client(&config);
    let error = failed(client.authenticate(None));
    assert_explained(
        &error,
        Status::Clock,
        &["not valid before 20", "date is 19", "set"],
    );
    assert!(!error.message().contains("server's"), "{error}");

    // The date is corrected and a sign-in succeeds; then the date is set wrong.
    clock.shift_date(60 * YEAR);
    clock.sleep(10 * SECOND);
    value(client.authenticate(None));
    clock.shift_date(30 * YEAR);
    clock.sleep(60 * SECOND);
    let error = failed(client.authenticate(None));
    let parts = [
        "expired on 20",
        "date is 205",
        "by the server's clock, last seen in a response",
    ];
    assert_explained(&error, Status::Clock, &parts);
}

#[test]
fn all_added_certificates_are_trusted_in_one_buffer_or_several() {
    let sandboxes = [(), (), ()].map(|()| Sandbox::start(Settings::default()).unwrap());
    // As users combine files: with comments, DOS line ends and a byte order mark.
    let together = format!(
        "\u{feff}{}\n# the second one\r\n{}",
        sandboxes[0].ca_pem(),
        sandboxes[1].ca_pem().replace('\n', "\r\n"),
    );
    let mut config = Config::new();
    config.set_proxy("none").unwrap().set_roots(Roots::None);
    config.add_ca_pem(together.as_bytes()).unwrap();
    config.add_ca_pem(sandboxes[2].ca_pem().as_bytes()).unwrap();
    for sandbox in &sandboxes {
        config.set_base_url(&sandbox.url()).unwrap();
        value(
            Client::new(credentials(), &config)
                .unwrap()
                .authenticate(None),
        );
    }
}

#[test]
fn roots_system_trusts_the_systems_certificates_only() {
    // In its own process, for which the system trusts the sandbox.
    const URL: &str = "CLOPOS_TEST_SYSTEM_ROOTS_URL";
    let test = roots_system_trusts_the_systems_certificates_only;
    if let Ok(url) = std::env::var(URL) {
        let mut config = config(&url);
        assert_eq!(
            failed_sign_in(&config).status(),
            Status::Tls,
            "the bundled roots"
        );
        config.set_roots(Roots::System);
        value(
            Client::new(credentials(), &config)
                .unwrap()
                .authenticate(None),
        );
        return;
    }
    let sandbox = Sandbox::start(Settings::default()).unwrap();
    let path = std::env::temp_dir().join(format!("clopos-roots-{}.pem", std::process::id()));
    std::fs::write(&path, sandbox.ca_pem()).unwrap();
    let run = |file: &std::path::Path| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR")
            .env(URL, sandbox.url());
        lab::run_again(&mut command, test)
    };
    let output = run(&path);
    std::fs::write(&path, Sandbox::start(Settings::default()).unwrap().ca_pem()).unwrap();
    let control = run(&path);
    std::fs::write(&path, "").unwrap();
    let none = run(&path);
    // An empty variable counts as unset.
    let unset = run(std::path::Path::new(""));
    let store = std::path::Path::new("/etc/ssl/certs/ca-certificates.crt");
    if store.exists() {
        let stderr = String::from_utf8_lossy(&unset.stderr);
        assert!(stderr.contains("an untrusted CA"), "{stderr}");
    } else {
        lab::skip("the system has no root certificates");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        !control.status.success(),
        "another CA than the sandbox's was trusted"
    );
    let stderr = String::from_utf8_lossy(&none.stderr);
    assert!(!none.status.success());
    assert!(
        stderr.contains("no usable root certificate in the system's store"),
        "{stderr}"
    );
}
