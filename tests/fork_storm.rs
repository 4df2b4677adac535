//! Many threads fork while others call the client.
//!
//! A program without Rust's `main`, like the hosts of the library. With it, every thread that starts or ends
//! holds a lock of the standard library for a moment (`stack_overflow::thread_info`), and a child forked in that
//! moment cannot start a thread.
#![cfg_attr(target_os = "linux", no_main)]

mod support;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
pub extern "C" fn main() -> std::ffi::c_int {
    const NAME: &str = "forks_on_many_threads_during_calls_affect_neither_parent_nor_child";
    // The arguments that cargo-nextest uses: list the tests, list the ignored tests, run.
    let has = |name: &str| std::env::args().any(|argument| argument == name);
    if has("--list") {
        if !has("--ignored") {
            println!("{NAME}: test");
        }
        return 0;
    }
    // SAFETY: no other thread runs yet. Rust's `main` would do this, and the sandbox needs it.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let result = std::panic::catch_unwind(fork_on_many_threads);
    let (word, passed) = match result {
        Ok(()) => ("ok", 1),
        Err(_) => ("FAILED", 0),
    };
    // In the format of `cargo test`.
    println!("\nrunning 1 test\ntest {NAME} ... {word}\n");
    let failed = 1 - passed;
    println!(
        "test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out\n"
    );
    failed
}

#[cfg(target_os = "linux")]
fn fork_on_many_threads() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use support::*;

    let fixture = Fixture::with_tls();
    let mut config = fixture.config();
    // An address, because a child that is forked while a thread is in the system's resolver may find the
    // resolver locked indefinitely. This library cannot prevent that.
    let address = format!("https://127.0.0.1:{}", fixture.sandbox.port());
    config.set_base_url(&address).unwrap();
    config.set_requests_per_minute(60).unwrap();
    // In the first round, forks happen during the first use of the library.
    for _ in 0..3 {
        let client = Arc::new(fixture.client(&config));
        let over = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (client, over) = (client.clone(), over.clone());
                thread::spawn(move || {
                    let mut tokens = 0;
                    while !over.load(Ordering::Relaxed) {
                        if client.get_token(Some(Duration::ZERO)).is_ok() {
                            tokens += 1;
                        }
                        let _ = client.authenticate(Some(Duration::ZERO));
                        thread::sleep(MS);
                    }
                    tokens
                })
            })
            .collect();
        let forkers: Vec<_> = (0..4)
            .map(|_| {
                let client = client.clone();
                thread::spawn(move || {
                    for _ in 0..8 {
                        let child = Child::fork(|| text_of(client.get_token(Some(15 * SECOND))));
                        let output = child.output();
                        assert!(!output.starts_with('!'), "{output}");
                    }
                })
            })
            .collect();
        for forker in forkers {
            forker.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        let tokens: u32 = callers.into_iter().map(|c| c.join().unwrap()).sum();
        assert!(tokens > 0);
    }
}
