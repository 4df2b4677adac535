//! Another static library that is written in Rust, for `beside.c`: it panics and catches that.

/// 1: the panic was caught.
#[unsafe(no_mangle)]
pub extern "C" fn other_panics() -> i32 {
    i32::from(std::panic::catch_unwind(|| panic!("on purpose")).is_err())
}
