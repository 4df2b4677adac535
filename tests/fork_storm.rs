//! Forking from many threads while others call in harms neither side.
//!
//! A program without Rust's own `main`, as the library's hosts are: with it, every thread that starts or
//! ends takes a lock of the standard library's for a moment (`stack_overflow::thread_info`), and a child
//! that is forked in that moment can start no thread, whatever this library does.
#![cfg_attr(target_os = "linux", no_main)]

mod support;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
pub extern "C" fn main() -> std::ffi::c_int {
    const NAME: &str = "forking_from_many_threads_while_others_call_in_harms_neither_side";
    // As far as cargo-nextest asks: the names, those of the ignored ones, and the run.
    let asked = |word: &str| std::env::args().any(|argument| argument == word);
    if asked("--list") {
        if !asked("--ignored") {
            println!("{NAME}: test");
        }
        return 0;
    }
    // SAFETY: nothing else runs yet. The sandbox counts on it, as on much else that Rust's `main` does.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let came = std::panic::catch_unwind(forking_from_many_threads);
    let (word, passed) = match came {
        Ok(()) => ("ok", 1),
        Err(_) => ("FAILED", 0),
    };
    // As `cargo test` says it.
    println!("\nrunning 1 test\ntest {NAME} ... {word}\n");
    let failed = 1 - passed;
    println!(
        "test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out\n"
    );
    failed
}

#[cfg(target_os = "linux")]
fn forking_from_many_threads() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use support::*;

    let bench = Bench::with_tls();
    let mut config = bench.config();
    // Not a name: the child of a process whose threads are inside the system's resolver may find it
    // locked for ever, which no library can mend.
    let address = format!("https://127.0.0.1:{}", bench.sandbox.port());
    config.set_base_url(&address).unwrap();
    config.set_requests_per_minute(60).unwrap();
    // The first round has a client that nobody has used: the first use of everything is under way then.
    for _ in 0..3 {
        let client = Arc::new(bench.client(&config));
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
                        let found = child.found();
                        assert!(!found.starts_with('!'), "{found}");
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
