//! Linker flags of the shared library that every build needs, however it is built.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let var = |name: &str| env::var(name).unwrap_or_default();
    let is_elf = matches!(
        var("CARGO_CFG_TARGET_OS").as_str(),
        "linux" | "android" | "freebsd" | "netbsd" | "openbsd"
    );
    if is_elf {
        // Programs ask for the major version: a library with a new one can be installed beside it.
        let major = var("CARGO_PKG_VERSION_MAJOR");
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libclopos_auth.so.{major}");
        // One of the library's threads may be sending a request: dlclose must not unload its code.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
