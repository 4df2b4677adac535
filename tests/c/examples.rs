//! The programs in `examples/c` and `examples/cpp`, compiled and run.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clopos_sandbox::{Fault, Sandbox, Settings};
use libtest_mimic::Trial;

use crate::program::{Build, Language, Linkage, Program, note_secrets, run, start, test, text};

pub fn tests() -> Vec<Trial> {
    vec![
        test(
            "examples::login_shows_the_token_and_the_venues",
            login_shows_the_token_and_the_venues,
        ),
        test(
            "examples::login_reports_that_a_new_token_is_refused",
            login_reports_that_a_new_token_is_refused,
        ),
        test(
            "examples::login_keeps_its_token_if_a_new_one_would_not_help",
            login_keeps_its_token_if_a_new_one_would_not_help,
        ),
        test(
            "examples::firmware_gets_a_token_without_blocking",
            firmware_gets_a_token_without_blocking,
        ),
        test(
            "examples::login_in_cpp_sends_the_venue_and_returns_the_refusal",
            login_in_cpp_sends_the_venue_and_returns_the_refusal,
        ),
        test(
            "examples::event_loops_have_a_token_without_waiting_for_it",
            event_loops_have_a_token_without_waiting_for_it,
        ),
        test(
            "examples::the_examples_print_why_they_cannot_sign_in",
            the_examples_print_why_they_cannot_sign_in,
        ),
    ]
}

fn login() -> Program {
    let build = Build(Language::C99, Linkage::Shared);
    Program::compile("login", &["examples/c/login.c"], build, &["-lcurl"])
}

fn firmware() -> Program {
    let build = Build(Language::C99, Linkage::Static);
    Program::compile("firmware", &["examples/c/firmware.c"], build, &[])
}

fn login_shows_the_token_and_the_venues() {
    let program = login();
    for tls in [true, false] {
        let sandbox = start(tls);
        let output = program.run(&sandbox, &[]);
        assert!(output.status.success(), "{}", text(&output));
        let shown = String::from_utf8_lossy(&output.stdout);
        let token = &sandbox.issued_tokens()[0];
        assert!(shown.contains(&format!("token:   {token}\n")), "{shown}");
        assert!(shown.contains("\nexpires: 20"), "{shown}");
        assert!(shown.contains("Sandbox Café"), "{shown}");
        assert_eq!(sandbox.auth_requests(), 1);
    }
}

fn login_reports_that_a_new_token_is_refused() {
    let program = login();
    let sandbox = start(true);
    // A valid response with a token that the endpoint for venues refuses.
    sandbox.fail_times(
        Fault::Response {
            status: 200,
            headers: Vec::new(),
            body: br#"{"success": true, "token": "not.a.token", "expires_in": 3600}"#.to_vec(),
        },
        1,
    );
    let output = program.run(&sandbox, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("REJECTED"), "{}", text(&output));
    assert!(
        text(&output).contains("refused a token"),
        "{}",
        text(&output)
    );
    assert_eq!(sandbox.auth_requests(), 1);
}

fn login_keeps_its_token_if_a_new_one_would_not_help() {
    let program = login();
    let sandbox = start(true);
    // It does not follow a redirect either.
    let elsewhere = sandbox.url() + "/elsewhere";
    for venues in ["Headers are missing", "Invalid integrator_id", &elsewhere] {
        sandbox.update(|settings| settings.venues = vec![venues.to_owned()]);
        let before = sandbox.requests().len();
        let output = program.run(&sandbox, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        // One sign-in, one request for the venues.
        assert_eq!(sandbox.requests().len(), before + 2, "{venues}");
    }
}

fn firmware_gets_a_token_without_blocking() {
    let program = firmware();
    for tls in [true, false] {
        let sandbox = start(tls);
        let output = program.run(&sandbox, &[]);
        assert!(output.status.success(), "{}", text(&output));
        let shown = String::from_utf8_lossy(&output.stdout);
        let length = sandbox.issued_tokens()[0].len();
        assert!(
            shown.starts_with(&format!("token of {length} bytes")),
            "{shown}"
        );
    }
}

fn login_in_cpp_sends_the_venue_and_returns_the_refusal() {
    let program = Program::compile(
        "login-cpp",
        &["examples/cpp/login.cpp"],
        Build(Language::Cpp17, Linkage::Shared),
        &["-Wconversion", "-Wshadow", "-lcurl"],
    );
    let sandbox = start(true);
    let output = run(program.command(&sandbox, &[]).env("CLOPOS_VENUE", "7"));
    assert!(output.status.success(), "{}", text(&output));
    let requests = sandbox.requests();
    let [_, venues] = requests.as_slice() else {
        panic!("{requests:?}");
    };
    let sent = |name: &str| {
        let mut headers = venues.headers.iter();
        headers
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.clone())
    };
    assert_eq!(sent("x-venue").as_deref(), Some("7"));
    assert_eq!(sent("x-token"), Some(sandbox.issued_tokens()[0].clone()));
    // A new token is refused: the program prints that response, after one sign-in and one request.
    sandbox.update(|settings| settings.venues = vec!["Invalid token".to_owned(); 2]);
    let output = program.run(&sandbox, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("HTTP 401") && text(&output).contains("Invalid token"),
        "{}",
        text(&output)
    );
    assert_eq!(sandbox.requests().len(), 4);
}

fn event_loops() -> [Program; 2] {
    [
        Program::compile(
            "event-loop",
            &["examples/c/event_loop.c"],
            Build(Language::C99, Linkage::Shared),
            &[],
        ),
        Program::compile(
            "event-loop-cpp",
            &["examples/cpp/event_loop.cpp"],
            Build(Language::Cpp17, Linkage::Shared),
            &["-Wconversion", "-Wshadow"],
        ),
    ]
}

/// Starts a program that runs until its standard input ends.
fn start_loop(program: &Program, sandbox: &Sandbox) -> Child {
    program
        .command(sandbox, &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

fn event_loops_have_a_token_without_waiting_for_it() {
    thread::scope(|scope| {
        for program in event_loops() {
            scope.spawn(move || has_a_token_without_waiting_for_it(&program));
        }
    });
}

/// From the start through a refresh, a failing service and its recovery. Each response takes a second, for which the
/// loop must not wait.
fn has_a_token_without_waiting_for_it(program: &Program) {
    const LATENCY: Duration = Duration::from_secs(1);
    let sandbox = Sandbox::start(Settings {
        latency: LATENCY,
        lifetime: Duration::from_secs(4),
        ..Settings::default()
    })
    .expect("the sandbox starts");
    let mut child = start_loop(program, &sandbox);
    let stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let (sender, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in stdout.lines() {
            // There is no receiver if the test has failed.
            let _ = sender.send(line.expect("the program prints UTF-8"));
        }
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let await_line = |begin: &str| loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines
            .recv_timeout(left)
            .unwrap_or_else(|_| panic!("never printed: {begin}"));
        if line.starts_with(begin) {
            return line;
        }
    };
    await_line("no token: WOULD_WAIT");
    await_line("token ");
    await_line("token ");
    sandbox.fail(Fault::Status503);
    await_line("no token: SERVER");
    sandbox.heal();
    await_line("token ");
    drop(child.stdin.take());
    let last = await_line("longest time away from the loop: ");
    let longest = last
        .split(' ')
        .nth(6)
        .and_then(|number| number.parse::<f64>().ok());
    assert!(last.ends_with(" ms, of 5 ms at most"), "{last}");
    // On a busy machine the limit itself may be exceeded.
    assert!(
        longest.is_some_and(|ms| ms < LATENCY.as_millis() as f64 / 2.0),
        "{last}"
    );
    assert!(child.wait().expect("it ends").success());
    reader.join().expect("the reader ends");
    note_secrets(&sandbox).expect("CLOPOS_TEST_SECRETS can be written");
}

fn the_examples_print_why_they_cannot_sign_in() {
    let [event_loop, event_loop_cpp] = event_loops();
    let examples = [event_loop, event_loop_cpp, login(), firmware()];
    for program in examples {
        let sandbox = start(true);
        sandbox.fail(Fault::Status401);
        let mut child = start_loop(&program, &sandbox);
        let _input = child.stdin.take();
        let output = child.wait_with_output().expect("the program ends");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("REJECTED"), "{}", text(&output));
    }
}
