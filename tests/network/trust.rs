//! Who is trusted, and what a technician reads where nobody is.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use clopos_auth::{Client, Config, Error, Roots, Status};
use clopos_sandbox::{Certificate, Fault, Sandbox, Settings};

use crate::clock::ShiftedClock;
use crate::lab;
use crate::support::{Bench, SECOND, credentials, failed, status, value};

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
fn whatever_cannot_be_trusted_is_refused_with_a_reason_that_names_the_host() {
    for (certificate, status, words) in [
        (
            Certificate::UnknownIssuer,
            Status::Tls,
            &[
                "issued by a CA that is not trusted here",
                "localhost (127.0.0.1)",
            ][..],
        ),
        (
            Certificate::WrongHost,
            Status::Tls,
            &["is for elsewhere.example", "localhost"],
        ),
        (
            Certificate::Expired,
            Status::Clock,
            &[
                "localhost (127.0.0.1) expired on 20",
                "(it was valid from 20",
                "this device's date is 20",
            ],
        ),
        (
            Certificate::NotYetValid,
            Status::Clock,
            &[
                "localhost (127.0.0.1) is valid from 20",
                "(until 20",
                "this device's date is 20",
                "set",
            ],
        ),
    ] {
        let sandbox = Sandbox::start(Settings {
            certificate,
            ..Settings::default()
        })
        .unwrap();
        let error = refusal(&trusting(&sandbox));
        is_explained(&error, status, words);
        assert_eq!(sandbox.auth_requests(), 0);
    }
}

#[test]
fn a_wrong_date_is_named_with_the_certificates_and_the_last_one_that_the_server_gave() {
    let bench = Bench::with_tls();
    let clock = ShiftedClock::new();
    let mut config = bench.config();
    config.set_clock(clock.clock());

    clock.shift_date(-60 * YEAR);
    let client = bench.client(&config);
    let error = failed(client.authenticate(None));
    is_explained(
        &error,
        Status::Clock,
        &["valid from 20", "date is 19", "set"],
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
        "by the server's clock, as last seen, it is 202",
    ];
    is_explained(&error, Status::Clock, &words);
}

#[test]
fn plain_http_on_the_tls_port_is_named_so() {
    let sandbox = Sandbox::start(Settings {
        tls: false,
        ..Settings::default()
    })
    .unwrap();
    let error = refusal(&config(&format!("https://localhost:{}", sandbox.port())));
    is_explained(
        &error,
        Status::Tls,
        &["plain HTTP", "captive portal", "localhost"],
    );
}

#[test]
fn a_server_that_ends_the_handshake_is_named_so() {
    for (fault, words) in [
        (Fault::TlsClose, "closed by the other side"),
        (Fault::TlsReset, "connection reset"),
    ] {
        let sandbox = Sandbox::start(Settings::default()).unwrap();
        sandbox.fail(fault);
        let error = refusal(&trusting(&sandbox));
        is_explained(
            &error,
            Status::Connect,
            &["during the TLS handshake", words, "localhost"],
        );
    }
}

/// A server of OpenSSL's, killed when dropped.
struct OpenSsl {
    process: Child,
    port: u16,
    directory: std::path::PathBuf,
}

impl OpenSsl {
    fn start(options: &[&str]) -> OpenSsl {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let directory = std::env::temp_dir().join(format!("clopos-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (key, certificate) = (directory.join("key"), directory.join("certificate"));
        let made = Command::new("openssl")
            .args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split(' '))
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "{made:?}");
        drop(free);
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-key"])
            .arg(&key)
            .arg("-cert")
            .arg(&certificate)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = lines
            .by_ref()
            .find(|line| line.as_ref().is_ok_and(|l| l == "ACCEPT"));
        assert!(ready.is_some(), "openssl did not start");
        // Whatever else it says must not stop it.
        thread::spawn(move || lines.for_each(drop));
        OpenSsl {
            process,
            port,
            directory,
        }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn tls_older_than_1_2_is_named_so() {
    for version in ["-tls1", "-tls1_1"] {
        let server = OpenSsl::start(&[version, "-cipher", "ALL:@SECLEVEL=0"]);
        let error = refusal(&config(&format!("https://127.0.0.1:{}", server.port)));
        is_explained(&error, Status::Tls, &["older than 1.2", "127.0.0.1"]);
    }
    // The control: the same server with 1.2 gets as far as the question of who it is.
    let server = OpenSsl::start(&["-tls1_2"]);
    let error = refusal(&config(&format!("https://127.0.0.1:{}", server.port)));
    is_explained(&error, Status::Tls, &["is a CA's (CA:TRUE)", "127.0.0.1"]);
}

#[test]
fn a_private_ca_alone_is_trusted_and_then_nobody_else_is() {
    let [ours, theirs] = [(), ()].map(|()| Sandbox::start(Settings::default()).unwrap());
    assert_eq!(
        status(
            Client::new(credentials(), &trusting(&ours))
                .unwrap()
                .authenticate(None)
        ),
        Status::Ok
    );
    let mut config = trusting(&ours);
    config.set_base_url(&theirs.url()).unwrap();
    // The two have the same name, as a CA has that was made anew.
    is_explained(
        &refusal(&config),
        Status::Tls,
        &["but with another key", "localhost"],
    );
    let mut config = trusting(&ours);
    // Nor is one with another name.
    let certificate = Certificate::UnknownIssuer;
    let stranger = Sandbox::start(Settings {
        certificate,
        ..Settings::default()
    })
    .unwrap();
    config.set_base_url(&stranger.url()).unwrap();
    is_explained(
        &refusal(&config),
        Status::Tls,
        &["issued by a CA that is not trusted"],
    );
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
        assert!(said.contains("a CA that is not trusted here"), "{said}");
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

#[test]
fn a_port_that_is_no_tls_server_is_named_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        use std::io::Write;
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        }
    });
    let error = refusal(&config(&format!("https://127.0.0.1:{port}")));
    is_explained(&error, Status::Tls, &["not TLS", "wrong port", "127.0.0.1"]);
}
