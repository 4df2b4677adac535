//! Children made by `fork`, and processes that can start no thread. The children never return: they
//! write what they found to a pipe and exit, or are killed by their alarm. Forking from many threads at
//! once is in `fork_storm.rs`.
#![cfg(target_os = "linux")]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use clopos_auth::{Client, Config, Status};
use clopos_sandbox::Fault;

use support::*;

const NOW: Option<Duration> = Some(Duration::ZERO);

fn assert_is_own(bench: &Bench, child: &str, parent: &str) {
    assert!(!child.starts_with('!'), "{child}");
    assert_ne!(child, parent, "the child used its parent's token");
    let issued = bench.sandbox.issued_tokens();
    assert!(issued.iter().any(|token| token == child));
}

#[test]
fn a_child_of_a_used_client_gets_a_token_of_its_own_on_a_connection_of_its_own() {
    for bench in [Bench::start(), Bench::with_tls()] {
        let client = bench.client(&bench.config());
        let parents = value(client.get_token(None));
        assert_eq!(bench.sandbox.connections(), 1);
        let child = Child::fork(|| {
            let first = text_of(client.get_token(None));
            let second = text_of(client.get_token(NOW));
            if first != second {
                return "!two tokens".into();
            }
            client.close();
            drop(client.get_token(None));
            first
        });
        assert_is_own(&bench, &child.found(), &parents);
        assert_eq!(bench.requests(), 2);
        assert_eq!(bench.sandbox.connections(), 2);

        // The parent has its token still, and its connection, which nobody wrote to.
        assert_eq!(value(client.get_token(NOW)), parents);
        assert_ne!(value(client.authenticate(None)), parents);
        assert_eq!(bench.sandbox.connections(), 2);
    }
}

#[test]
fn a_child_forked_while_a_flight_is_in_the_air_gets_a_token_of_its_own() {
    let bench = Bench::start();
    bench.set_latency(300 * MS);
    let client = Arc::new(bench.client(&bench.config()));
    let callers = waiters(3, {
        let client = client.clone();
        move || value(client.get_token(None))
    });
    bench.until_requests(1);
    callers.until_asleep();
    let child = Child::fork(|| text_of(client.get_token(None)));
    let child = child.found();
    for caller in callers.results() {
        assert_is_own(&bench, &child, &caller);
    }
    assert_eq!(bench.requests(), 2);
}

#[test]
fn a_child_does_not_inherit_the_wait_for_the_next_attempt() {
    let bench = Bench::start();
    bench.sandbox.fail_times(Fault::Status401, 1);
    let client = bench.client(&bench.config());
    assert!(client.get_token(None).is_err());
    let child = Child::fork(|| text_of(client.get_token(None)));
    assert_is_own(&bench, &child.found(), "");
}

#[test]
fn the_state_of_a_child_is_its_own() {
    let bench = Bench::start();
    let client = bench.client(&bench.config());
    let parents = client.get_token(None).unwrap().serial();
    let child = Child::fork(|| {
        let (before, own) = (client.state(), client.get_token(None));
        let (after, own) = (client.state(), own.unwrap().serial());
        format!(
            "{} {} {} {}",
            before.requests,
            before.last_result.is_none() && before.expires_in.is_none(),
            after.requests,
            own != parents
        )
    });
    assert_eq!(child.found(), "0 true 1 true");
    assert_eq!(client.state().requests, 1);
}

#[test]
fn grandchildren_get_their_own_tokens_too() {
    let bench = Bench::start();
    let client = bench.client(&bench.config());
    let parents = value(client.get_token(None));
    let child = Child::fork(|| {
        // The child itself has not used the client.
        let grandchild = Child::fork(|| text_of(client.get_token(None)));
        let grandchild = grandchild.found();
        let own = text_of(client.get_token(None));
        if own == grandchild {
            return "!the same".into();
        }
        let second = Child::fork(|| text_of(client.get_token(None))).found();
        if second == own {
            "!the same".into()
        } else {
            second
        }
    });
    assert_is_own(&bench, &child.found(), &parents);
    assert_eq!(bench.requests(), 4);
    assert_eq!(value(client.get_token(NOW)), parents);
}

#[test]
fn a_child_may_free_what_its_parent_goes_on_using() {
    let bench = Bench::with_tls();
    let client = Arc::new(bench.client(&bench.config()));
    let parents = value(client.get_token(None));
    let in_child = client.clone();
    let child = Child::fork(move || {
        in_child.close();
        match in_child.get_token(None) {
            Err(error) => error.status().name().to_owned(),
            Ok(_) => "!still there".into(),
        }
    });
    assert_eq!(child.found(), "CANCELLED");
    assert_eq!(value(client.get_token(NOW)), parents);
    assert_ne!(value(client.authenticate(None)), parents);
    assert_eq!(bench.sandbox.connections(), 1);
}

// ---------------------------------------------------------------------------------------------
// No thread to be had

/// Makes this process unable to start a thread. Says whether it worked.
fn forbid_threads() -> bool {
    const NOBODY: u32 = 65_534;
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: plain system calls; `none` lives long enough.
    unsafe {
        // The limit does not bind root, who can be root again afterwards.
        if libc::geteuid() == 0 && libc::setresuid(NOBODY, NOBODY, 0) != 0 {
            return false;
        }
        libc::setrlimit(libc::RLIMIT_NPROC, &none) == 0
    }
}

/// Runs `body` in a child that can start no thread.
fn without_threads(body: impl FnOnce() -> String) -> String {
    Child::fork(|| {
        let body = body;
        if !forbid_threads() || thread::Builder::new().spawn(|| {}).is_ok() {
            return "!threads can still be started".into();
        }
        let found = body();
        // SAFETY: takes no pointers; fails, and changes nothing, for who was not root.
        unsafe { libc::seteuid(0) };
        found
    })
    .found()
}

#[test]
fn where_no_thread_can_be_started_calls_work_on_the_callers() {
    for bench in [Bench::start(), Bench::with_tls()] {
        let client = bench.client(&bench.config());
        let found = without_threads(|| {
            let first = text_of(client.get_token(None));
            let second = text_of(client.authenticate(None));
            if first == second || first.starts_with('!') {
                return format!("!{first}");
            }
            second
        });
        assert_is_own(&bench, &found, "");
        assert_eq!(bench.requests(), 2);
    }
}

#[test]
fn where_no_thread_can_be_started_a_call_that_may_not_wait_says_so() {
    let bench = Bench::start();
    let client = bench.client(&bench.config());
    let found = without_threads(|| text_of(client.get_token(NOW)));
    assert_eq!(found, "!INTERNAL: cannot start a thread for the request");
    assert_eq!(bench.requests(), 0);
}

/// It is announced on the thread of the call. A program that calls again at each change gets the error
/// with a time to wait, and does not call for ever.
#[test]
fn where_no_thread_can_be_started_a_call_that_may_not_wait_is_a_failed_attempt() {
    let bench = Bench::start();
    let mut config = bench.config();
    let called = Arc::new(AtomicUsize::new(0));
    let calls = called.clone();
    let found: Arc<OnceLock<Client>> = Arc::default();
    let in_function = found.clone();
    config.set_on_change(move |status| {
        let error = in_function.get().unwrap().get_token(NOW).err();
        if status == Status::Internal && error.is_some_and(|error| error.retry_after().is_some()) {
            calls.fetch_add(1, Ordering::SeqCst);
        }
    });
    let client = found.get_or_init(|| bench.client(&config));
    let found = without_threads(|| {
        let error = client.get_token(NOW).unwrap_err();
        let state = client.state();
        format!(
            "{} {} {} {} {}",
            called.load(Ordering::SeqCst),
            error
                .retry_after()
                .is_some_and(|wait| wait > 100 * MS && wait <= SECOND),
            state.requests,
            state.failures,
            text_of(client.get_token(None)).starts_with('!'),
        )
    });
    assert_eq!(found, "1 true 1 1 false");
    assert_eq!(bench.requests(), 1);
}

#[test]
fn where_no_thread_can_be_started_a_call_retries_and_keeps_its_deadline() {
    let bench = Bench::start();
    let client = bench.client(&bench.config());
    bench.sandbox.fail_times(Fault::Status503, 1);
    let found = without_threads(|| text_of(client.get_token(None)));
    assert_is_own(&bench, &found, "");
    assert_eq!(bench.requests(), 2);

    bench.sandbox.fail(Fault::RequestHang);
    let found = without_threads(|| {
        let (came, took) = timed(|| text_of(client.get_token(Some(200 * MS))));
        format!("{} {came}", took.as_millis())
    });
    let (took, came) = found.split_once(' ').unwrap();
    assert!(came.starts_with("!TIMEOUT"), "{found}");
    assert!(
        (199..=300).contains(&took.parse::<u32>().unwrap()),
        "{found}"
    );
}

/// Makes a call whose request hangs, in a child that can start no thread; `wake` runs there on another
/// thread once the request has arrived.
fn hangs_without_threads(timeout: Duration, wake: impl Fn(&Client) + Send + 'static) -> String {
    let bench = Bench::start();
    bench.sandbox.fail(Fault::RequestHang);
    let client = Arc::new(bench.client(&bench.config()));
    let (mut arrived, mut tell) = std::io::pipe().unwrap();
    let child = Child::fork(|| {
        let woken = Arc::new(AtomicBool::new(false));
        let _waker = thread::spawn({
            let (client, woken) = (client.clone(), woken.clone());
            move || {
                arrived.read_exact(&mut [0]).expect("the parent says so");
                wake(&client);
                woken.store(true, Ordering::SeqCst);
            }
        });
        if !forbid_threads() {
            return "!threads can still be started".into();
        }
        let came = text_of(client.get_token(Some(timeout)));
        until("the other thread is done", || woken.load(Ordering::SeqCst));
        came
    });
    bench.until_requests(1);
    tell.write_all(&[0]).unwrap();
    child.found()
}

/// As the header says.
#[test]
fn where_no_thread_can_be_started_cancel_does_not_end_the_call_that_sends_but_a_close_does() {
    let cancelled = hangs_without_threads(2 * SECOND, Client::cancel);
    assert!(cancelled.starts_with("!TIMEOUT"), "{cancelled}");
    let closed = hangs_without_threads(HOUR, Client::close);
    assert!(closed.starts_with("!CANCELLED"), "{closed}");
}

#[test]
fn where_no_thread_can_be_started_a_refresh_ahead_waits_until_it_is_needed() {
    let bench = Bench::start();
    let clock = ManualClock::new();
    let client = bench.client(&bench.config_at(&clock));
    let found = without_threads(|| {
        let old = text_of(client.get_token(None));
        clock.advance(HOUR - 300 * SECOND);
        for _ in 0..3 {
            if text_of(client.get_token(None)) != old {
                return "!not the old one".into();
            }
            clock.advance(SECOND);
        }
        clock.advance(HOUR);
        let new = text_of(client.get_token(None));
        if new == old { "!dead".into() } else { new }
    });
    assert_is_own(&bench, &found, "");
    assert_eq!(bench.requests(), 2);
}

// ---------------------------------------------------------------------------------------------
// No randomness to be had

/// Takes the system's random numbers from this process, which has one thread: its root directory is
/// empty, and `getrandom` is a system call that it does not have. Says whether it worked.
fn forbid_randomness() -> bool {
    let directory = std::env::temp_dir().join(format!("clopos-empty-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let path = std::ffi::CString::new(directory.to_str().unwrap()).unwrap();
    let filter = [
        // Of the system call's data, the number.
        (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        (
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_getrandom as u32,
        ),
        (
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        ),
        (libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let mut filter = filter.map(|(code, jt, jf, k)| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    });
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: plain system calls; `path`, `filter` and `program` live long enough.
    unsafe {
        let is_root = libc::geteuid() == 0;
        let is_empty = (is_root || libc::unshare(libc::CLONE_NEWUSER) == 0)
            && libc::chdir(path.as_ptr()) == 0
            && libc::rmdir(path.as_ptr()) == 0
            && libc::chroot(c".".as_ptr()) == 0;
        is_empty
            && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
            && libc::getrandom(std::ptr::null_mut(), 0, 0) == -1
    }
}

const SKIPPED: &str = "SKIPPED: this process may not change its root directory";

/// What clients with these settings come to, made before and after the system's randomness was lost.
fn without_randomness(bench: &Bench, address: &str) -> String {
    // No name, and no log, which opens a file: there are none in an empty directory.
    let mut config = Config::new();
    config.set_base_url(address).unwrap();
    config.set_proxy("none").unwrap();
    config.set_max_attempts(1).unwrap();
    if !bench.sandbox.ca_pem().is_empty() {
        config
            .add_ca_pem(bench.sandbox.ca_pem().as_bytes())
            .unwrap();
    }
    let before = Client::new(credentials(), &config).unwrap();
    Child::fork(|| {
        let root = File::open("/").unwrap();
        if !forbid_randomness() {
            return SKIPPED.into();
        }
        let after = Client::new(credentials(), &config).unwrap();
        let came = [before.get_token(None), after.get_token(None)];
        // The transcript is a file, and what was covered is written to one.
        // SAFETY: plain system calls with an open descriptor and a text that lives for ever.
        unsafe {
            libc::fchdir(root.as_raw_fd());
            libc::chroot(c".".as_ptr());
        }
        came.map(text_of).join("\n")
    })
    .found()
}

#[test]
fn where_there_is_no_randomness_plain_http_works_and_tls_says_what_is_missing() {
    let bench = Bench::start();
    let found = without_randomness(
        &bench,
        &format!("http://127.0.0.1:{}", bench.sandbox.port()),
    );
    if found == SKIPPED {
        println!("{SKIPPED}");
        return;
    }
    for token in found.lines() {
        assert_is_own(&bench, token, "");
    }
    assert_eq!(bench.requests(), 2);

    let bench = Bench::with_tls();
    let found = without_randomness(
        &bench,
        &format!("https://127.0.0.1:{}", bench.sandbox.port()),
    );
    for error in found.lines() {
        assert!(error.starts_with("!INTERNAL: "), "{error}");
        assert!(
            error.contains("the system gives no random numbers"),
            "{error}"
        );
    }
    assert_eq!(found.lines().count(), 2);
    assert_eq!(bench.requests(), 0);
}

#[test]
fn where_no_descriptor_is_left_a_call_says_so_and_the_next_one_succeeds() {
    fn limit(descriptors: libc::rlim_t) -> libc::rlim_t {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: plain system calls; `limit` lives long enough.
        unsafe {
            libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
            let before = std::mem::replace(&mut limit.rlim_cur, descriptors);
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
            before
        }
    }
    let bench = Bench::with_tls();
    // Not a name: the system's resolver needs descriptors, too. And no log, which opens a file.
    let address = format!("https://127.0.0.1:{}", bench.sandbox.port());
    let mut config = Config::new();
    config.set_base_url(&address).unwrap();
    config.set_proxy("none").unwrap();
    let pem = bench.sandbox.ca_pem().as_bytes();
    config.add_ca_pem(pem).unwrap();
    let client = bench.client(&config);
    let found = Child::fork(|| {
        let before = limit(3);
        let came = client.get_token(Some(100 * MS));
        limit(before);
        format!("{}\n{}", text_of(came), text_of(client.get_token(None)))
    })
    .found();
    let (came, token) = found.split_once('\n').unwrap();
    assert!(came.starts_with("!CONNECT: "), "{found}");
    assert!(came.contains("127.0.0.1: Too many open files"), "{found}");
    assert_is_own(&bench, token, "");
    assert_eq!(bench.requests(), 1);
}

/// Not one more token than callers asked for, in all these processes.
#[test]
fn a_client_made_before_a_fork_and_first_used_in_many_children_asks_once_in_each() {
    let bench = Bench::start();
    let client: Client = bench.client(&bench.config());
    let children: Vec<_> = (0..10)
        .map(|_| Child::fork(|| text_of(client.get_token(None))))
        .collect();
    let tokens: std::collections::BTreeSet<_> = children.into_iter().map(Child::found).collect();
    assert_eq!(tokens.len(), 10);
    assert_eq!(bench.requests(), 10);
}
