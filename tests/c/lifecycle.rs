//! Every function may be called at every moment of a process, see `tests/c/lifecycle.c`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use clopos_sandbox::{Sandbox, Settings};
use libtest_mimic::Trial;

use crate::program::{
    Build, Language, Linkage, Program, STATIC_LIBRARIES, libraries, run, start, test, text,
};

/// How a program gets the library.
const WAYS: [(&str, Linkage); 4] = [
    ("shared", Linkage::Shared),
    ("static", Linkage::Static),
    ("unloaded", Linkage::Loaded),
    ("unloaded_with_the_static_library_inside", Linkage::Loaded),
];

/// The values of `CLOPOS_LIFECYCLE`.
const WORDS: [&str; 6] = [
    "token",
    "token log",
    "token exit",
    "request",
    "request log",
    "request exit",
];

pub fn tests() -> Vec<Trial> {
    let each = |(way, linkage)| {
        WORDS.into_iter().map(move |words| {
            let name = format!("lifecycle::{way}::{}", words.replace(' ', "_with_"));
            test(&name, move || {
                every_function_at_every_moment(way, linkage, words)
            })
        })
    };
    let mut tests: Vec<Trial> = WAYS.into_iter().flat_map(each).collect();
    tests.push(test(
        "lifecycle::every_function_of_the_header_is_called",
        every_function_of_the_header_is_called,
    ));
    tests.push(test(
        "lifecycle::a_request_starts_while_another_thread_loads_a_library",
        a_request_starts_while_another_thread_loads_a_library,
    ));
    tests
}

fn every_function_at_every_moment(way: &str, linkage: Linkage, words: &str) {
    let program = Program::compile(
        &format!("lifecycle-{way}"),
        &["tests/c/lifecycle.c"],
        Build(Language::Cpp11, linkage),
        match linkage {
            Linkage::Loaded => &["-DLIFECYCLE_LOAD", "-ldl"],
            _ => &["-ldl"],
        },
    );
    let library = match way {
        "unloaded_with_the_static_library_inside" => plugin(&program.directory),
        _ => libraries().join("libclopos_auth.so"),
    };
    let sandbox = Sandbox::start(Settings {
        requests_per_minute: 0,
        ..Settings::default()
    })
    .expect("the sandbox starts");
    let mut command = program.command(&sandbox, &[]);
    command
        .env("CLOPOS_LIFECYCLE", words)
        .env("CLOPOS_LIBRARY", library);
    let output = run(&mut command);
    let out = String::from_utf8_lossy(&output.stdout);
    let last = "ok - atexit, registered before the first use\n";
    assert!(
        output.status.success() && out.contains(last) && !out.contains("not ok"),
        "{}",
        text(&output)
    );
}

/// A shared library that contains the static one.
fn plugin(directory: &Path) -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let fresh = directory.join(format!("plugin.{}", std::process::id()));
        let mut command = Command::new("gcc");
        command
            .args(["-shared", "-Wl,--whole-archive"])
            .arg(libraries().join("libclopos_auth.a"))
            .args(["-Wl,--no-whole-archive", "-o"])
            .arg(&fresh)
            .args(STATIC_LIBRARIES);
        let output = run(&mut command);
        assert!(output.status.success(), "{}", text(&output));
        let plugin = directory.join("plugin.so");
        fs::rename(fresh, &plugin).expect("the library can be put in its place");
        plugin
    };
    MADE.get_or_init(make).clone()
}

fn a_request_starts_while_another_thread_loads_a_library() {
    let source = "tests/c/loading.c";
    let build = Build(Language::C99, Linkage::Shared);
    let program = Program::compile("loading", &[source], build, &["-rdynamic", "-ldl"]);
    let library = program.directory.join("plugin.so");
    let mut command = Command::new("gcc");
    command.args(["-shared", "-fPIC", "-DPLUGIN"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(source));
    let output = run(command.arg("-o").arg(&library));
    assert!(output.status.success(), "{}", text(&output));
    let path = library.to_str().expect("the path is UTF-8");
    let sandbox = start(false);
    // Otherwise the request might end during the call that starts it.
    sandbox.update(|settings| settings.latency = Duration::from_millis(300));
    let output = program.run(&sandbox, &[path]);
    let said = text(&output);
    assert!(said.contains("OK, WOULD_WAIT, loaded\n"), "{said}");
}

fn every_function_of_the_header_is_called() {
    let header = include_str!("../../include/clopos_auth.h");
    let program = include_str!("lifecycle.c");
    let declared = |line: &str| {
        let is_declaration = line.starts_with(|c: char| c.is_ascii_lowercase());
        let (before, _) = line.split_once('(')?;
        let (_, name) = before.rsplit_once("clopos_auth_")?;
        is_declaration.then(|| name.to_owned())
    };
    let names: Vec<String> = header.lines().filter_map(declared).collect();
    assert!(names.len() >= 25, "{names:?}");
    for name in names {
        let calls = [format!("api.{name}("), format!("OK({name}(")];
        let is_called = calls.iter().any(|call| program.contains(call));
        assert!(is_called, "{name}");
    }
}
