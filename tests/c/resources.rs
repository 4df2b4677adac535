//! Little memory, a small stack, and no use of the disk. For the library that ships: without optimisation it needs
//! more stack.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use clopos_sandbox::{Sandbox, Settings};
use libtest_mimic::Trial;

use crate::program::{Build, Language, Linkage, Program, start, test, text};

pub fn tests() -> Vec<Trial> {
    vec![
        test(
            "resources::no_memory_for_a_token_or_an_error_is_a_status",
            no_memory_for_a_token_or_an_error_is_a_status,
        )
        .with_ignored_flag(true),
        test(
            "resources::every_function_works_on_the_smallest_stack_that_is_promised",
            every_function_works_on_the_smallest_stack_that_is_promised,
        )
        .with_ignored_flag(true),
        test(
            "resources::no_file_is_opened_for_writing_made_renamed_or_removed",
            no_file_is_opened_for_writing_made_renamed_or_removed,
        )
        .with_ignored_flag(true),
    ]
}

fn resources() -> Program {
    let build = Build(Language::C99, Linkage::Shared);
    Program::compile("resources", &["tests/c/resources.c"], build, &[])
}

fn run_without_limit(program: &Program, arguments: &[&str]) -> String {
    // Without the sandbox's rate limit.
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

/// What the header promises, in its chapter THREADS.
const STACK_BYTES: usize = 64 * 1024;

fn no_memory_for_a_token_or_an_error_is_a_status() {
    run_without_limit(&resources(), &["memory"]);
}

fn every_function_works_on_the_smallest_stack_that_is_promised() {
    let header = include_str!("../../include/clopos_auth.h");
    let promise = format!("the calling thread needs {} KiB", STACK_BYTES / 1024);
    assert!(header.contains(&promise));
    let program = resources();
    run_without_limit(&program, &["stack", &STACK_BYTES.to_string()]);

    // A quarter of it is not enough, so the test measures the stack.
    let output = program.run(&start(true), &["stack", &(STACK_BYTES / 4).to_string()]);
    assert_eq!(
        output.status.signal(),
        Some(libc::SIGSEGV),
        "{}",
        text(&output)
    );
}

fn no_file_is_opened_for_writing_made_renamed_or_removed() {
    let program = Program::compile(
        "strace",
        &["tests/c/injected.c"],
        Build(Language::C99, Linkage::Shared),
        &[],
    );
    // `write` creates a file; `nothing` only signs in.
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
            // A line is `PID CALL(ARGUMENTS…`, or after the PID `<... CALL resumed>`, `+++ exited` or `--- SIGNAL`.
            let (_, line) = line.split_once(' ').expect("a process id");
            let line = line.trim_start();
            match line.split('(').next().expect("there is one") {
                "open" | "openat" => line.contains("O_RDONLY") && !line.contains("O_CREAT"),
                // libc connects to a name service through the path of a socket, which is not a file.
                "execve" | "access" | "faccessat" | "faccessat2" | "stat" | "lstat" | "fstat"
                | "newfstatat" | "statx" | "statfs" | "fstatfs" | "readlink" | "readlinkat"
                | "getcwd" | "chdir" | "connect" => true,
                other => ["<... ", "+++ ", "--- "]
                    .iter()
                    .any(|mark| other.starts_with(mark)),
            }
        };
        let written: Vec<&str> = trace.lines().filter(|line| !harmless(line)).collect();
        assert!(trace.contains("libclopos_auth.so"), "{trace}");
        assert_eq!(!written.is_empty(), writes, "{mistake}: {written:#?}");
    }
}
