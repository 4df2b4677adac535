//! What the README says of the interface is what the interface is.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use clopos_auth::Status;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
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
