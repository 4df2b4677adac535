//! What a technician reads in a store: `examples/doctor.rs` and `examples/c/doctor.c`, against the same
//! faults and with the same words.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::thread;

use clopos_sandbox::{
    CLIENT_ID, CLIENT_SECRET, Certificate, Fault, Sandbox, Settings, TEST_BRAND, TEST_INTEGRATOR,
};

use crate::dns::NameServer;
use crate::lab::{self, ARRIVING, DOMAIN, STORE_V4, v6};
use crate::support::transcribe;

const PROXY_PASSWORD: &str = "hunter2";

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The two programs, built when the first test asks for them.
fn doctors() -> &'static [PathBuf; 2] {
    static BUILT: OnceLock<[PathBuf; 2]> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = env::current_exe().expect("this program has a path");
        // TARGET/PROFILE/deps/program
        let dependencies = program.parent().expect("it is in a directory");
        let profile = dependencies.parent().expect("which is in another");
        let target = profile.parent().expect("which is in another");
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--example", "doctor", "--target-dir"])
            .arg(target)
            .current_dir(root);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        run(&mut cargo);

        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("doctor");
        fs::create_dir_all(&directory).expect("a directory can be made");
        let in_c = directory.join(format!("doctor-{}", std::process::id()));
        run(Command::new("cc")
            .args([
                "-std=c99",
                "-O2",
                "-Wall",
                "-Wextra",
                "-Wpedantic",
                "-Werror",
                "-I",
            ])
            .arg(root.join("include"))
            .arg(root.join("examples/c/doctor.c"))
            .arg(dependencies.join("libclopos_auth.a"))
            .args(["-lpthread", "-lm", "-ldl", "-o"])
            .arg(&in_c));
        [profile.join("examples/doctor"), in_c]
    })
}

/// The settings of a till, as variables.
struct Till<'a> {
    sandbox: Option<&'a Sandbox>,
    variables: Vec<(&'static str, String)>,
    ca_file: Option<PathBuf>,
}

impl<'a> Till<'a> {
    /// One that fits a sandbox.
    fn of(sandbox: &'a Sandbox) -> Till<'a> {
        let mut till = Till::at(&sandbox.url());
        till.sandbox = Some(sandbox);
        if !sandbox.ca_pem().is_empty() {
            let name = format!(
                "clopos-doctor-{}-{}.pem",
                std::process::id(),
                sandbox.port()
            );
            let path = env::temp_dir().join(name);
            fs::write(&path, sandbox.ca_pem()).expect("a file can be written");
            till = till.set("CLOPOS_CA_FILE", &path.display().to_string());
            till.ca_file = Some(path);
        }
        till
    }

    fn at(url: &str) -> Till<'a> {
        Till {
            sandbox: None,
            variables: vec![],
            ca_file: None,
        }
        .set("CLOPOS_BASE_URL", url)
        .set("CLOPOS_CLIENT_ID", CLIENT_ID)
        .set("CLOPOS_CLIENT_SECRET", CLIENT_SECRET)
        .set("CLOPOS_BRAND", TEST_BRAND)
        .set("CLOPOS_INTEGRATOR_ID", TEST_INTEGRATOR)
    }

    /// Sets a variable; to nothing, removes it.
    fn set(mut self, name: &'static str, value: &str) -> Till<'a> {
        self.variables.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            self.variables.push((name, value.to_owned()));
        }
        self
    }

    /// Runs both programs. Both end with this sentence, and come to this in each step.
    fn hears(&self, sentence: &str, steps: &str) {
        thread::scope(|scope| {
            for program in doctors() {
                scope.spawn(|| self.hears_of(program, sentence, steps));
            }
        });
    }

    fn hears_of(&self, program: &Path, sentence: &str, steps: &str) {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy().to_lowercase();
            if text.ends_with("_proxy") || text.starts_with("clopos_") {
                command.env_remove(&name);
            }
        }
        command.envs(self.variables.iter().cloned());
        let output = command.output().expect("the program can be started");
        let text = String::from_utf8(output.stdout).expect("it writes text");
        let all = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        // Fails if it holds the client's secret.
        transcribe(&all);
        assert!(!all.contains(PROXY_PASSWORD), "{all}");
        for token in self
            .sandbox
            .iter()
            .flat_map(|sandbox| sandbox.issued_tokens())
        {
            assert!(!all.contains(&token), "a token leaked");
        }

        let lines: Vec<&str> = text.lines().collect();
        let (last, lines) = lines.split_last().expect("it says something");
        assert!(last.starts_with(sentence), "not {sentence:?}:\n{all}");
        assert!(last.ends_with('.'), "{last}");
        assert_eq!(
            output.status.success(),
            !last.starts_with("To fix: "),
            "{all}"
        );
        let came: Vec<String> = lines
            .iter()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                assert!(
                    words[2].parse::<u32>().is_ok() && words[3] == "ms",
                    "{line}"
                );
                format!("{} {}", words[0], words[1])
            })
            .collect();
        assert_eq!(came.join(", "), steps, "{all}");
    }
}

impl Drop for Till<'_> {
    fn drop(&mut self) {
        if let Some(path) = &self.ca_file {
            let _ = fs::remove_file(path);
        }
    }
}

fn sandbox() -> Sandbox {
    sandbox_with(|_| ())
}

fn sandbox_with(change: impl FnOnce(&mut Settings)) -> Sandbox {
    let mut settings = Settings::default();
    change(&mut settings);
    Sandbox::start(settings).unwrap()
}

const ALL_OK: &str = "settings ok, proxy ok, dns ok, connect ok, tls ok, clock ok, sign-in ok";
const REFUSED: &str = "settings ok, proxy ok, dns ok, connect ok, tls ok, clock ok, sign-in failed";
const NO_TLS: &str = "settings ok, proxy ok, dns ok, connect ok, tls failed, clock -, sign-in -";

#[test]
fn the_doctor_says_that_all_is_well() {
    let sandbox = sandbox();
    Till::of(&sandbox).hears("All is well: this device can sign in.", ALL_OK);
    assert_eq!(sandbox.issued_tokens().len(), 2);
    // And does not praise what is not there.
    let plain = sandbox_with(|settings| settings.tls = false);
    Till::of(&plain).hears(
        "All is well: this device can sign in.",
        &ALL_OK.replace("tls ok", "tls -"),
    );
    plain.fail(Fault::Status503);
    Till::of(&plain).hears(
        "To fix: nothing here; the service itself fails",
        &REFUSED.replace("tls ok", "tls -"),
    );
}

#[test]
fn the_doctor_names_the_setting_that_is_wrong() {
    let sandbox = sandbox();
    for (name, value, words) in [
        ("CLOPOS_BRAND", "", "(CLOPOS_BRAND is not set)"),
        (
            "CLOPOS_CLIENT_SECRET",
            "a\tb",
            "(client_secret contains a control",
        ),
        (
            "CLOPOS_BASE_URL",
            "http://example.com",
            "(base_url: http:// would send",
        ),
        (
            "CLOPOS_BASE_URL",
            "integrations.clopos.com",
            "(base_url does not start",
        ),
        (
            "CLOPOS_CA_FILE",
            "/nowhere/ca.pem",
            "(/nowhere/ca.pem: No such file",
        ),
        ("CLOPOS_CA_FILE", "/dev/null", "(pem: is empty)"),
        (
            "HTTPS_PROXY",
            "socks5://u:hunter2@proxy:1",
            "(the environment's HTTPS_PROXY is not",
        ),
        (
            "HTTPS_PROXY",
            "http://u:hunter2",
            "(the environment's HTTPS_PROXY is not",
        ),
    ] {
        let sentence = format!("To fix: correct the settings of this device {words}");
        Till::of(&sandbox)
            .set(name, value)
            .hears(&sentence, "settings failed");
    }
    assert_eq!(sandbox.auth_requests(), 0);
}

#[test]
fn the_doctor_names_a_host_that_cannot_be_found_or_reached() {
    Till::at("https://no-such-host.invalid").hears(
        "To fix: make no-such-host.invalid resolvable",
        "settings ok, proxy ok, dns failed, connect -, tls -, clock -, sign-in failed",
    );
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    Till::at(&format!("https://{free}")).hears(
        &format!(
            "To fix: let this device reach 127.0.0.1 port {}",
            free.port()
        ),
        "settings ok, proxy ok, dns ok, connect failed, tls -, clock -, sign-in failed",
    );
}

#[test]
fn the_doctor_tells_a_stranger_from_a_wrong_clock() {
    let stranger = sandbox_with(|settings| settings.certificate = Certificate::UnknownIssuer);
    Till::of(&stranger).hears(
        "To fix: see to it that localhost is reached with nothing",
        NO_TLS,
    );
    let plain = sandbox_with(|settings| settings.tls = false);
    Till::at(&format!("https://localhost:{}", plain.port())).hears(
        "To fix: see to it that localhost is reached with nothing",
        NO_TLS,
    );
    for certificate in [Certificate::Expired, Certificate::NotYetValid] {
        let sandbox = sandbox_with(|settings| settings.certificate = certificate);
        Till::of(&sandbox).hears(
            "To fix: set this device's date and time; where they are right, have the certificate of \
             localhost renewed.",
            "settings ok, proxy ok, dns ok, connect ok, tls ok, clock failed, sign-in -",
        );
    }
    for hour in [-3600, 3600] {
        let sandbox = sandbox_with(|settings| settings.clock_offset = hour);
        Till::of(&sandbox).hears(
            "Signing in works, but set this device's date",
            "settings ok, proxy ok, dns ok, connect ok, tls ok, clock wrong, sign-in ok",
        );
    }
}

#[test]
fn the_doctor_tells_what_the_service_refuses_from_what_it_fails_at() {
    let well = sandbox();
    Till::of(&well)
        .set("CLOPOS_CLIENT_SECRET", "another_secret")
        .hears("To fix: correct the client id, the client secret,", REFUSED);
    for (fault, sentence) in [
        (
            Fault::Status503,
            "To fix: nothing here; the service itself fails",
        ),
        (Fault::Status429, "To fix: wait "),
        (
            Fault::BodyHtml,
            "To fix: find out what answers in the place of localhost",
        ),
        (Fault::MessageHostile, "To fix: correct the client id"),
    ] {
        let sandbox = sandbox();
        sandbox.fail(fault);
        Till::of(&sandbox).hears(sentence, REFUSED);
    }
}

#[test]
fn the_doctor_notices_that_nothing_comes_back() {
    let sandbox = sandbox();
    sandbox.fail(Fault::RequestHang);
    Till::of(&sandbox).hears(
        "To fix: find out why the line to localhost port",
        "settings ok, proxy ok, dns ok, connect ok, tls -, clock -, sign-in failed",
    );
}

/// A proxy that gives everybody this answer.
fn proxy(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
                let _ = stream.read(&mut [0; 1]);
            });
        }
    });
    format!("http://till:{PROXY_PASSWORD}@{address}")
}

#[test]
fn the_doctor_explains_a_proxy_and_keeps_its_password() {
    let steps = "settings ok, proxy ok, dns ok, connect ok, tls -, clock -, sign-in failed";
    for (answer, sentence) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "To fix: put the proxy's right user name and password",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "To fix: have whoever runs the proxy allow CONNECT to a.example port 443.",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "To fix: correct the proxy's URL",
        ),
    ] {
        let proxy = proxy(answer);
        // A slash in a password is taken as it stands, and must not be shown either.
        let slashed = proxy.replace("till:", "till:hunter2/x");
        for url in [proxy, slashed] {
            Till::at("https://a.example")
                .set("HTTPS_PROXY", &url)
                .hears(sentence, steps);
        }
    }
    Till::at("https://a.example")
        .set("https_proxy", "http://till:hunter2@127.0.0.1:1")
        .hears(
            "To fix: correct the proxy's URL",
            "settings ok, proxy ok, dns ok, connect failed, tls -, clock -, sign-in failed",
        );
}

#[test]
fn the_doctor_finds_an_address_that_only_costs_time() {
    lab::run(the_doctor_finds_an_address_that_only_costs_time, |lab| {
        let sandbox = lab.sandbox(|_| ());
        let names = NameServer::start(lab);
        lab.nft_store(ARRIVING);
        lab.nft_store("add rule inet lab arriving ip6 daddr 2001:db8::2 meta l4proto tcp drop");
        let host = format!("till.{DOMAIN}");
        names.set(&host, &[IpAddr::V6(v6(2)), IpAddr::V4(STORE_V4)]);
        Till::of(&sandbox)
            .set(
                "CLOPOS_BASE_URL",
                &format!("https://{host}:{}", sandbox.port()),
            )
            .hears(
                "Signing in works, but 2001:db8::2 does not answer",
                "settings ok, proxy ok, dns ok, connect failed, connect ok, tls ok, clock ok, \
                 sign-in ok",
            );
    });
}
