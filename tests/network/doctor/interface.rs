//! Settings, options, the report in text and JSON, and the exit status.

use super::*;

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
    let line = state(&sandbox);
    let seconds = line
        .strip_prefix("a token for ")
        .and_then(|rest| rest.split_once(" s, to be replaced in ")?.0.parse().ok());
    assert!(seconds.is_some_and(|s| (3500..3600).contains(&s)), "{line}");
    let end = " s; requests sent: 3, failed: 2; the next one may be sent now";
    assert!(line.ends_with(end), "{line}");
    assert_eq!(sandbox.auth_requests(), 3);
    sandbox.fail(Fault::Status401);
    let line = state(&sandbox);
    let start = "no token; requests sent: 1, failed: 1; the next one may be sent in ";
    assert!(line.starts_with(start), "{line}");
}

#[test]
fn the_doctors_options_override_its_file_and_that_overrides_the_environment() {
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
    // The doctor waits for its call, so it needs no change function.
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
fn the_doctor_accepts_no_secret_on_the_command_line_and_repeats_none() {
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
fn the_doctors_report_has_the_date_host_and_version_in_text_and_json() {
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
fn the_doctors_exit_status_is_the_same_if_its_output_is_closed() {
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
