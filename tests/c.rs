//! Compiles the C programs in `tests/c`, links them with the library, and runs each of their tests in its own
//! process with its own sandbox. The C part is described in `tests/c/harness.h`.
//!
//! Each C test is a test of this program, once for each way to build it. `cargo test --test c c99_shared::NAME`
//! runs one. The tests that are ignored by default need a tool or the optimised library; parts of `tests/run.sh`
//! run them.
//!
//! Environment variables change what is compiled and how it is run:
//!
//! - `CLOPOS_TEST_LIBRARIES`: the directory of the library to link, instead of that of this build;
//! - `CLOPOS_TEST_CFLAGS`: more options for the C compiler, such as `-fsanitize=address`;
//! - `CLOPOS_TEST_UNDER`: a command that runs the programs, such as `valgrind --quiet`;
//! - `CLOPOS_TEST_DEADLINE_S`: how long one C test may take;
//! - `CLOPOS_TEST_TRANSCRIPT`: the directory of the transcript, which has every log line and error message;
//! - `CLOPOS_TEST_SECRETS`: the file of the secrets and tokens that must not occur in the transcript.

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
