//! The doctor (`examples/c/doctor.c`), a program that runs the steps of a sign-in and says what to fix: what it
//! prints for each injected fault, and its options.

mod causes;
mod interface;

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

/// The path of the program, which is built at the first call.
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
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{messages}");
        path
    })
}

/// Removes the files of test programs that have ended. Each file's name begins with a process id.
fn remove_leftovers(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.split('-').next().unwrap_or(&name);
        if !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The settings of a till: environment variables and options of the doctor.
#[derive(Clone, Default)]
struct Till {
    variables: Vec<(&'static str, String)>,
    options: Vec<String>,
}

impl Till {
    /// A till whose service is at this URL.
    fn at(url: &str) -> Till {
        Till::default()
            .set("CLOPOS_BASE_URL", url)
            .set("CLOPOS_CLIENT_ID", CLIENT_ID)
            .set("CLOPOS_CLIENT_SECRET", CLIENT_SECRET)
            .set("CLOPOS_BRAND", TEST_BRAND)
            .set("CLOPOS_INTEGRATOR_ID", TEST_INTEGRATOR)
    }

    /// A till for this sandbox, which trusts its CA.
    fn of(sandbox: &Sandbox) -> Till {
        let till = Till::at(&sandbox.url());
        match sandbox.ca_pem() {
            "" => till,
            pem => till.set("CLOPOS_CA_FILE", &file(&sandbox.port().to_string(), pem)),
        }
    }

    /// Sets a variable. An empty value removes it.
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

    /// Runs the program and checks that its output contains no secret.
    fn run(&self) -> Output {
        let output = self.command().output().expect("the doctor starts");
        let all = [&output.stdout[..], &output.stderr].concat();
        let all = String::from_utf8(all).expect("its output is UTF-8");
        // Fails if it contains the client's secret.
        transcribe(&all);
        assert!(!all.contains(PROXY_PASSWORD), "{all}");
        output
    }

    /// Runs the program and checks its steps, its exit status and its last line: that begins with `sentence` up to
    /// " … " and contains the rest.
    fn expect_output(&self, failure: &str, sentence: &str, steps: &str, status: i32) {
        let output = self.run();
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = text.lines().collect();
        let [head, lines @ .., last] = &lines[..] else {
            panic!("{failure}: {output:?}");
        };
        assert!(head.starts_with("clopos-doctor "), "{failure}: {text}");
        let (start, part) = sentence.split_once(" … ").unwrap_or((sentence, ""));
        let has_sentence = last.starts_with(start) && last.contains(part);
        assert!(has_sentence, "{failure}, {sentence}: {text}");
        assert!(last.ends_with('.'), "{failure}: {text}");
        assert_eq!(output.status.code(), Some(status), "{failure}: {text}");
        // The hosts file may also have ::1 for localhost, where no sandbox listens.
        let printed_steps: Vec<String> = lines
            .iter()
            .filter(|line| !line.contains(" ::1 port "))
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let is_timed = words[2].parse::<u32>().is_ok() && words[3] == "ms";
                assert!(is_timed, "{failure}: {line}");
                format!("{} {}", words[0], words[1])
            })
            .collect();
        // After a sign-in the state is the last step.
        let steps = match steps.rsplit_once(", sign-in ") {
            Some((_, "ok")) => format!("{steps}, state ok"),
            Some(_) => format!("{steps}, state -"),
            None => steps.to_owned(),
        };
        assert_eq!(printed_steps.join(", "), steps, "{failure}: {text}");
        lab::announce(format_args!("| {failure}: {last}"));
    }
}

/// Writes a file and returns its path.
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

/// A sandbox with this fault.
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

/// Starts a proxy that always sends this response, and returns its URL.
fn proxy(response: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(response.as_bytes());
                let _ = stream.read(&mut [0; 1]);
            });
        }
    });
    format!("http://till:{PROXY_PASSWORD}@{address}")
}

/// A port of this device on which no program listens.
fn unused_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

const SUCCESS: &str = "This device can sign in.";

// The steps and their results.
const ALL_OK: &str = "settings ok, proxy ok, dns ok, connect ok, tls ok, clock ok, sign-in ok";
const REFUSED: &str = "settings ok, proxy ok, dns ok, connect ok, tls ok, clock ok, sign-in failed";
const NO_TLS: &str = "settings ok, proxy ok, dns ok, connect ok, tls failed, clock -, sign-in -";
const NO_RESPONSE: &str =
    "settings ok, proxy ok, dns ok, connect ok, tls -, clock -, sign-in failed";
const NO_CONNECTION: &str =
    "settings ok, proxy ok, dns ok, connect failed, tls -, clock -, sign-in failed";
const NO_NAME: &str =
    "settings ok, proxy ok, dns failed, connect -, tls -, clock -, sign-in failed";
const NO_SETTINGS: &str = "settings failed";
