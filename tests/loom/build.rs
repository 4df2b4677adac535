//! Sets `cfg(clopos_loom)`, with which `flight.rs` and `gate.rs` use loom's locks.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(clopos_loom)");
    println!("cargo::rustc-cfg=clopos_loom");
}
