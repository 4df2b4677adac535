//! Runs the library's `flight.rs` and `gate.rs` with loom's locks and threads, in many interleavings:
//! `cargo test --manifest-path tests/loom/Cargo.toml`
#![cfg(test)]
#![allow(dead_code, reason = "the library uses the rest")]

#[path = "../../../src/clock.rs"]
mod clock;
#[path = "../../../src/flight.rs"]
mod flight;
#[path = "../../../src/gate.rs"]
mod gate;
