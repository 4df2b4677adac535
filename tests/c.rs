//! Compiles the C programs in `tests/c` against the library and runs each of their tests in a process
//! of its own, with a sandbox of its own. The C side of it is described in `tests/c/harness.h`.
//!
//! What is compiled and how it is run can be changed from outside, for `tests/run.sh`:
//!
//! - `CLOPOS_TEST_LIBRARIES`: the directory of the library to link, instead of this build's own;
//! - `CLOPOS_TEST_CFLAGS`: more options for the C compiler, such as `-fsanitize=address`;
//! - `CLOPOS_TEST_UNDER`: a command that runs the programs, such as `valgrind --quiet`;
//! - `CLOPOS_TEST_ONLY`: parts of names; only the C tests that have one of them are run;
//! - `CLOPOS_TEST_NOT`: the same of those that are not run;
//! - `CLOPOS_TEST_DEADLINE_S`: how long one C test may take;
//! - `CLOPOS_TEST_TRANSCRIPT`: the directory for every log line and error text that is seen;
//! - `CLOPOS_TEST_SECRETS`: the file that gets every secret and token that must not be in there.
#![cfg(target_os = "linux")]

#[path = "c/soak.rs"]
mod soak;

use std::env;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clopos_sandbox::{
    CLIENT_ID, CLIENT_SECRET, Fault, Sandbox, Settings, TEST_BRAND, TEST_INTEGRATOR,
};

/// The test program's sources, each a file of tests but the first.
const TESTS: &[&str] = &[
    "tests/c/harness.c",
    "tests/c/arguments.c",
    "tests/c/settings.c",
    "tests/c/handles.c",
    "tests/c/tokens.c",
    "tests/c/logging.c",
    "tests/c/memory.c",
    "tests/c/signals.c",
];

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// What a program that links the static library names beside it.
const STATIC_LIBRARIES: [&str; 3] = ["-lpthread", "-lm", "-ldl"];

#[derive(Clone, Copy)]
enum Language {
    C99,
    Cpp11,
}

#[derive(Clone, Copy)]
enum Linkage {
    Shared,
    Static,
}

#[test]
fn c_interface_keeps_its_promises_in_c99_with_the_shared_library() {
    run_all("c99-shared", Language::C99, Linkage::Shared);
}

#[test]
fn c_interface_keeps_its_promises_in_c99_with_the_static_library() {
    run_all("c99-static", Language::C99, Linkage::Static);
}

#[test]
fn c_interface_keeps_its_promises_in_cpp11_with_the_shared_library() {
    run_all("cpp11-shared", Language::Cpp11, Linkage::Shared);
}

#[test]
fn c_interface_keeps_its_promises_in_cpp11_with_the_static_library() {
    run_all("cpp11-static", Language::Cpp11, Linkage::Static);
}

#[test]
fn c_interface_example_login_shows_the_token_and_the_venues() {
    let program = Program::compile(
        "login",
        &["examples/c/login.c"],
        Language::C99,
        Linkage::Shared,
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
    println!("ok - login.c shows the token and the venues");
}

#[test]
fn c_interface_example_login_gets_another_token_when_one_is_refused() {
    let program = Program::compile(
        "login-again",
        &["examples/c/login.c"],
        Language::C99,
        Linkage::Shared,
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
    assert!(output.status.success(), "{}", text(&output));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("Sandbox Café"), "{shown}");
    assert_eq!(sandbox.auth_requests(), 2);
    println!("ok - login.c gets another token when one is refused");
}

#[test]
fn c_interface_example_firmware_gets_a_token_without_blocking() {
    let program = Program::compile(
        "firmware",
        &["examples/c/firmware.c"],
        Language::C99,
        Linkage::Static,
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
    println!("ok - firmware.c gets a token without blocking");
}

#[test]
fn c_interface_examples_say_why_they_cannot_sign_in() {
    let examples = [
        Program::compile(
            "login-refused",
            &["examples/c/login.c"],
            Language::C99,
            Linkage::Shared,
            &["-lcurl"],
        ),
        Program::compile(
            "firmware-refused",
            &["examples/c/firmware.c"],
            Language::C99,
            Linkage::Static,
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
    println!("ok - the examples say why they cannot sign in");
}

fn resources() -> Program {
    let name = format!("resources-{:?}", std::thread::current().id());
    Program::compile(
        &name.replace(['(', ')'], ""),
        &["tests/c/resources.c"],
        Language::C99,
        Linkage::Shared,
        &[],
    )
}

fn runs_out(program: &Program, arguments: &[&str]) -> String {
    // A lock-out of the sandbox is not what is looked at.
    let settings = Settings {
        requests_per_minute: 0,
        ..Settings::default()
    };
    let sandbox = Sandbox::start(settings).expect("the sandbox starts");
    let output = program.run(&sandbox, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{said}");
    said
}

#[test]
#[ignore = "for tests/run.sh resources: of the library that ships"]
fn c_interface_resources_say_so_where_memory_for_a_token_or_an_error_runs_out() {
    runs_out(&resources(), &["memory"]);
    println!("ok - no memory for a token object or an error object is a status");
}

/// What the header promises, in its chapter THREADS.
const STACK_BYTES: usize = 64 * 1024;

#[test]
#[ignore = "for tests/run.sh resources: without optimisation it takes more"]
fn c_interface_resources_suffice_on_the_smallest_stack_that_is_promised() {
    let header = include_str!("../include/clopos_auth.h");
    assert!(header.contains(&format!("{} KiB of stack", STACK_BYTES / 1024)));
    let program = resources();
    runs_out(&program, &["stack", &STACK_BYTES.to_string()]);
    println!("ok - every function works on {STACK_BYTES} bytes of stack");

    // With the least that the C library allows, the end: the stack is what was looked at.
    let output = program.run(&start(true), &["stack", &(STACK_BYTES / 4).to_string()]);
    assert_eq!(
        output.status.signal(),
        Some(libc::SIGSEGV),
        "{}",
        text(&output)
    );
    println!("ok - a stack of {} bytes is noticed", STACK_BYTES / 4);
}

#[test]
#[ignore = "for tests/run.sh resources: needs strace"]
fn c_interface_resources_do_not_matter_on_disk() {
    let program = Program::compile(
        "strace",
        &["tests/c/planted.c"],
        Language::C99,
        Linkage::Shared,
        &[],
    );
    // With `write`, a file; with `nothing`, only what signing in needs.
    for (mistake, writes) in [("write", true), ("nothing", false)] {
        let trace = program.directory.join(mistake);
        let sandbox = start(true);
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=%file,pwrite64,writev,ftruncate", "-o"]);
        command.arg(&trace);
        let output = program.run_under(command, &sandbox, &[mistake]);
        assert!(output.status.success(), "{}", text(&output));
        let trace = fs::read_to_string(&trace).expect("strace has written");
        let harmless = |line: &str| {
            let read_only = line.contains("O_RDONLY") && !line.contains("O_CREAT");
            let looks = [
                "execve(", "access(", "stat", "statx(", "readlink", "getcwd(", "statfs", "exited",
                "SIG", "chdir",
            ];
            // libc connects to a name service over a socket's path, which is no file.
            read_only || line.contains("connect(") || looks.iter().any(|look| line.contains(look))
        };
        let written: Vec<&str> = trace.lines().filter(|line| !harmless(line)).collect();
        assert!(trace.contains("libclopos_auth.so"), "{trace}");
        assert_eq!(!written.is_empty(), writes, "{mistake}: {written:#?}");
    }
    println!("ok - a planted file is noticed");
    println!("ok - no file is opened for writing, made, renamed or removed");
}

#[test]
#[ignore = "for tests/run.sh memcheck: needs valgrind in CLOPOS_TEST_UNDER"]
fn c_interface_memcheck_finds_a_planted_leak_and_a_planted_overrun() {
    finds(
        "memcheck",
        &[
            ("leak", "definitely lost"),
            ("overrun", "Invalid read of size 1"),
        ],
    );
}

#[test]
#[ignore = "for tests/run.sh asan: needs a library and a compiler with AddressSanitizer"]
fn c_interface_asan_finds_a_planted_leak_and_planted_overruns() {
    finds(
        "asan",
        &[
            ("leak", "LeakSanitizer: detected memory leaks"),
            ("overrun", "heap-buffer-overflow"),
            // Only the library itself can see this one: it reads a text that has no end.
            ("endless", "heap-buffer-overflow"),
        ],
    );
}

#[test]
#[ignore = "for tests/run.sh helgrind: needs valgrind in CLOPOS_TEST_UNDER"]
fn c_interface_helgrind_finds_a_planted_race() {
    finds("helgrind", &[("race", "Possible data race")]);
}

#[test]
#[ignore = "for tests/run.sh tsan: needs a library and a compiler with ThreadSanitizer"]
fn c_interface_tsan_finds_a_planted_race() {
    finds("tsan", &[("race", "WARNING: ThreadSanitizer: data race")]);
}

/// The tool that programs run under finds each mistake of `tests/c/planted.c`, and nothing where
/// there is none.
fn finds(tool: &str, mistakes: &[(&str, &str)]) {
    let program = Program::compile(
        &format!("planted-{tool}"),
        &["tests/c/planted.c"],
        Language::C99,
        Linkage::Shared,
        &[],
    );
    for (mistake, finding) in mistakes {
        let output = program.run(&start(true), &[mistake]);
        assert!(!output.status.success(), "the {mistake} was not found");
        assert!(text(&output).contains(finding), "{}", text(&output));
        println!("ok - {tool} finds a planted {mistake}");
    }
    let output = program.run(&start(true), &["nothing"]);
    assert!(output.status.success(), "{}", text(&output));
    println!("ok - {tool} finds nothing where there is nothing");
}

/// A compiled C program, in a directory of its own.
struct Program {
    directory: PathBuf,
}

impl Program {
    fn compile(
        name: &str,
        sources: &[&str],
        language: Language,
        linkage: Linkage,
        options: &[&str],
    ) -> Program {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let libraries = libraries();
        let program = Program {
            directory: fresh_directory(name),
        };
        let (compiler, standard) = match language {
            Language::C99 => ("gcc", ["-std=c99", "-xc"]),
            Language::Cpp11 => ("g++", ["-std=c++11", "-xc++"]),
        };
        let mut command = Command::new(compiler);
        command
            .args(standard)
            .args(WARNINGS)
            // As the header's chapter on secrets says: the loader's lazy binding stores the registers, and
            // with them what was copied last, on the stack. What is left there depends on the processor.
            .args(["-g", "-pthread", "-Wl,-z,now"])
            .args(words_of("CLOPOS_TEST_CFLAGS"))
            .arg("-I")
            .arg(root.join("include"))
            .args(sources.iter().map(|source| root.join(source)))
            .args(["-xnone", "-o"])
            .arg(program.path());
        match linkage {
            Linkage::Shared => {
                // Programs ask for the library by its SONAME.
                let library = libraries.join("libclopos_auth.so");
                let soname = program.directory.join("libclopos_auth.so.1");
                symlink(&library, soname).expect("a link can be made");
                let rpath = format!("-Wl,-rpath,{}", program.directory.display());
                command.arg(&library).arg(rpath);
            }
            Linkage::Static => {
                let library = libraries.join("libclopos_auth.a");
                command.arg(library).args(STATIC_LIBRARIES);
            }
        }
        let output = run(command.args(options));
        assert!(output.status.success(), "{}", text(&output));
        program
    }

    fn path(&self) -> PathBuf {
        self.directory.join("program")
    }

    /// The names of the tests inside it.
    fn tests(&self) -> Vec<String> {
        let output = run(Command::new(self.path()).arg("--list"));
        assert!(output.status.success(), "{}", text(&output));
        let list = String::from_utf8(output.stdout).expect("names are ASCII");
        list.lines().map(String::from).collect()
    }

    /// Runs it against a sandbox.
    fn run(&self, sandbox: &Sandbox, arguments: &[&str]) -> Output {
        self.run_under(under(), sandbox, arguments)
    }

    /// The same by another command.
    fn run_under(&self, command: Command, sandbox: &Sandbox, arguments: &[&str]) -> Output {
        let output = run(&mut self.command_under(command, sandbox, arguments));
        note_secrets(sandbox).expect("CLOPOS_TEST_SECRETS can be written");
        output
    }

    fn command(&self, sandbox: &Sandbox, arguments: &[&str]) -> Command {
        self.command_under(under(), sandbox, arguments)
    }

    fn command_under(
        &self,
        mut command: Command,
        sandbox: &Sandbox,
        arguments: &[&str],
    ) -> Command {
        command
            .arg(self.path())
            .args(arguments)
            .env("CLOPOS_BASE_URL", sandbox.url())
            .env("CLOPOS_CLIENT_ID", CLIENT_ID)
            .env("CLOPOS_CLIENT_SECRET", CLIENT_SECRET)
            .env("CLOPOS_BRAND", TEST_BRAND)
            .env("CLOPOS_INTEGRATOR_ID", TEST_INTEGRATOR)
            .env("CLOPOS_TEST_CONTROL", sandbox.control_url())
            .env_remove("CLOPOS_CA_FILE")
            // A proxy of this machine does not lead to the sandbox.
            .env("NO_PROXY", "localhost")
            .env("no_proxy", "localhost");
        if !sandbox.ca_pem().is_empty() {
            let ca_file = self.directory.join("ca.pem");
            fs::write(&ca_file, sandbox.ca_pem()).expect("the CA can be written");
            command.env("CLOPOS_CA_FILE", ca_file);
        }
        command
    }
}

fn fresh_directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c").join(name);
    if directory.exists() {
        fs::remove_dir_all(&directory).expect("an old directory can be removed");
    }
    fs::create_dir_all(&directory).expect("a directory can be made");
    directory
}

/// Where the library is: beside this test program, unless somebody says otherwise.
fn libraries() -> PathBuf {
    match env::var_os("CLOPOS_TEST_LIBRARIES") {
        Some(path) => path.into(),
        None => {
            let program = env::current_exe().expect("this program has a path");
            program.parent().expect("it is in a directory").into()
        }
    }
}

fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()))
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}\n{out}{err}", output.status)
}

fn start(tls: bool) -> Sandbox {
    let settings = Settings {
        tls,
        ..Settings::default()
    };
    Sandbox::start(settings).expect("the sandbox starts")
}

/// Runs every test of the test program, each in a process and with a sandbox of its own, and reports
/// all that failed.
fn run_all(name: &str, language: Language, linkage: Linkage) {
    let program = Program::compile(name, TESTS, language, linkage, &[]);
    let mut names = program.tests();
    assert!(names.len() > 40, "too few tests: {names:?}");
    for (variable, wanted) in [("CLOPOS_TEST_ONLY", true), ("CLOPOS_TEST_NOT", false)] {
        if let Ok(parts) = env::var(variable) {
            let named = |name: &String| parts.split_whitespace().any(|part| name.contains(part));
            names.retain(|name| named(name) == wanted);
        }
    }
    assert!(!names.is_empty(), "no test has a name like that");

    let mut failed = 0;
    for name in &names {
        let output = program.run(&start(true), &[name]);
        let passed = format!("ok - {name}\n");
        if output.status.success() && output.stdout.ends_with(passed.as_bytes()) {
            println!("ok - {name}");
        } else {
            println!("not ok - {name}\n{}", text(&output));
            failed += 1;
        }
    }
    assert_eq!(failed, 0, "of {} tests, see above", names.len());
}

/// A command that runs programs: `env` if nobody asks for another.
fn under() -> Command {
    let mut words = words_of("CLOPOS_TEST_UNDER").into_iter();
    let mut command = Command::new(words.next().unwrap_or("env".into()));
    command.args(words);
    command
}

fn words_of(variable: &str) -> Vec<OsString> {
    let words = env::var(variable).unwrap_or_default();
    words.split_whitespace().map(OsString::from).collect()
}

/// Adds what must never be seen to the file that the transcript is searched for.
fn note_secrets(sandbox: &Sandbox) -> std::io::Result<()> {
    let Some(path) = env::var_os("CLOPOS_TEST_SECRETS") else {
        return Ok(());
    };
    let mut lines = format!("{CLIENT_SECRET}\n");
    for token in sandbox.issued_tokens() {
        lines += &token;
        lines += "\n";
    }
    // One write: several of these programs may run at a time.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?
        .write_all(lines.as_bytes())
}
