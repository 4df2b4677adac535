//! What the library says about itself.

use std::ffi::{CStr, c_char};

use crate::Status;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => unreachable!(),
    };

/// Returns the name of a status number for a log, without the prefix: "REJECTED"; "UNKNOWN" for a number
/// that this version does not have. Never NULL. A constant: do not free it. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn clopos_auth_status_name(status: i32) -> *const c_char {
    Status::from_number(status)
        .map_or(c"UNKNOWN", Status::c_name)
        .as_ptr()
}

/// Returns the version of the library that is running, "MAJOR.MINOR.PATCH". A constant: do not free it.
/// CLOPOS_AUTH_VERSION is the version of the header that the program was compiled with.
#[unsafe(no_mangle)]
pub extern "C" fn clopos_auth_version() -> *const c_char {
    VERSION.as_ptr()
}

/// Returns the version of the library that is running as a number: MAJOR * 0x10000 + MINOR * 0x100 + PATCH.
/// The library is compatible if that is at least CLOPOS_AUTH_VERSION_NUMBER and MAJOR is the same.
#[unsafe(no_mangle)]
pub extern "C" fn clopos_auth_version_number() -> u32 {
    let part = |text: &str| text.parse::<u32>().unwrap_or(0);
    part(env!("CARGO_PKG_VERSION_MAJOR")) << 16
        | part(env!("CARGO_PKG_VERSION_MINOR")) << 8
        | part(env!("CARGO_PKG_VERSION_PATCH"))
}
