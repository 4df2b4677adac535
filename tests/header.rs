//! The committed header is the one that the sources give.

use std::{env, fs, path::Path};

#[test]
fn the_committed_header_is_the_one_that_the_sources_give() {
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

fn generate(root: &Path) -> String {
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let number = |name: &str| name.parse::<u32>().unwrap();
    config.after_includes = Some(format!(
        "\n/* The version of this header; clopos_auth_version() tells the library's. */\n\
         #define CLOPOS_AUTH_VERSION \"{}\"\n#define CLOPOS_AUTH_VERSION_NUMBER {:#08x}\n",
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
    String::from_utf8(header)
        .unwrap()
        .replace("CLOPOS_AUTH_STATUS_", "CLOPOS_AUTH_")
        .replace("CLOPOS_AUTH_LOG_LEVEL_", "CLOPOS_AUTH_LOG_")
}

/// In the order in which a reader wants them.
const SOURCES: [&str; 7] = [
    "status.rs",
    "reason.rs",
    "config.rs",
    "ffi/object.rs",
    "ffi/config.rs",
    "ffi/client.rs",
    "ffi/version.rs",
];
