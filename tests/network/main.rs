//! Networks as stores have them, with faults in name servers, proxies, links and certificates, and the doctor
//! (`examples/c/doctor.c`) in such networks. A matrix of all faults at all stages is in `tests/faults.rs`.
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

mod bad_links;
mod clock;
mod connections;
mod dns;
mod doctor;
mod happy_eyeballs;
mod lab;
mod proxies;
mod trust;
