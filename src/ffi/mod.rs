//! The C interface: a thin layer on the safe library. The header `include/clopos_auth.h` is generated
//! from the comments in these files, `status.rs`, `reason.rs`, `roots.rs` and `callbacks.rs`: they are the manual that a C
//! programmer reads.
//!
//! # Conventions
//!
//! 1. Every exported function checks its arguments, calls one method of the core, writes its outputs.
//!    What can panic runs under a guard (see `boundary`), which turns a panic into `INTERNAL`.
//! 2. `clopos_auth_client *` and `clopos_auth_config *` are keys into a table (`handle`), never
//!    addresses: whatever a caller passes, nothing is read from it.
//! 3. Everything else that C passes is an address and cannot be checked beyond NULL: each function's
//!    `# Safety` is that such pointers are NULL or valid for what its comment says.
//! 4. Objects that C receives (`object`) are one allocation each, made and freed by this library.
//! 5. Numbers that C passes for enums come in as integers and are checked.

#![allow(unsafe_code)]
// The names are those of the C interface. Safety is convention 3, the same for every function.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]
// The comments are written for the C header, where brackets are no links and addresses need none.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

mod boundary;
mod client;
mod config;
mod handle;
mod object;
mod version;

pub use client::*;
pub use config::*;
pub use object::{
    clopos_auth_error, clopos_auth_error_free, clopos_auth_state, clopos_auth_state_free,
    clopos_auth_token, clopos_auth_token_free,
};
pub use version::*;
