//! The C interface's promises: the tests inside the C programs, in each build of them.

use libtest_mimic::Trial;

use crate::program::Language::{C99, Cpp11};
use crate::program::{Build, Linkage, Program, start, text};

/// The test program's sources: the harness and files of tests.
const TESTS: &[&str] = &[
    "tests/c/harness.c",
    "tests/c/arguments.c",
    "tests/c/settings.c",
    "tests/c/handles.c",
    "tests/c/tokens.c",
    "tests/c/logging.c",
    "tests/c/changes.c",
    "tests/c/memory.c",
    "tests/c/signals.c",
];

const BUILDS: [(&str, Build); 4] = [
    ("c99_shared", Build(C99, Linkage::Shared)),
    ("c99_static", Build(C99, Linkage::Static)),
    ("cpp11_shared", Build(Cpp11, Linkage::Shared)),
    ("cpp11_static", Build(Cpp11, Linkage::Static)),
];

pub fn tests() -> Vec<Trial> {
    let names = compile(BUILDS[0]).tests();
    assert!(names.len() > 40, "too few tests: {names:?}");
    let each = |build: (&'static str, Build)| {
        names.clone().into_iter().map(move |name| {
            Trial::test(format!("{}::{name}", build.0), move || {
                run(&compile(build), &name);
                Ok(())
            })
        })
    };
    BUILDS.into_iter().flat_map(each).collect()
}

fn compile((name, build): (&str, Build)) -> Program {
    Program::compile(name, TESTS, build, &["-lm"])
}

fn run(program: &Program, name: &str) {
    // A thousand TLS handshakes would exceed a test's time limit.
    let tls = !name.contains("thousand");
    let output = program.run(&start(tls), &[name]);
    let passed = format!("ok - {name}\n");
    assert!(
        output.status.success() && output.stdout.ends_with(passed.as_bytes()),
        "{}",
        text(&output)
    );
}
