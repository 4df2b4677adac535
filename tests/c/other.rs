//! Another static library written in Rust, for `two_libraries.c`.

/// Panics. Returns 1 if the panic was caught.
#[unsafe(no_mangle)]
pub extern "C" fn other_panics() -> i32 {
    i32::from(std::panic::catch_unwind(|| panic!("on purpose")).is_err())
}
