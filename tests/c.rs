//! Compiles the C programs in `tests/c` against the library and runs each of their tests in a process
//! of its own, with a sandbox of its own. The C side of it is described in `tests/c/harness.h`.
//!
//! Each C test is a test of this program, once for each build of it: one alone is run by
//! `cargo test --test c c99_shared::NAME`. The tests that are ignored by default need a tool, or the library
//! that ships: parts of `tests/run.sh` run them.
//!
//! What is compiled and how it is run can be changed from outside:
//!
//! - `CLOPOS_TEST_LIBRARIES`: the directory of the library to link, instead of this build's own;
//! - `CLOPOS_TEST_CFLAGS`: more options for the C compiler, such as `-fsanitize=address`;
//! - `CLOPOS_TEST_UNDER`: a command that runs the programs, such as `valgrind --quiet`;
//! - `CLOPOS_TEST_DEADLINE_S`: how long one C test may take;
//! - `CLOPOS_TEST_TRANSCRIPT`: the directory for every log line and error text that is seen;
//! - `CLOPOS_TEST_SECRETS`: the file that gets every secret and token that must not be in there.

#[cfg(target_os = "linux")]
#[path = "c/examples.rs"]
mod examples;
#[cfg(target_os = "linux")]
#[path = "c/lifecycle.rs"]
mod lifecycle;
#[cfg(target_os = "linux")]
#[path = "c/program.rs"]
mod program;
#[cfg(target_os = "linux")]
#[path = "c/resources.rs"]
mod resources;
#[cfg(target_os = "linux")]
#[path = "c/soak.rs"]
mod soak;
#[cfg(target_os = "linux")]
#[path = "c/suite.rs"]
mod suite;
#[cfg(target_os = "linux")]
#[path = "c/tools.rs"]
mod tools;

#[cfg(target_os = "linux")]
fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let mut tests = suite::tests();
    tests.extend(examples::tests());
    tests.extend(lifecycle::tests());
    tests.extend(resources::tests());
    tests.extend(soak::tests());
    tests.extend(tools::tests());
    libtest_mimic::run(&arguments, tests).exit();
}

#[cfg(not(target_os = "linux"))]
fn main() {}
