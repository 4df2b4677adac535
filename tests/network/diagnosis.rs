//! What a technician reads in a store: `examples/c/doctor.c`, against planted troubles.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use clopos_sandbox::{
    CLIENT_ID, CLIENT_SECRET, Certificate, Fault, Sandbox, Settings, TEST_BRAND, TEST_INTEGRATOR,
};

use crate::dns::{DnsFault, NameServer};
use crate::lab::{self, ARRIVING, DOMAIN, STORE_V4, v6};
use crate::support::transcribe;

const PROXY_PASSWORD: &str = "hunter2";

/// The program, built when the first test asks for it.
fn doctor() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("doctor");
        fs::create_dir_all(&directory).expect("a directory can be made");
        remove_leftovers(&directory);
        let path = directory.join(std::process::id().to_string());
        let tests = env::current_exe().expect("this program has a path");
        let output = Command::new("cc")
            .args(["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic"])
            .args(["-Wshadow", "-Werror", "-I"])
            .arg(root.join("include"))
            .arg(root.join("examples/c/doctor.c"))
            .arg(tests.with_file_name("libclopos_auth.a"))
            .args(["-lpthread", "-lm", "-ldl", "-o"])
            .arg(&path)
            .output()
            .expect("there is a C compiler");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
        path
    })
}

/// Removes the files of test programs that have ended: each name begins with the number of the process.
fn remove_leftovers(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.split('-').next().unwrap_or(&name);
        if !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The settings of a till.
#[derive(Clone, Default)]
struct Till {
    variables: Vec<(&'static str, String)>,
    options: Vec<String>,
}

impl Till {
    /// One whose service is at this URL.
    fn at(url: &str) -> Till {
        Till::default()
            .set("CLOPOS_BASE_URL", url)
            .set("CLOPOS_CLIENT_ID", CLIENT_ID)
            .set("CLOPOS_CLIENT_SECRET", CLIENT_SECRET)
            .set("CLOPOS_BRAND", TEST_BRAND)
            .set("CLOPOS_INTEGRATOR_ID", TEST_INTEGRATOR)
    }

    /// One that fits a sandbox and trusts its CA.
    fn of(sandbox: &Sandbox) -> Till {
        let till = Till::at(&sandbox.url());
        match sandbox.ca_pem() {
            "" => till,
            pem => till.set("CLOPOS_CA_FILE", &file(&sandbox.port().to_string(), pem)),
        }
    }

    /// Sets a variable; to nothing, removes it.
    fn set(mut self, name: &'static str, value: &str) -> Till {
        self.variables.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            self.variables.push((name, value.to_owned()));
        }
        self
    }

    fn option(mut self, option: &str) -> Till {
        self.options.push(option.to_owned());
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(doctor());
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy().to_lowercase();
            if text.ends_with("_proxy") || text.starts_with("clopos_") {
                command.env_remove(&name);
            }
        }
        command
            .envs(self.variables.iter().cloned())
            .args(&self.options)
            .stdin(Stdio::null());
        command
    }

    /// Runs the program, whose output holds no secret.
    fn run(&self) -> Output {
        let output = self.command().output().expect("it can be started");
        let all = [&output.stdout[..], &output.stderr].concat();
        let all = String::from_utf8(all).expect("it writes text");
        // Fails if it holds the client's secret.
        transcribe(&all);
        assert!(!all.contains(PROXY_PASSWORD), "{all}");
        output
    }

    /// Runs the program: its steps come to this and its status is this. Its last sentence begins so; what
    /// stands behind a "…" is somewhere in it.
    fn expect_output(&self, failure: &str, sentence: &str, steps: &str, status: i32) {
        let output = self.run();
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = text.lines().collect();
        let [head, lines @ .., last] = &lines[..] else {
            panic!("{failure}: {output:?}");
        };
        assert!(head.starts_with("clopos-doctor "), "{failure}: {text}");
        let (begin, words) = sentence.split_once(" … ").unwrap_or((sentence, ""));
        let is_so = last.starts_with(begin) && last.contains(words);
        assert!(is_so, "{failure}, {sentence}: {text}");
        assert!(last.ends_with('.'), "{failure}: {text}");
        assert_eq!(output.status.code(), Some(status), "{failure}: {text}");
        // The hosts file may have ::1 for localhost as well, where no sandbox listens.
        let came: Vec<String> = lines
            .iter()
            .filter(|line| !line.contains(" ::1 port "))
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let is_timed = words[2].parse::<u32>().is_ok() && words[3] == "ms";
                assert!(is_timed, "{failure}: {line}");
                format!("{} {}", words[0], words[1])
            })
            .collect();
        // Where there were settings, the state is the last step.
        let steps = match steps.rsplit_once(", sign-in ") {
            Some((_, "ok")) => format!("{steps}, state ok"),
            Some(_) => format!("{steps}, state -"),
            None => steps.to_owned(),
        };
        assert_eq!(came.join(", "), steps, "{failure}: {text}");
        lab::announce(format_args!("| {failure}: {last}"));
    }
}

/// A file of this process with this content.
fn file(name: &str, content: &str) -> String {
    let path = format!("{}-{name}", doctor().display());
    fs::write(&path, content).expect("a file can be written");
    path
}

fn sandbox() -> Sandbox {
    sandbox_with(|_| ())
}

fn sandbox_with(change: impl FnOnce(&mut Settings)) -> Sandbox {
    let mut settings = Settings::default();
    change(&mut settings);
    Sandbox::start(settings).unwrap()
}

/// A sandbox at which every request fails so.
fn failing(fault: Fault) -> Sandbox {
    let sandbox = sandbox();
    sandbox.fail(fault);
    sandbox
}

fn answering(status: u16, body: &str) -> Sandbox {
    failing(Fault::Response {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.into(),
    })
}

fn refusing(status: u16, error: &str) -> Sandbox {
    answering(status, &format!(r#"{{"success":false,"error":"{error}"}}"#))
}

/// A proxy that gives everybody this answer, as a URL.
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

/// A port of this device on which nothing listens.
fn unused_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

const WELL: &str = "All is well: this device can sign in.";
const ALL_OK: &str = "settings ok, proxy ok, dns ok, connect ok, tls ok, clock ok, sign-in ok";
const REFUSED: &str = "settings ok, proxy ok, dns ok, connect ok, tls ok, clock ok, sign-in failed";
const NO_TLS: &str = "settings ok, proxy ok, dns ok, connect ok, tls failed, clock -, sign-in -";
const NO_ANSWER: &str = "settings ok, proxy ok, dns ok, connect ok, tls -, clock -, sign-in failed";
const NO_CONNECTION: &str =
    "settings ok, proxy ok, dns ok, connect failed, tls -, clock -, sign-in failed";
const NO_NAME: &str =
    "settings ok, proxy ok, dns failed, connect -, tls -, clock -, sign-in failed";
const NO_SETTINGS: &str = "settings failed";

#[test]
fn the_doctor_reports_success_and_claims_nothing_that_was_not_verified() {
    let sandbox = sandbox();
    Till::of(&sandbox).expect_output("none", WELL, ALL_OK, 0);
    assert_eq!(sandbox.issued_tokens().len(), 1);
    let plain = sandbox_with(|settings| settings.tls = false);
    Till::of(&plain).expect_output("none", WELL, &ALL_OK.replace("tls ok", "tls -"), 0);
    plain.fail(Fault::Status503);
    let steps = REFUSED.replace("tls ok, clock ok", "tls -, clock -");
    let sentence = "To fix: nothing on this device: the service itself fails";
    Till::of(&plain).expect_output("503 without TLS", sentence, &steps, 15);
}

#[test]
fn the_doctor_prints_the_state_after_its_sign_in() {
    let state = |sandbox: &Sandbox| {
        let output = Till::of(sandbox).option("--max-attempts=3").run();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with("state "));
        let line = line.unwrap_or_else(|| panic!("{text}"));
        line.split_once(" ms  ").unwrap().1.to_owned()
    };
    let sandbox = sandbox();
    sandbox.fail_times(Fault::Status503, 2);
    let said = state(&sandbox);
    assert!(
        said.starts_with("a token for 3599 s, to be replaced in "),
        "{said}"
    );
    let end = " s; requests sent: 3, failed: 2; the next one may be sent now";
    assert!(said.ends_with(end), "{said}");
    assert_eq!(sandbox.auth_requests(), 3);
    sandbox.fail(Fault::Status401);
    let said = state(&sandbox);
    let words = "no token; requests sent: 1, failed: 1; the next one may be sent in ";
    assert!(said.starts_with(words), "{said}");
}

#[test]
fn the_doctor_names_the_setting_that_is_wrong() {
    let sandbox = sandbox();
    let well = || Till::of(&sandbox);
    let with = |option: &str| well().option(option);
    for (failure, till, words) in [
        (
            "all variables are missing",
            Till::default(),
            "not set: CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND, CLOPOS_INTEGRATOR_ID)",
        ),
        (
            "two variables are missing",
            well().set("CLOPOS_BRAND", "").set("CLOPOS_CLIENT_ID", ""),
            "not set: CLOPOS_CLIENT_ID, CLOPOS_BRAND)",
        ),
        (
            "a control character",
            well().set("CLOPOS_CLIENT_SECRET", "a\tb"),
            "client_secret contains a control",
        ),
        (
            "plain http",
            with("--base-url=http://example.com"),
            "base_url: http:// would send",
        ),
        (
            "no scheme",
            with("--base-url=integrations.clopos.com"),
            "base_url does not start",
        ),
        (
            "no CA file",
            with("--ca-file=/nowhere/ca.pem"),
            "/nowhere/ca.pem: No such file",
        ),
        (
            "an empty CA file",
            with("--ca-file=/dev/null"),
            "pem is empty",
        ),
        (
            "a CA file without a certificate",
            well().set("CLOPOS_CA_FILE", &file("text", "hello")),
            "pem contains no BEGIN CERTIFICATE",
        ),
        (
            "no root at all",
            with("--roots=none").set("CLOPOS_CA_FILE", ""),
            "roots is NONE and no CA was added",
        ),
        (
            "roots that there are not",
            well().set("CLOPOS_ROOTS", "mine"),
            "the roots are neither bundled nor",
        ),
        (
            "a word for a number",
            well().set("CLOPOS_TIMEOUT_MS", "5s"),
            "CLOPOS_TIMEOUT_MS is not a number",
        ),
        (
            "a number out of range",
            with("--max-attempts").option("11"),
            "max_attempts is 11",
        ),
        (
            "an unusable proxy",
            well().set("CLOPOS_PROXY", "socks5://u:hunter2@proxy:1"),
            "proxy: SOCKS proxies are not supported",
        ),
        (
            "a file of variables that is none",
            with("--env-file").option(&file("env", "CLOPOS_BRAND\n")),
            &format!("{}-env: line 1 is not NAME=VALUE", doctor().display()),
        ),
    ] {
        let sentence = format!("To fix: correct the settings of this device ({words}");
        till.expect_output(failure, &sentence, NO_SETTINGS, 1);
    }
    assert_eq!(sandbox.auth_requests(), 0);
}

#[test]
fn the_doctor_names_the_cause_of_a_failure_on_the_device_or_at_the_service() {
    let certified = |certificate| sandbox_with(|settings| settings.certificate = certificate);
    let hours_ahead = |hours: i64| sandbox_with(|settings| settings.clock_offset = -hours * 3600);
    let wrong_certificate = &NO_TLS.replace("tls failed, clock -", "tls -, clock failed");
    let wrong_clock = &ALL_OK.replace("clock ok", "clock wrong");
    let wrong_settings = &REFUSED.replace("settings ok", "settings wrong");
    for (failure, sandbox, sentence, steps, status) in [
        (
            "an unknown CA",
            certified(Certificate::UnknownIssuer),
            "To fix: connect to localhost directly, or add the CA certificate of the proxy … issued by",
            NO_TLS,
            10,
        ),
        (
            "a wrong host name",
            certified(Certificate::WrongHost),
            "To fix: connect to localhost directly, or add the CA certificate of the proxy … elsewhere.example",
            NO_TLS,
            10,
        ),
        (
            "an expired certificate",
            certified(Certificate::Expired),
            "To fix: set this device's date and time; if they are right, have the certificate of \
             localhost renewed (",
            wrong_certificate,
            11,
        ),
        (
            "a certificate of the future",
            certified(Certificate::NotYetValid),
            "To fix: set this device's date and time",
            wrong_certificate,
            11,
        ),
        (
            "a clock that is behind",
            hours_ahead(-1),
            "Signing in works, but set this device's date and time: they are 60 min behind",
            wrong_clock,
            11,
        ),
        (
            "a clock that is ahead",
            hours_ahead(1),
            "Signing in works, but set this device's date and time: they are 60 min ahead",
            wrong_clock,
            11,
        ),
        (
            "a login page on the TLS port",
            failing(Fault::PlainHttp),
            "To fix: connect to localhost directly, or add the CA certificate of the proxy … plain HTTP",
            NO_TLS,
            10,
        ),
        (
            "a connection that is cut",
            failing(Fault::TlsReset),
            "To fix: check the firewall and the line: connections to localhost port",
            NO_ANSWER,
            9,
        ),
        (
            "no answer",
            failing(Fault::RequestHang),
            "To fix: check the firewall and the line: localhost port",
            NO_ANSWER,
            7,
        ),
        (
            "a wrong secret",
            sandbox(),
            "To fix: correct the client id, the client secret or the brand before",
            REFUSED,
            13,
        ),
        (
            "a blank behind the secret",
            sandbox(),
            "To fix: correct the credentials (client_secret begins or ends with a blank or a quote",
            wrong_settings,
            13,
        ),
        (
            "quotes around the integrator id",
            refusing(400, "Invalid integrator_id"),
            "To fix: correct the credentials (integrator_id begins or ends with a blank or a quote",
            wrong_settings,
            13,
        ),
        (
            "an unknown integrator",
            refusing(400, "Invalid integrator_id"),
            "To fix: correct the integrator id, or ask Clopos to switch it on",
            REFUSED,
            13,
        ),
        (
            "a test integrator on a production brand",
            refusing(
                200,
                "Integrator is in test mode. But brand is not in test mode",
            ),
            "To fix: use the integrator id and the brand of one environment",
            REFUSED,
            13,
        ),
        (
            "a disabled client",
            refusing(401, "Client is disabled"),
            "To fix: switch Open API on in the restaurant's back office",
            REFUSED,
            13,
        ),
        (
            "a missing field",
            refusing(
                400,
                "Missing client_id, client_secret, brand, or integrator_id",
            ),
            "To fix: correct the credentials: the service says that one of the four is blank",
            REFUSED,
            13,
        ),
        (
            "too many requests",
            failing(Fault::Status429),
            "To fix: wait ",
            REFUSED,
            14,
        ),
        (
            "a service that fails",
            failing(Fault::Status500),
            "To fix: nothing on this device: the service itself fails (HTTP 500).",
            REFUSED,
            15,
        ),
        (
            "a gateway whose service is silent",
            failing(Fault::Status504),
            "To fix: nothing on this device: the service itself did not answer its own gateway in time",
            REFUSED,
            15,
        ),
        (
            "a web page",
            failing(Fault::BodyHtml),
            "To fix: find out what answers in the place of localhost: a login page of this network",
            REFUSED,
            16,
        ),
        (
            "a redirect",
            failing(Fault::Redirect302),
            "To fix: correct the base URL, or sign in to this network's login page",
            REFUSED,
            16,
        ),
        (
            "a wrong path",
            answering(404, "<h1>Not found</h1>"),
            "To fix: correct the base URL or the path of the sign-in: there is no such service at localhost",
            REFUSED,
            16,
        ),
    ] {
        let till = Till::of(&sandbox);
        let till = match failure {
            "no answer" => till.option("--attempt-timeout-ms=300"),
            "a wrong secret" => till.set("CLOPOS_CLIENT_SECRET", "another_secret"),
            "a blank behind the secret" => {
                till.set("CLOPOS_CLIENT_SECRET", &format!("{CLIENT_SECRET} "))
            }
            "quotes around the integrator id" => till.set("CLOPOS_INTEGRATOR_ID", "\"7\""),
            _ => till,
        };
        till.expect_output(failure, sentence, steps, status);
    }
    let port = unused_port();
    Till::at(&format!("https://127.0.0.1:{port}")).expect_output(
        "a refused connection",
        &format!(
            "To fix: check the port in the base URL, and the firewall: 127.0.0.1 refuses connections to \
             port {port}"
        ),
        NO_CONNECTION,
        9,
    );
}

/// Preloaded, it sets the date of a program back to the first minutes of 1970.
const FIRST_MINUTES: &str = "
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME)
        now->tv_sec = 60;
    return result;
}

time_t time(time_t *now)
{
    if (now != NULL)
        *now = 60;
    return 60;
}
";

#[test]
fn the_doctor_names_a_date_of_1970_and_shows_it() {
    let (source, library) = (file("1970.c", FIRST_MINUTES), file("1970.so", ""));
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", &library, &source])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let sandbox = sandbox();
    let till = Till::of(&sandbox).set("LD_PRELOAD", &library);
    till.expect_output(
        "a device without a battery",
        "To fix: set this device's date and time",
        &NO_TLS.replace("tls failed, clock -", "tls -, clock failed"),
        11,
    );
    let output = String::from_utf8(till.run().stdout).unwrap();
    let head = output.lines().next().unwrap();
    assert!(head.ends_with(", 1970-01-01T00:01:00Z"), "{head}");
    assert_eq!(sandbox.auth_requests(), 0);
}

#[test]
fn the_doctor_names_the_cause_of_a_failure_of_a_proxy_and_keeps_its_password() {
    let refused = format!("http://till:{PROXY_PASSWORD}@127.0.0.1:{}", unused_port());
    for (failure, proxy, sentence, steps) in [
        (
            "a proxy that wants a password",
            proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
            "To fix: put the proxy's right user name and password into its URL",
            NO_ANSWER,
        ),
        (
            "a proxy that wants another login than a password",
            proxy("HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\n\r\n"),
            "To fix: ask the proxy's administrator to let this device pass without a login … NTLM",
            NO_ANSWER,
        ),
        (
            "a proxy that forbids the host",
            proxy("HTTP/1.1 403 Forbidden\r\n\r\n"),
            "To fix: ask the proxy's administrator to allow CONNECT to a.example port 443",
            NO_ANSWER,
        ),
        (
            "a proxy that is asked too often",
            proxy("HTTP/1.1 429 Too Many Requests\r\n\r\n"),
            "To fix: wait, and ask the proxy's administrator to allow more requests",
            NO_ANSWER,
        ),
        (
            "a proxy without internet",
            proxy("HTTP/1.1 502 Bad Gateway\r\n\r\n"),
            "To fix: check that the proxy reaches the internet",
            NO_ANSWER,
        ),
        (
            "a proxy that is none",
            proxy("SSH-2.0-OpenSSH_9.6\r\n"),
            "To fix: correct the proxy's URL",
            NO_ANSWER,
        ),
        (
            "a proxy that does not run",
            refused,
            "To fix: correct the proxy's URL, or check that the proxy runs",
            NO_CONNECTION,
        ),
    ] {
        // A slash in a password is taken as it stands, and must not be shown either.
        let slashed = proxy.replace("till:", "till:hunter2/x");
        for (variable, url) in [
            ("HTTPS_PROXY", &proxy),
            ("all_proxy", &slashed.replace("http:", "HTTP:")),
            ("CLOPOS_PROXY", &proxy),
        ] {
            Till::at("https://a.example")
                .set(variable, url)
                .expect_output(failure, sentence, steps, 12);
        }
    }
    Till::at("https://a.example")
        .set("HTTPS_PROXY", "socks5://till:hunter2@127.0.0.1:1")
        .expect_output(
            "a proxy of another kind",
            "To fix: correct the settings of this device (environment variable HTTPS_PROXY is invalid",
            NO_SETTINGS,
            12,
        );
    let dead = &proxy("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    let sandbox = sandbox();
    Till::of(&sandbox).set("HTTPS_PROXY", dead).expect_output(
        "a proxy that is not used for this device itself",
        WELL,
        ALL_OK,
        0,
    );
}

#[test]
fn the_doctor_names_the_cause_of_a_failure_of_the_network() {
    lab::run(
        the_doctor_names_the_cause_of_a_failure_of_the_network,
        |lab| {
            let sandbox = lab.sandbox(|_| ());
            let url = |host: &str| format!("https://{host}:{}", sandbox.port());
            let at = |host: &str| Till::of(&sandbox).set("CLOPOS_BASE_URL", &url(host));
            let host = &format!("till.{DOMAIN}");
            at(host).expect_output(
                "no name server",
                "To fix: connect this device to its network, or correct the name server in its \
                 settings: none answered for till.store.test",
                NO_NAME,
                8,
            );
            let names = NameServer::start(lab);
            at("unknown.test").expect_output(
                "a name that does not exist",
                "To fix: correct the host name in the base URL, or the name server of this network: \
                 it says that there is no unknown.test",
                NO_NAME,
                8,
            );
            at("203.0.113.1").expect_output(
                "no route",
                "To fix: give this device a route to the internet",
                NO_CONNECTION,
                9,
            );

            let (v4, v6) = (IpAddr::V4(STORE_V4), IpAddr::V6(v6(2)));
            lab.nft_store(ARRIVING);
            lab.nft_store("add rule inet lab arriving ip6 daddr 2001:db8::2 meta l4proto tcp drop");
            names.set(host, &[v6, v4]);
            at(host).expect_output(
                "IPv6 that is not routed",
                "Signing in works, but 2001:db8::2 does not answer, which costs time",
                &ALL_OK.replace("connect ok", "connect failed, connect ok"),
                0,
            );
            // NO_PROXY may except this host or not: both ways are looked at.
            let dead = proxy("HTTP/1.1 502 Bad Gateway\r\n\r\n");
            names.set(host, &[v4]);
            let two_ways = "dns ok, connect ok, dns ok, connect ok";
            let two_ways = |steps: &str| steps.replace("dns ok, connect ok", two_ways);
            let behind_proxy = at(host).set("HTTPS_PROXY", &dead);
            let excepted = behind_proxy.clone().set("NO_PROXY", DOMAIN);
            excepted.expect_output("an excepted host", WELL, &two_ways(ALL_OK), 0);
            behind_proxy.set("NO_PROXY", "other.test").expect_output(
                "a host that is not excepted",
                "To fix: check that the proxy reaches the internet",
                &two_ways(NO_ANSWER),
                12,
            );
            at(host)
                .set("HTTPS_PROXY", "socks5://till:hunter2@127.0.0.1:1")
                .set("NO_PROXY", DOMAIN)
                .expect_output(
                    "a host that is excepted from a proxy of another kind",
                    WELL,
                    &ALL_OK.replace("proxy ok", "proxy wrong"),
                    0,
                );
            names.set(host, &[v6]);
            at(host).option("--attempt-timeout-ms=500").expect_output(
                "a firewall that drops",
                &format!(
                    "To fix: check the firewall and the line: {host} port {} does not answer",
                    sandbox.port()
                ),
                NO_CONNECTION,
                9,
            );
            names.fail(host, &[v4], DnsFault::Slow(Duration::from_millis(800)));
            at(host).option("--attempt-timeout-ms=200").expect_output(
                "a slow name server",
                "To fix: repair the name server of this network: it answers for till.store.test too late",
                NO_ANSWER,
                8,
            );

            // A name of the public DNS that this network answers by itself.
            let public = "integrations.clopos.example";
            let ours = sandbox_with(|settings| settings.names = vec![public.to_owned()]);
            let page = sandbox_with(|settings| settings.certificate = Certificate::UnknownIssuer);
            names.set(public, &[Ipv4Addr::LOCALHOST.into()]);
            let at =
                |port| Till::of(&ours).set("CLOPOS_BASE_URL", &format!("https://{public}:{port}"));
            let wrong = |steps: &str| steps.replace("dns ok", "dns wrong");
            let why =
                "To fix: find out why integrations.clopos.example is 127.0.0.1 on this network";
            at(unused_port()).expect_output(
                "a line in the hosts file",
                why,
                &wrong(NO_CONNECTION),
                9,
            );
            at(page.port()).expect_output("a login page", why, &wrong(NO_TLS), 10);
            at(ours.port()).expect_output(
                "DNS rewriting that leads to the service",
                "Signing in works, but integrations.clopos.example is 127.0.0.1 on this network",
                &wrong(ALL_OK),
                0,
            );
        },
    );
}

#[test]
fn the_doctor_takes_a_setting_from_an_option_before_a_file_before_the_environment() {
    let sandbox = sandbox();
    let env_file = file(
        "settings",
        &format!(
            "\u{feff}# of the till\r\n\r\nOTHER=1\r\nCLOPOS_BASE_URL=http://\r\nCLOPOS_BASE_URL={}\r\n\
             CLOPOS_CLIENT_ID={CLIENT_ID}\nCLOPOS_CLIENT_SECRET={CLIENT_SECRET}\n\
             CLOPOS_BRAND={TEST_BRAND}\nCLOPOS_INTEGRATOR_ID={TEST_INTEGRATOR}",
            sandbox.url()
        ),
    );
    let ca_file = file("ca", sandbox.ca_pem());
    let till = Till::at("https://localhost:1")
        .set("CLOPOS_BRAND", "wrong")
        .option("--env-file")
        .option(&env_file)
        .option(&format!("--ca-file={ca_file}"))
        .option("--log-level=debug");
    let output = till.run();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("attempt 1"), "{log}");

    let output = till.option("--base-url=https://localhost:0").run();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn the_doctor_has_an_option_for_every_setting_of_the_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = fs::read_to_string(root.join("include/clopos_auth.h")).unwrap();
    let source = fs::read_to_string(root.join("examples/c/doctor.c")).unwrap();
    let help = Till::default().option("--help").run();
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    let setters: Vec<&str> = header
        .split("clopos_auth_status CLOPOS_AUTH_CALL\nclopos_auth_config_")
        .skip(1)
        .map(|rest| rest.split('(').next().unwrap())
        .collect();
    assert!(setters.len() >= 11, "{setters:?}");
    // The doctor waits for its call, and is told nothing else.
    for setter in setters.into_iter().filter(|name| *name != "set_on_change") {
        let option = match setter {
            "add_ca_pem" => "ca-file".into(),
            "set_log" => "log-level".into(),
            other => other.strip_prefix("set_").unwrap().replace('_', "-"),
        };
        assert!(
            help.contains(&format!("    --{option} ")),
            "{setter}: {help}"
        );
        let call = format!("clopos_auth_config_{setter}(");
        assert!(source.contains(&call), "{setter}");
    }
    for status in clopos_auth::Status::all().skip(1) {
        let line = format!(" {} {}", status as i32, status.name());
        assert!(help.contains(&line), "{line}: {help}");
    }
}

#[test]
fn the_doctor_takes_no_secret_from_the_command_line_and_repeats_none() {
    for options in [
        &["--client-secret=hunter2"][..],
        &["--client-secret", "hunter2"],
        &["--client-id=hunter2"],
        &["--proxy=http://till:hunter2@proxy:8080"],
        &["--proxy", "http://till:hunter2@proxy:8080"],
        &["--unknown=hunter2"],
        &["hunter2"],
        &["--json=hunter2"],
        &["--base-url"],
    ] {
        let till = options
            .iter()
            .copied()
            .fold(Till::default(), |till, option| till.option(option));
        let output = till.run();
        assert_eq!(output.status.code(), Some(1), "{options:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{options:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{options:?}: {output:?}");
    }
}

#[test]
fn the_doctors_report_says_when_where_and_with_which_version_also_as_json() {
    let sandbox = refusing(401, "a \\\"quoted\\\" \\u0107ode");
    let text = Till::of(&sandbox).run();
    let text = String::from_utf8(text.stdout).unwrap();
    let output = Till::of(&sandbox).option("--json").run();
    assert_eq!(output.status.code(), Some(13));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let field = |name: &str| {
        json[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name}: {json}"))
    };
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(field("host"), host);
    assert_eq!(field("doctor"), version);
    assert_eq!(field("library"), version);
    assert_eq!(field("service"), sandbox.url());
    assert_eq!(field("status_name"), "REJECTED");
    let message = field("message");
    assert!(message.contains("a \"quoted\" \u{107}ode"), "{json}");
    assert_eq!(json["status"], 13);
    assert_eq!(json["exit_status"], 13);
    assert_eq!(json["http_status"], 401);
    assert_eq!(json["reason"], 1);
    let steps = json["steps"].as_array().unwrap();
    assert_eq!(steps[2]["step"], "dns");
    assert_eq!(steps[2]["result"], "ok");
    let found = steps[2]["found"].as_str().unwrap();
    assert!(found.contains("127.0.0.1"), "{json}");

    let day = field("date").split('T').next().unwrap();
    let head = format!("clopos-doctor {version}, library {version}, on {host}, {day}T");
    assert!(text.starts_with(&head), "{text}");
    assert_eq!(text.lines().last(), Some(field("sentence")));
    assert_eq!(text.lines().count(), steps.len() + 2);
    let output = Till::default().option("--version").run();
    let line = format!("clopos-doctor {version}, library {version}\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), line);
}

#[test]
fn the_doctors_exit_status_does_not_depend_on_who_reads_its_output() {
    let sandbox = refusing(401, "no");
    let mut process = Till::of(&sandbox)
        .command()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(process.stdout.take());
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(13), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
