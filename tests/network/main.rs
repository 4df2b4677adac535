//! The network as stores have it: name servers, proxies, links and certificates that are broken.
//! Faults by stage are in `tests/faults.rs`.
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

mod bad_links;
mod clock;
mod connections;
mod diagnosis;
mod dns;
mod happy_eyeballs;
mod input;
mod lab;
mod proxies;
mod trust;
