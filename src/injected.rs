//! A panic for the tests.
#![forbid(unsafe_code)]

/// Panics in a build that is made to show that a panic is contained (`--cfg clopos_inject_panic`, see
/// `tests/platforms.sh`), where `text` asks for it. Nothing in every other build.
#[inline(always)]
pub(crate) fn panic_if(text: &str, asks: &str) {
    if cfg!(clopos_inject_panic) && text == asks {
        panic!("on purpose");
    }
}
