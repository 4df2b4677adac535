//! Each tool finds every error that `tests/c/injected.c` injects, and reports nothing if none is injected.

use libtest_mimic::Trial;

use crate::program::{Build, Language, Linkage, Program, start, test, text};

/// Tool, injected error, and the tool's report.
const MISTAKES: [(&str, &str, &str); 7] = [
    ("memcheck", "leak", "definitely lost"),
    ("memcheck", "overrun", "Invalid read of size 1"),
    ("asan", "leak", "LeakSanitizer: detected memory leaks"),
    ("asan", "overrun", "heap-buffer-overflow"),
    // The library's own code does the wrong read here.
    ("asan", "endless", "heap-buffer-overflow"),
    ("helgrind", "race", "Possible data race"),
    ("tsan", "race", "WARNING: ThreadSanitizer: data race"),
];

pub fn tests() -> Vec<Trial> {
    let found = MISTAKES.map(|(tool, mistake, finding)| {
        test(
            &format!("tools::{tool}_finds_an_injected_{mistake}"),
            move || {
                let output = injected().run(&start(true), &[mistake]);
                assert!(!output.status.success(), "the {mistake} was not found");
                assert!(text(&output).contains(finding), "{}", text(&output));
            },
        )
    });
    let nothing = ["memcheck", "asan", "helgrind", "tsan"].map(|tool| {
        test(
            &format!("tools::{tool}_reports_nothing_without_an_error"),
            || {
                let output = injected().run(&start(true), &["nothing"]);
                assert!(output.status.success(), "{}", text(&output));
            },
        )
    });
    let all = found.into_iter().chain(nothing);
    all.map(|trial| trial.with_ignored_flag(true)).collect()
}

fn injected() -> Program {
    let build = Build(Language::C99, Linkage::Shared);
    Program::compile("injected", &["tests/c/injected.c"], build, &[])
}
