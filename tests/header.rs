//! The committed header matches the sources, and every wrapper has all its settings and constants.

use std::{env, fs, path::Path};

#[test]
fn the_committed_header_matches_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed_path = root.join("include/clopos_auth.h");
    let generated = generate(root);
    if env::var_os("CLOPOS_UPDATE_HEADER").is_some() {
        fs::write(&committed_path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&committed_path).unwrap_or_default();
    for (number, (committed, generated)) in committed.lines().zip(generated.lines()).enumerate() {
        assert_eq!(
            committed,
            generated,
            "line {} differs; CLOPOS_UPDATE_HEADER=1 writes it",
            number + 1
        );
    }
    assert_eq!(committed.len(), generated.len(), "the lengths differ");
}

/// Wrappers that include the header, and wrappers that repeat its numbers.
const INCLUDING: [&str; 2] = ["include/clopos_auth.hpp", "examples/go"];
const REPEATING: [&str; 2] = ["examples/dotnet/Clopos.Auth", "examples/python/clopos_auth"];

#[test]
fn every_wrapper_has_every_setting_status_reason_and_roots_value() {
    let header = read("include/clopos_auth.h");
    let settings: Vec<_> = settings(&header).collect();
    let constants: Vec<_> = ["status", "reason", "roots"]
        .iter()
        .flat_map(|name| enumerators(&header, name))
        .collect();
    assert!(settings.len() >= 12 && constants.len() >= 26);
    let names = |source: &str, name: &str| identifiers(source).filter(|word| *word == name).count();
    for wrapper in INCLUDING {
        let source = read(wrapper);
        for name in &settings {
            let name = format!("clopos_auth_{name}");
            assert!(names(&source, &name) >= 1, "{wrapper} has no {name}");
        }
        for (name, _) in &constants {
            let name = format!("CLOPOS_AUTH_{name}");
            assert!(names(&source, &name) >= 1, "{wrapper} has no {name}");
        }
    }
    for wrapper in REPEATING {
        let source = read(wrapper).replace("clopos_auth_", "");
        for name in &settings {
            // In the declaration and in a call.
            assert!(names(&source, name) >= 2, "{wrapper} has no {name}");
        }
        for (name, number) in &constants {
            let name = name
                .trim_start_matches("REASON_")
                .trim_start_matches("ROOTS_");
            let found = [name.to_owned(), pascal_case(name)]
                .iter()
                .any(|name| source.contains(&format!(" {name} = {number}")));
            assert!(found, "{wrapper} has no {name} = {number}");
        }
    }
}

#[test]
fn every_wrappers_all_settings_sets_every_setting() {
    let header = read("include/clopos_auth.h");
    let wrappers: Vec<_> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrappers"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|folder| folder.join("build").exists())
            .collect();
    assert_eq!(
        wrappers.len(),
        1 + INCLUDING.len() + REPEATING.len(),
        "the lists above have all wrappers except C: {wrappers:?}"
    );
    for wrapper in wrappers {
        // Makes all_settings, allSettings and AllSettings equal.
        let program = read(wrapper.to_str().unwrap())
            .to_lowercase()
            .replace('_', "");
        let set: Vec<_> = body(&program, "fromenvironment(")
            .chain(body(&program, "allsettings("))
            .map(|word| word.trim_start_matches("cloposauthconfig"))
            .map(|word| word.trim_start_matches("set").trim_start_matches("add"))
            .map(|word| word.trim_end_matches("ms"))
            .collect();
        for name in settings(&header) {
            let name = name["config_set_".len()..].trim_end_matches("_ms");
            // In .NET `on_change` is the event Changed.
            let found = set.contains(&name.replace('_', "").as_str())
                || name == "on_change" && set.contains(&"changed");
            assert!(
                found,
                "{}: all_settings does not set {name}",
                wrapper.display()
            );
        }
    }
}

#[test]
fn every_setter_is_called_without_a_config() {
    let (header, program) = (read("include/clopos_auth.h"), read("tests/c/arguments.c"));
    for name in settings(&header) {
        let call = format!("clopos_auth_{name}(NULL");
        assert!(program.contains(&call), "arguments.c has no {call}");
    }
}

#[test]
fn every_function_is_fuzzed() {
    let header = read("include/clopos_auth.h");
    let target = read("tests/fuzz/targets/c_interface.rs");
    for name in functions(&header).filter(|name| name.starts_with("clopos_auth_")) {
        assert!(
            identifiers(&target).any(|called| called == name),
            "c_interface.rs does not call {name}"
        );
    }
}

/// The identifiers in the body of a function, in any of the languages.
fn body<'a>(program: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = program
        .lines()
        .skip_while(move |line| !line.contains(name) || line.ends_with(';'));
    let outer = indent(lines.next().unwrap_or_else(|| panic!("no {name}")));
    lines
        .take_while(move |line| matches!(line.trim(), "" | "{") || indent(line) > outer)
        .flat_map(identifiers)
}

fn pascal_case(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_owned() + &rest.to_lowercase()
    });
    words.collect()
}

fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

fn functions(header: &str) -> impl Iterator<Item = &str> {
    header
        .match_indices('(')
        .filter_map(|(at, _)| identifiers(&header[..at]).last())
}

/// The functions of the settings, without the prefix `clopos_auth_`.
fn settings(header: &str) -> impl Iterator<Item = &str> {
    functions(header)
        .filter_map(|name| name.strip_prefix("clopos_auth_"))
        .filter(|name| name.starts_with("config_set_") || name.starts_with("config_add_"))
}

/// The names (without prefix) and numbers of an enum.
fn enumerators<'a>(header: &'a str, name: &str) -> impl Iterator<Item = (&'a str, i32)> {
    let body = header
        .split(&format!("enum clopos_auth_{name}\n"))
        .nth(1)
        .unwrap();
    let body = body.split("};").next().unwrap();
    body.lines().filter_map(|line| {
        let (name, number) = line
            .trim()
            .strip_prefix("CLOPOS_AUTH_")?
            .split_once(" = ")?;
        Some((name, number.trim_end_matches(',').parse().unwrap()))
    })
}

/// The text of a file, or of all files of a folder (without its subfolders).
fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if path.is_file() {
        return fs::read_to_string(path).unwrap();
    }
    let files = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

fn generate(root: &Path) -> String {
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let number = |name: &str| name.parse::<u32>().unwrap();
    let after_includes = config.after_includes.unwrap_or_default();
    config.after_includes = Some(format!(
        "\n/* The version of this header; clopos_auth_version() tells the library's. */\n\
         #define CLOPOS_AUTH_VERSION \"{}\"\n#define CLOPOS_AUTH_VERSION_NUMBER {:#08x}\n{after_includes}",
        env!("CARGO_PKG_VERSION"),
        number(env!("CARGO_PKG_VERSION_MAJOR")) << 16
            | number(env!("CARGO_PKG_VERSION_MINOR")) << 8
            | number(env!("CARGO_PKG_VERSION_PATCH")),
    ));
    let mut header = Vec::new();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(root.join("src").join(source));
    }
    builder.generate().unwrap().write(&mut header);
    // cbindgen can only prefix with the type's whole name.
    let header = String::from_utf8(header)
        .unwrap()
        .replace("CLOPOS_AUTH_STATUS_", "CLOPOS_AUTH_")
        .replace("CLOPOS_AUTH_LOG_LEVEL_", "CLOPOS_AUTH_LOG_");
    with_calling_convention(&header)
}

/// Puts CLOPOS_AUTH_CALL before the name of each function and function type. cbindgen has no option for that
/// place. The name of a function begins a new line, so that lines stay short.
fn with_calling_convention(header: &str) -> String {
    let mut result = String::new();
    // By how many columns the following lines of arguments move to the left.
    let mut moved = 0;
    for line in header.lines() {
        let before = line.split_once('(').map_or("", |(before, _)| before);
        if before.starts_with("typedef ") {
            moved = 0;
            result += &line.replace("(*", "(CLOPOS_AUTH_CALL *");
        } else if before.starts_with(|first: char| first.is_ascii_lowercase()) {
            moved = before.rfind("clopos_auth_").unwrap();
            let (its_type, name) = line.split_at(moved);
            result += &format!("{its_type}CLOPOS_AUTH_CALL\n{name}");
        } else if moved > 0 && line.starts_with(&" ".repeat(moved)) {
            result += &line[moved..];
        } else {
            moved = 0;
            result += line;
        }
        result.push('\n');
    }
    result
}

/// In the order of the header.
const SOURCES: [&str; 8] = [
    "status.rs",
    "reason.rs",
    "roots.rs",
    "callbacks.rs",
    "ffi/object.rs",
    "ffi/config.rs",
    "ffi/client.rs",
    "ffi/version.rs",
];
