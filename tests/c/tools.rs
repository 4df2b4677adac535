//! Each tool that the programs run under finds every mistake of `tests/c/planted.c`, and nothing where there is
//! none. Otherwise it would prove nothing that it finds nothing elsewhere.

use libtest_mimic::Trial;

use crate::program::{Build, Language, Linkage, Program, start, test, text};

/// Tool, mistake, and what the tool says about it.
const MISTAKES: [(&str, &str, &str); 7] = [
    ("memcheck", "leak", "definitely lost"),
    ("memcheck", "overrun", "Invalid read of size 1"),
    ("asan", "leak", "LeakSanitizer: detected memory leaks"),
    ("asan", "overrun", "heap-buffer-overflow"),
    // Only the library itself can see this one: it reads a text that has no end.
    ("asan", "endless", "heap-buffer-overflow"),
    ("helgrind", "race", "Possible data race"),
    ("tsan", "race", "WARNING: ThreadSanitizer: data race"),
];

pub fn tests() -> Vec<Trial> {
    let found = MISTAKES.map(|(tool, mistake, finding)| {
        test(
            &format!("tools::{tool}_finds_a_planted_{mistake}"),
            move || {
                let output = planted().run(&start(true), &[mistake]);
                assert!(!output.status.success(), "the {mistake} was not found");
                assert!(text(&output).contains(finding), "{}", text(&output));
            },
        )
    });
    let nothing = ["memcheck", "asan", "helgrind", "tsan"].map(|tool| {
        test(
            &format!("tools::{tool}_finds_nothing_where_there_is_nothing"),
            || {
                let output = planted().run(&start(true), &["nothing"]);
                assert!(output.status.success(), "{}", text(&output));
            },
        )
    });
    let all = found.into_iter().chain(nothing);
    all.map(|trial| trial.with_ignored_flag(true)).collect()
}

fn planted() -> Program {
    let build = Build(Language::C99, Linkage::Shared);
    Program::compile("planted", &["tests/c/planted.c"], build, &[])
}
