//! What the library says about itself.

use std::ffi::{CStr, c_char};

use crate::Status;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => unreachable!(),
    };

/// The name of a status number for a log, without the prefix: "REJECTED". "UNKNOWN" for a number that
/// this version does not have. Never NULL; a constant, not to be freed. Any thread, any time.
#[unsafe(no_mangle)]
pub extern "C" fn clopos_auth_status_name(status: i32) -> *const c_char {
    Status::from_number(status)
        .map_or(c"UNKNOWN", Status::c_name)
        .as_ptr()
}

/// The version of the library that is running, "MAJOR.MINOR.PATCH". A constant, not to be freed.
/// CLOPOS_AUTH_VERSION is the version of the header that the program was compiled with.
#[unsafe(no_mangle)]
pub extern "C" fn clopos_auth_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The version of the library that is running as a number to compare: MAJOR * 0x10000 + MINOR * 0x100
/// + PATCH. Greater or equal to CLOPOS_AUTH_VERSION_NUMBER with the same MAJOR is compatible.
#[unsafe(no_mangle)]
pub extern "C" fn clopos_auth_version_number() -> u32 {
    let part = |text: &str| text.parse::<u32>().unwrap_or(0);
    part(env!("CARGO_PKG_VERSION_MAJOR")) << 16
        | part(env!("CARGO_PKG_VERSION_MINOR")) << 8
        | part(env!("CARGO_PKG_VERSION_PATCH"))
}
