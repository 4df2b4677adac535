//! Tells `flight.rs` which locks to take.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(clopos_loom)");
    println!("cargo::rustc-cfg=clopos_loom");
}
