//! What the README says of the interface is what the interface is.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use clopos_auth::Status;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The parts of `tests/run.sh`.
fn parts() -> Vec<String> {
    let scripts = fs::read_dir(root().join("tests/parts")).unwrap();
    scripts
        .map(|script| script.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_status_stands_in_the_readme_with_its_number() {
    let readme = read("README.md");
    for status in Status::all() {
        let row = format!("| `{}` | {} |", status.name(), status as i32);
        assert!(readme.contains(&row), "no row {row}");
    }
}

#[test]
fn every_setting_stands_in_the_readme() {
    let (readme, header) = (read("README.md"), read("include/clopos_auth.h"));
    let settings = header
        .split("clopos_auth_config_")
        .skip(1)
        .filter_map(|rest| {
            let name = rest.split('(').next()?;
            (name.starts_with("set_") || name.starts_with("add_")).then_some(name)
        });
    let mut count = 0;
    for name in settings {
        assert!(
            readme.contains(&format!("| `{name}` |")),
            "{name} is missing"
        );
        count += 1;
    }
    assert!(count >= 11);
}

#[test]
fn the_readmes_program_compiles_without_a_warning_and_says_what_is_wrong() {
    let readme = read("README.md");
    let program = readme
        .split("```c\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, binary) = (directory.join("readme.c"), directory.join("readme"));
    fs::write(&source, program).unwrap();
    // Beside this test's own program, cargo puts the library that it was built with.
    let test_program = env::current_exe().unwrap();
    let libraries = test_program.parent().unwrap();
    let compiled = Command::new("cc")
        .args([
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-I",
        ])
        .arg(root.join("include"))
        .arg(&source)
        .arg(libraries.join("libclopos_auth.a"))
        .args(["-lpthread", "-lm", "-ldl", "-o"])
        .arg(&binary)
        .output()
        .unwrap();
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    // Without credentials in the environment it sends nothing.
    let run = Command::new(&binary).env_clear().output().unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&run.stderr), "client_id is NULL\n");
}

#[test]
fn every_file_that_the_readme_names_is_there() {
    let readme = read("README.md");
    let links = readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let words = quoted(&readme).filter_map(|code| code.split_whitespace().next());
    let mut count = 0;
    for path in links.chain(words) {
        let is_ours = ["examples/", "include/", "src/", "tests/"]
            .iter()
            .any(|folder| path.starts_with(folder));
        if is_ours && !path.contains('…') {
            assert!(root().join(path).exists(), "{path} is missing");
            count += 1;
        }
    }
    assert!(count > 10, "only {count}");
    // And every part that is run by name.
    for command in quoted(&readme).filter_map(|code| code.strip_prefix("tests/run.sh ")) {
        assert!(parts().iter().any(|part| part == command), "{command}");
    }
}

#[test]
fn every_defence_in_the_readme_names_tests_that_are_there() {
    let readme = read("README.md");
    let table = readme
        .split("| against | what stands in the way |")
        .nth(1)
        .unwrap();
    let rows = table.lines().skip(2).take_while(|line| !line.is_empty());
    let parts = parts();
    let mut count = 0;
    for row in rows {
        let tests: Vec<_> = quoted(row.split(" | ").nth(2).unwrap()).collect();
        assert!(!tests.is_empty(), "nothing tests {row}");
        for test in tests {
            let is_there = parts.iter().any(|part| part == test)
                || test.ends_with(".rs") && root().join("tests").join(test).exists()
                || test.ends_with(".c") && root().join("tests").join(test).exists();
            assert!(is_there, "{test} is missing");
        }
        count += 1;
    }
    assert!(count >= 9, "only {count}");
}

#[test]
fn every_check_in_the_readme_is_a_part_that_runs() {
    let readme = read("README.md");
    let table = readme.split("| part | tool | looks at |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| !line.is_empty());
    let parts = parts();
    let mut count = 0;
    for row in rows {
        let part = quoted(row).next().unwrap();
        assert!(parts.iter().any(|name| name == part), "no part {part}");
        count += 1;
    }
    assert!(count >= 7, "only {count}");
}

#[test]
fn unsafe_code_is_where_the_readme_says() {
    let calls_the_c_library = ["src/clock.rs", "src/process.rs", "src/connect/sys.rs"];
    let mut folders = vec![root().join("src")];
    let mut with_unsafe = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let has_unsafe = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
                .iter()
                .any(|word| text.contains(word));
            if calls_the_c_library.contains(&name) || name.starts_with("src/ffi/") {
                with_unsafe += usize::from(has_unsafe);
            } else {
                assert!(!has_unsafe, "{name} has unsafe code");
            }
        }
    }
    assert!(with_unsafe > calls_the_c_library.len());
}
