//! Who is trusted, as a client sees it. The sentence for each certificate and server is tested in
//! `src/connect/tests/certificates.rs`.

use std::process::Command;

use clopos_auth::{Client, Config, Error, Roots, Status};
use clopos_sandbox::{Certificate, Sandbox, Settings};

use crate::clock::ShiftedClock;
use crate::lab;
use crate::support::{Bench, SECOND, credentials, failed, value};

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

/// Settings for a sandbox whose CA alone is trusted.
fn trusting(sandbox: &Sandbox) -> Config {
    let mut config = config(&sandbox.url());
    config.set_roots(Roots::None);
    if !sandbox.ca_pem().is_empty() {
        config.add_ca_pem(sandbox.ca_pem().as_bytes()).unwrap();
    }
    config
}

fn refusal(config: &Config) -> Error {
    failed(
        Client::new(credentials(), config)
            .unwrap()
            .authenticate(None),
    )
}

fn is_explained(error: &Error, status: Status, words: &[&str]) {
    assert_eq!(error.status(), status, "{error}");
    for word in words {
        assert!(error.message().contains(word), "no {word:?} in {error}");
    }
    lab::announce(format_args!("| {error}"));
}

#[test]
fn a_server_that_is_not_trusted_gets_no_request() {
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
        let error = refusal(&trusting(&sandbox));
        is_explained(&error, status, &["localhost (127.0.0.1)"]);
        assert_eq!(sandbox.auth_requests(), 0);
    }
}

#[test]
fn a_wrong_date_is_named_with_the_certificates_and_the_last_one_that_the_server_gave() {
    let bench = Bench::with_tls();
    let clock = ShiftedClock::new();
    let mut config = bench.config();
    clopos_auth::testing::set_clock(&mut config, clock.clock());

    clock.shift_date(-60 * YEAR);
    let client = bench.client(&config);
    let error = failed(client.authenticate(None));
    is_explained(
        &error,
        Status::Clock,
        &["not valid before 20", "date is 19", "set"],
    );
    assert!(!error.message().contains("server's"), "{error}");

    // Somebody sets the date; all is well; then somebody sets it wrong.
    clock.shift_date(60 * YEAR);
    clock.sleep(10 * SECOND);
    value(client.authenticate(None));
    clock.shift_date(30 * YEAR);
    clock.sleep(60 * SECOND);
    let error = failed(client.authenticate(None));
    let words = [
        "expired on 20",
        "date is 205",
        "by the server's clock, last seen in a response",
    ];
    is_explained(&error, Status::Clock, &words);
}

#[test]
fn several_certificates_in_one_buffer_and_in_several_are_all_trusted() {
    let sandboxes = [(), (), ()].map(|()| Sandbox::start(Settings::default()).unwrap());
    // As people paste them together: with remarks, DOS line ends, and a byte order mark.
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
fn the_systems_roots_are_those_of_the_system() {
    // In a process of its own, whose system trusts the sandbox.
    const URL: &str = "CLOPOS_TEST_SYSTEM_ROOTS_URL";
    let test = the_systems_roots_are_those_of_the_system;
    if let Ok(url) = std::env::var(URL) {
        let mut config = config(&url);
        assert_eq!(refusal(&config).status(), Status::Tls, "the bundled roots");
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
        lab::again(&mut command, test)
    };
    let output = run(&path);
    std::fs::write(&path, Sandbox::start(Settings::default()).unwrap().ca_pem()).unwrap();
    let control = run(&path);
    std::fs::write(&path, "").unwrap();
    let none = run(&path);
    // An empty variable is as good as none.
    let unset = run(std::path::Path::new(""));
    let store = std::path::Path::new("/etc/ssl/certs/ca-certificates.crt");
    if store.exists() {
        let said = String::from_utf8_lossy(&unset.stderr);
        assert!(said.contains("an untrusted CA"), "{said}");
    } else {
        lab::skip("the system has no root certificates");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        !control.status.success(),
        "another CA than the sandbox's was trusted"
    );
    let said = String::from_utf8_lossy(&none.stderr);
    assert!(!none.status.success());
    assert!(
        said.contains("no usable root certificate in the system's store"),
        "{said}"
    );
}
