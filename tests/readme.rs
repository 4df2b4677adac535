//! The documents match the project: their tables, links, names and example program.

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

/// The texts between backticks.
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
fn readme_and_header_have_every_status_with_its_number_and_whether_it_is_retryable() {
    let (readme, header) = (read("README.md"), read("include/clopos_auth.h"));
    for status in Status::all() {
        let (name, number) = (status.name(), status as i32);
        let (in_readme, in_header) = match status.is_retryable() {
            _ if status == Status::Ok => (" ", [false, false]),
            true => (" yes ", [true, false]),
            false => (" no ", [false, true]),
        };
        let row = format!("| `{name}` | {number} |{in_readme}|");
        assert!(readme.contains(&row), "no row {row}");
        let enumerator = format!("CLOPOS_AUTH_{name} = {number},");
        let before = header.split(&enumerator).next().unwrap();
        let comment = before.rsplit("/**").next().unwrap();
        let words = comment.split_whitespace().filter(|&word| word != "*");
        let comment = words.collect::<Vec<_>>().join(" ");
        let found = ["Retryable", "Not retryable"].map(|words| comment.contains(words));
        assert_eq!(found, in_header, "{name}: {comment}");
    }
}

#[test]
fn the_library_is_not_larger_than_the_readme_says() {
    let (readme, measured) = (read("README.md"), read("tests/bench/README.md"));
    assert!(readme.contains("2 MB of disk and 100 KB of memory for a client"));
    let figure = |row: &str| -> f64 {
        let cells = measured.split(row).nth(1).unwrap();
        cells.split_whitespace().next().unwrap().parse().unwrap()
    };
    assert!(figure("beyond the C library, MB (files) | ") <= 2.0);
    assert!(figure("| 1 clients | ") * 1.024 <= 100.0); // KiB
}

#[test]
fn the_readme_has_every_platform() {
    let readme = read("README.md");
    let (built, checked) = (targets("TARGETS"), targets("CHECKED"));
    assert!(built.len() >= 8 && checked.len() >= 6);
    for target in built.iter().chain(&checked) {
        let row = format!("`{target}`");
        assert!(readme.contains(&row), "{target} is missing");
    }
}

/// The targets of a list in the script that builds the library.
fn targets(list: &str) -> Vec<String> {
    let script = read("tests/platforms/target.sh");
    let (_, list) = script.split_once(&format!("\n{list}=(")).unwrap();
    let targets = list.split_once(')').unwrap().0.split_whitespace();
    targets.map(str::to_owned).collect()
}

/// Each of these scripts names every platform: with its package, or in a comment if it has none. (The script of the
/// wheels fails for a platform that it does not know.)
#[test]
fn every_platform_is_in_each_package_or_left_out_on_purpose() {
    for name in ["nupkg", "go_platforms", "debian"] {
        let script = read(&format!("tests/release/{name}.sh"));
        for target in targets("TARGETS") {
            assert!(script.contains(&target), "{target} is missing in {name}.sh");
        }
    }
}

#[test]
fn the_readme_has_every_setting() {
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
    assert!(count >= 12);
}

/// Compiles the README's program unchanged and links it with these files.
fn readmes_program(name: &str, linked_with: &[&Path]) -> Command {
    let readme = read("README.md");
    let program = readme
        .split("```c\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, binary) = (directory.join(format!("{name}.c")), directory.join(name));
    fs::write(&source, program).unwrap();
    let compiled = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion"])
        .args(["-Werror", "-I"])
        .arg(root().join("include"))
        .arg(&source)
        .args(linked_with)
        .args(["-lpthread", "-lm", "-ldl", "-o"])
        .arg(&binary)
        .output()
        .unwrap();
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let mut command = Command::new(binary);
    command.env_clear();
    command
}

/// The exit status, and the text on stdout and stderr.
fn outcome(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn the_readmes_program_compiles_without_a_warning_and_reports_missing_credentials() {
    // In the folder of the test program, cargo puts the library of the same build.
    let test_program = env::current_exe().unwrap();
    let library = test_program.parent().unwrap().join("libclopos_auth.a");
    let mut program = readmes_program("readme", &[&library]);
    // Without credentials in the environment it sends nothing.
    let expected = String::from("INVALID_ARGUMENT: client_id is NULL\n");
    assert_eq!(outcome(&mut program), (Some(1), expected));
}

/// A replacement for the library: `get_token()` has the outcome that the variable PLAY names, and objects that
/// are not freed are counted.
const STAND_IN: &str = r#"
#include <clopos_auth.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static clopos_auth_token token = {"a-token", 7, "Bearer", 0, 0, 1};
static clopos_auth_error error;
static int clients, tokens, errors;
static void report(void) { printf("left: %d %d %d\n", clients, tokens, errors); }
clopos_auth_status clopos_auth_client_new(const char *id, const char *secret, const char *brand,
                                          const char *integrator, const clopos_auth_config *config,
                                          clopos_auth_client **out, clopos_auth_error **err) {
    (void)id, (void)secret, (void)brand, (void)integrator, (void)config;
    atexit(report);
    *out = (clopos_auth_client *)&clients, *err = NULL;
    clients++;
    return CLOPOS_AUTH_OK;
}
clopos_auth_status clopos_auth_get_token(clopos_auth_client *client, uint32_t timeout_ms,
                                         clopos_auth_token **out, clopos_auth_error **err) {
    const char *play = getenv("PLAY");
    (void)client, (void)timeout_ms;
    *out = NULL, *err = NULL;
    if (strcmp(play, "OK") == 0)
        return tokens++, *out = &token, CLOPOS_AUTH_OK;
    error.status = CLOPOS_AUTH_INTERNAL, error.message = "a message";
    if (strcmp(play, "failure") == 0)
        errors++, *err = &error;
    return CLOPOS_AUTH_INTERNAL;
}
const char *clopos_auth_status_name(int32_t status) { return status == 4 ? "INTERNAL" : "?"; }
void clopos_auth_client_free(clopos_auth_client *client) { clients -= client != NULL; }
void clopos_auth_token_free(clopos_auth_token *freed) { tokens -= freed != NULL; }
void clopos_auth_error_free(clopos_auth_error *freed) { errors -= freed != NULL; }
"#;

#[test]
fn the_readmes_program_handles_every_outcome_and_frees_everything_once() {
    let stand_in = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stand_in.c");
    fs::write(&stand_in, STAND_IN).unwrap();
    let mut program = readmes_program("readme_with_stand_in", &[&stand_in]);
    for (play, code, text) in [
        ("OK", 0, "x-token: a-token\nleft: 0 0 0\n"),
        ("failure", 1, "left: 0 0 0\nINTERNAL: a message\n"),
        ("no memory", 1, "left: 0 0 0\nINTERNAL: no details\n"),
    ] {
        let expected = (Some(code), text.to_owned());
        assert_eq!(outcome(program.env("PLAY", play)), expected, "{play}");
    }
}

/// Every document of the project, as a path from its top folder. The links of a release's README lead into its
/// archive; tests/release/test.sh checks them there.
fn documents() -> Vec<String> {
    let (mut folders, mut documents) = (vec![root().to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !["target", "archive"].contains(&name) && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".md") {
                let from_top = path.strip_prefix(root()).unwrap();
                documents.push(from_top.to_str().unwrap().to_owned());
            }
        }
    }
    documents
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn no_document_has_a_dead_link() {
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        let folder = root().join(&document).parent().unwrap().to_owned();
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .filter(|link| !link.starts_with("https://"));
        for link in links {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => root().join(&document),
                path => folder.join(path),
            };
            assert!(target.exists(), "{document}: {link} is missing");
            if !anchor.is_empty() {
                let target = fs::read_to_string(&target).unwrap();
                let known = anchors(&target).iter().any(|known| known == anchor);
                assert!(known, "{document}: {link} has no such heading");
            }
            count += 1;
        }
        for path in quoted(&text).filter_map(|code| code.split_whitespace().next()) {
            let is_ours = ["examples/", "include/", "src/", "tests/"]
                .iter()
                .any(|folder| path.starts_with(folder));
            let is_placeholder = path.contains('…')
                || path
                    .split('/')
                    .any(|name| name.bytes().all(|byte| byte.is_ascii_uppercase()));
            if is_ours && !is_placeholder {
                assert!(root().join(path).exists(), "{document}: {path} is missing");
                count += 1;
            }
        }
        // The parts of tests/run.sh that the document names.
        for command in quoted(&text).filter_map(|code| code.strip_prefix("tests/run.sh ")) {
            for part in command.split_whitespace() {
                let is_known = ["all", "--list", "PART…"].contains(&part)
                    || parts().iter().any(|known| known == part);
                assert!(is_known, "{document}: {command}");
            }
        }
    }
    assert!(count > 60, "only {count}");
}

#[test]
fn every_defence_in_the_security_document_names_existing_tests() {
    let document = read("SECURITY.md");
    let table = document
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
fn every_part_of_the_tests_has_a_row_in_their_readme() {
    let readme = read("tests/README.md");
    for part in parts() {
        assert!(
            readme.contains(&format!("\n| `{part}` | ")),
            "no row {part}"
        );
    }
}

#[test]
fn unsafe_code_is_where_the_security_document_says() {
    let document = read("SECURITY.md");
    let (_, sentence) = document.split_once("`unsafe` is used only in ").unwrap();
    let allowed: Vec<_> = quoted(sentence.split_once(". ").unwrap().0).collect();
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
            let lint = match name {
                // What they say is so for the files of their modules, unless these allow it.
                "src/lib.rs" | "src/connect.rs" => "deny",
                "src/ffi/mod.rs" => "allow",
                _ if name.starts_with("src/ffi/") => continue,
                _ if allowed.contains(&name) => "allow",
                _ => "forbid",
            };
            let attribute = format!("\n#![{lint}(unsafe_code)]\n");
            assert!(text.contains(&attribute), "{name} lacks {attribute}");
            with_unsafe += usize::from(lint == "allow");
        }
    }
    assert!(allowed.contains(&"src/ffi/"));
    assert_eq!(with_unsafe, allowed.len(), "of {allowed:?}");
}
