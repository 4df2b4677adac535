//! The program: its options, its output, and the signals that end it.
#![cfg(unix)]

mod client;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use client::{agent, credentials, read};
use clopos_sandbox::{AUTH_PATH, CLIENT_ID, CLIENT_SECRET, Fault};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_clopos-sandbox"))
}

fn output(arguments: &[&str]) -> Output {
    program().args(arguments).output().expect("it runs")
}

/// Kills the program if a test fails before it has ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn help_names_the_credentials_and_every_setting() {
    let help = String::from_utf8(output(&["--help"]).stdout).expect("UTF-8");
    let flags = "--ca-file --fault --list-faults --listen --control --auth-path --no-tls --certificate --name \
        --lifetime --latency-ms --clock-offset --requests-per-minute --no-rate-limit-headers \
        --rate-limit-reset --retry-after --expires-in --expires-at --redirect-to";
    for flag in flags.split_whitespace().chain([CLIENT_ID, CLIENT_SECRET]) {
        assert!(help.contains(flag), "{flag} is not in\n{help}");
    }
}

#[test]
fn list_faults_prints_every_name_with_its_meaning() {
    let list = String::from_utf8(output(&["--list-faults"]).stdout).expect("UTF-8");
    assert_eq!(list.lines().count(), Fault::NAMED.len());
    for (line, fault) in list.lines().zip(Fault::NAMED) {
        assert_eq!(line.split_once(' ').map(|pair| pair.0), Some(fault.name()));
        assert!(line.ends_with(fault.meaning()));
    }
}

#[test]
fn a_fault_that_does_not_exist_is_refused() {
    for wrong in ["no-such-fault", "status-503:often"] {
        assert!(!output(&["--fault", wrong]).status.success());
    }
}

#[test]
fn the_program_serves_with_the_ca_that_it_wrote_logs_no_secret_and_ends_on_a_signal() {
    for end in ["-TERM", "-INT"] {
        let ca_file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ca{end}.pem"));
        let mut command = program();
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--fault",
            "status-503:1",
            "--ca-file",
        ]);
        command
            .arg(&ca_file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = Running(command.spawn().expect("it starts"));
        let mut lines = BufReader::new(running.0.stdout.take().expect("piped")).lines();
        let mut line = || lines.next().expect("a line").expect("UTF-8");
        let (listening, control) = (line(), line());
        let url = listening
            .strip_prefix("listening on ")
            .expect("the URL")
            .to_owned()
            + AUTH_PATH;
        assert!(url.starts_with("https://localhost:"));
        assert!(control.starts_with("control on http://127.0.0.1:"));

        let agent = agent(&std::fs::read_to_string(&ca_file).expect("the CA was written"));
        let sign_in = || read(agent.post(&url).send(credentials().to_string()));
        assert_eq!(sign_in().status(), 503);
        let response = sign_in();
        let token = response.body()["token"].as_str().expect("a token");

        signal(&running.0, end);
        assert!(running.0.wait().expect("it ends").success());
        let mut log = String::new();
        running
            .0
            .stderr
            .take()
            .expect("piped")
            .read_to_string(&mut log)
            .expect("UTF-8");
        assert!(log.contains("fault status-503"), "{log}");
        assert!(log.contains(&format!("POST {AUTH_PATH} 200")), "{log}");
        assert!(
            !log.contains(CLIENT_SECRET) && !log.contains(token),
            "{log}"
        );
    }
}
