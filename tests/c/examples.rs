//! What `examples/c` promises: the programs, compiled and run.

use clopos_sandbox::Fault;
use libtest_mimic::Trial;

use crate::program::{Build, Language, Linkage, Program, start, test, text};

pub fn tests() -> Vec<Trial> {
    vec![
        test(
            "examples::login_shows_the_token_and_the_venues",
            login_shows_the_token_and_the_venues,
        ),
        test(
            "examples::login_says_that_a_fresh_token_is_refused",
            login_says_that_a_fresh_token_is_refused,
        ),
        test(
            "examples::login_keeps_its_token_where_another_would_not_help",
            login_keeps_its_token_where_another_would_not_help,
        ),
        test(
            "examples::firmware_gets_a_token_without_blocking",
            firmware_gets_a_token_without_blocking,
        ),
        test(
            "examples::the_examples_say_why_they_cannot_sign_in",
            the_examples_say_why_they_cannot_sign_in,
        ),
    ]
}

fn login_shows_the_token_and_the_venues() {
    let program = Program::compile(
        "login",
        &["examples/c/login.c"],
        Build(Language::C99, Linkage::Shared),
        &["-lcurl"],
    );
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

fn login_says_that_a_fresh_token_is_refused() {
    let program = Program::compile(
        "login-refused-token",
        &["examples/c/login.c"],
        Build(Language::C99, Linkage::Shared),
        &["-lcurl"],
    );
    let sandbox = start(true);
    // A good answer in all, but a token that the venues do not know.
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

fn login_keeps_its_token_where_another_would_not_help() {
    let program = Program::compile(
        "login-other-401",
        &["examples/c/login.c"],
        Build(Language::C99, Linkage::Shared),
        &["-lcurl"],
    );
    let sandbox = start(true);
    // It does not follow a redirect either, to a place where the token would do as well.
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
    let program = Program::compile(
        "firmware",
        &["examples/c/firmware.c"],
        Build(Language::C99, Linkage::Static),
        &[],
    );
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

fn the_examples_say_why_they_cannot_sign_in() {
    let examples = [
        Program::compile(
            "login-refused",
            &["examples/c/login.c"],
            Build(Language::C99, Linkage::Shared),
            &["-lcurl"],
        ),
        Program::compile(
            "firmware-refused",
            &["examples/c/firmware.c"],
            Build(Language::C99, Linkage::Static),
            &[],
        ),
    ];
    for program in examples {
        let sandbox = start(true);
        sandbox.fail(Fault::Status401);
        let output = program.run(&sandbox, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("REJECTED"), "{}", text(&output));
    }
}
