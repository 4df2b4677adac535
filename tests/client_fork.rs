//! Clients in forked children, and in processes without threads, random numbers or descriptors. A child writes
//! its result to a pipe and exits, or is killed by its alarm. Forks on many threads are in `fork_storm.rs`.
#![cfg(target_os = "linux")]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use clopos_auth::{Client, Config, LogLevel, Status};
use clopos_sandbox::Fault;

use support::*;

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Checks that `child` is a token that the sandbox has issued, and not the parent's.
fn assert_is_own(fixture: &Fixture, child: &str, parent: &str) {
    assert!(!child.starts_with('!'), "{child}");
    assert_ne!(child, parent, "the child used its parent's token");
    let issued = fixture.sandbox.issued_tokens();
    assert!(issued.iter().any(|token| token == child));
}

#[test]
fn a_child_gets_its_own_token_on_its_own_connection() {
    for fixture in [Fixture::start(), Fixture::with_tls()] {
        let client = fixture.client(&fixture.config());
        let parents = value(client.get_token(None));
        assert_eq!(fixture.sandbox.connections(), 1);
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
        assert_is_own(&fixture, &child.output(), &parents);
        assert_eq!(fixture.requests(), 2);
        assert_eq!(fixture.sandbox.connections(), 2);

        // The parent still has its token and its connection, which the child did not use.
        assert_eq!(value(client.get_token(NOW)), parents);
        assert_ne!(value(client.authenticate(None)), parents);
        assert_eq!(fixture.sandbox.connections(), 2);
    }
}

#[test]
fn a_child_forked_during_a_request_gets_its_own_token() {
    let fixture = Fixture::start();
    fixture.set_latency(2 * SECOND);
    let client = Arc::new(fixture.client(&fixture.config()));
    let callers = waiters(3, {
        let client = client.clone();
        move || value(client.get_token(None))
    });
    fixture.until_requests(1);
    fixture.set_latency(Duration::ZERO);
    callers.until_asleep();
    let child = Child::fork(|| text_of(client.get_token(None)));
    let child = child.output();
    for caller in callers.results() {
        assert_is_own(&fixture, &child, &caller);
    }
    assert_eq!(fixture.requests(), 2);
}

#[test]
fn a_child_does_not_inherit_the_wait_for_the_next_attempt() {
    let fixture = Fixture::start();
    fixture.sandbox.fail_times(Fault::Status401, 1);
    let client = fixture.client(&fixture.config());
    assert!(client.get_token(None).is_err());
    let child = Child::fork(|| text_of(client.get_token(None)));
    assert_is_own(&fixture, &child.output(), "");
}

#[test]
fn the_state_of_a_child_is_its_own() {
    let fixture = Fixture::start();
    let client = fixture.client(&fixture.config());
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
    assert_eq!(child.output(), "0 true 1 true");
    assert_eq!(client.state().requests, 1);
}

#[test]
fn grandchildren_get_their_own_tokens_too() {
    let fixture = Fixture::start();
    let client = fixture.client(&fixture.config());
    let parents = value(client.get_token(None));
    let child = Child::fork(|| {
        // The child itself has not used the client yet.
        let grandchild = Child::fork(|| text_of(client.get_token(None)));
        let grandchild = grandchild.output();
        let own = text_of(client.get_token(None));
        if own == grandchild {
            return "!the same".into();
        }
        let second = Child::fork(|| text_of(client.get_token(None))).output();
        if second == own {
            "!the same".into()
        } else {
            second
        }
    });
    assert_is_own(&fixture, &child.output(), &parents);
    assert_eq!(fixture.requests(), 4);
    assert_eq!(value(client.get_token(NOW)), parents);
}

#[test]
fn a_client_closed_in_a_child_stays_usable_in_the_parent() {
    let fixture = Fixture::with_tls();
    let client = Arc::new(fixture.client(&fixture.config()));
    let parents = value(client.get_token(None));
    let in_child = client.clone();
    let child = Child::fork(move || {
        in_child.close();
        match in_child.get_token(None) {
            Err(error) => error.status().name().to_owned(),
            Ok(_) => "!still there".into(),
        }
    });
    assert_eq!(child.output(), "CANCELLED");
    assert_eq!(value(client.get_token(NOW)), parents);
    assert_ne!(value(client.authenticate(None)), parents);
    assert_eq!(fixture.sandbox.connections(), 1);
}

// ---------------------------------------------------------------------------------------------
// Without threads

/// Makes this process unable to start a thread. Returns whether that succeeded.
fn forbid_threads() -> bool {
    const NOBODY: u32 = 65_534;
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: plain system calls; `none` lives long enough.
    unsafe {
        // The limit does not apply to root. The saved user id permits to be root again.
        if libc::geteuid() == 0 && libc::setresuid(NOBODY, NOBODY, 0) != 0 {
            return false;
        }
        libc::setrlimit(libc::RLIMIT_NPROC, &none) == 0
    }
}

/// Runs `body` in a child that cannot start a thread.
fn without_threads(body: impl FnOnce() -> String) -> String {
    Child::fork(|| {
        let body = body;
        if !forbid_threads() || thread::Builder::new().spawn(|| {}).is_ok() {
            return "!threads can still be started".into();
        }
        let output = body();
        // SAFETY: takes no pointers. It fails, and changes nothing, if the process was not root.
        unsafe { libc::seteuid(0) };
        output
    })
    .output()
}

#[test]
fn without_threads_requests_run_on_the_calling_thread() {
    for fixture in [Fixture::start(), Fixture::with_tls()] {
        let client = fixture.client(&fixture.config());
        let output = without_threads(|| {
            let first = text_of(client.get_token(None));
            let second = text_of(client.authenticate(None));
            if first == second || first.starts_with('!') {
                return format!("!{first}");
            }
            second
        });
        assert_is_own(&fixture, &output, "");
        assert_eq!(fixture.requests(), 2);
    }
}

#[test]
fn without_threads_a_call_that_may_not_wait_returns_internal() {
    let fixture = Fixture::start();
    let client = fixture.client(&fixture.config());
    let output = without_threads(|| text_of(client.get_token(NOW)));
    assert_eq!(output, "!INTERNAL: cannot start a thread for the request");
    assert_eq!(fixture.requests(), 0);
}

/// The change is announced on the calling thread. A program that calls again at each change gets the error with
/// a time to wait, so it does not call endlessly.
#[test]
fn without_threads_a_call_that_may_not_wait_counts_as_a_failed_attempt() {
    let fixture = Fixture::start();
    let mut config = fixture.config();
    let called = Arc::new(AtomicUsize::new(0));
    let calls = called.clone();
    let own_client: Arc<OnceLock<Client>> = Arc::default();
    let in_function = own_client.clone();
    config.set_on_change(move |status| {
        let error = in_function.get().unwrap().get_token(NOW).err();
        if status == Status::Internal && error.is_some_and(|error| error.retry_after().is_some()) {
            calls.fetch_add(1, Ordering::SeqCst);
        }
    });
    let client = own_client.get_or_init(|| fixture.client(&config));
    let output = without_threads(|| {
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
    assert_eq!(output, "1 true 1 1 false");
    assert_eq!(fixture.requests(), 1);
}

#[test]
fn without_threads_a_call_retries_and_keeps_its_deadline() {
    let fixture = Fixture::start();
    let client = fixture.client(&fixture.config());
    fixture.sandbox.fail_times(Fault::Status503, 1);
    let output = without_threads(|| text_of(client.get_token(None)));
    assert_is_own(&fixture, &output, "");
    assert_eq!(fixture.requests(), 2);

    fixture.sandbox.fail(Fault::RequestHang);
    let output = without_threads(|| {
        let (result, took) = timed(|| client.get_token(Some(200 * MS)));
        format!("{} {}", took.as_millis(), text_of(result))
    });
    let (took, result) = output.split_once(' ').unwrap();
    assert!(result.starts_with("!TIMEOUT"), "{output}");
    assert!(
        (199..=5000).contains(&took.parse::<u32>().unwrap()),
        "{output}"
    );
}

#[test]
fn without_threads_the_time_of_the_log_function_counts_for_the_deadline() {
    let fixture = Fixture::start();
    fixture.sandbox.fail(Fault::RequestHang);
    let clock = ManualClock::new();
    let mut config = fixture.config_at(&clock);
    config.set_log(LogLevel::Debug, {
        let clock = clock.clone();
        move |_, line| {
            if line.starts_with("sending request") {
                clock.advance(HOUR);
            }
        }
    });
    let client = fixture.client(&config);
    let output = without_threads(|| {
        let (result, took) = timed(|| text_of(client.get_token(Some(2 * SECOND))));
        format!("{} {result}", took < SECOND)
    });
    assert!(output.starts_with("true !TIMEOUT"), "{output}");
}

/// Makes a call whose request hangs, in a child that cannot start a thread. When the request has arrived, `wake`
/// runs on another thread of the child.
fn hangs_without_threads(timeout: Duration, wake: impl Fn(&Client) + Send + 'static) -> String {
    let fixture = Fixture::start();
    fixture.sandbox.fail(Fault::RequestHang);
    let client = Arc::new(fixture.client(&fixture.config()));
    let (mut arrived, mut arrival) = std::io::pipe().unwrap();
    let child = Child::fork(|| {
        let woken = Arc::new(AtomicBool::new(false));
        let _waker = thread::spawn({
            let (client, woken) = (client.clone(), woken.clone());
            move || {
                arrived
                    .read_exact(&mut [0])
                    .expect("the parent writes a byte");
                wake(&client);
                woken.store(true, Ordering::SeqCst);
            }
        });
        if !forbid_threads() {
            return "!threads can still be started".into();
        }
        let result = text_of(client.get_token(Some(timeout)));
        until("the other thread is done", || woken.load(Ordering::SeqCst));
        result
    });
    fixture.until_requests(1);
    arrival.write_all(&[0]).unwrap();
    child.output()
}

#[test]
fn without_threads_a_close_ends_the_call_that_sends_and_a_cancel_does_not() {
    let cancelled = hangs_without_threads(2 * SECOND, Client::cancel);
    assert!(cancelled.starts_with("!TIMEOUT"), "{cancelled}");
    let closed = hangs_without_threads(HOUR, Client::close);
    assert!(closed.starts_with("!CANCELLED"), "{closed}");
}

#[test]
fn without_threads_a_token_is_refreshed_only_after_it_expired() {
    let fixture = Fixture::start();
    let clock = ManualClock::new();
    let client = fixture.client(&fixture.config_at(&clock));
    let output = without_threads(|| {
        let old = text_of(client.get_token(None));
        clock.advance(HOUR - 300 * SECOND);
        for _ in 0..3 {
            if text_of(client.get_token(None)) != old {
                return "!not the old token".into();
            }
            clock.advance(SECOND);
        }
        clock.advance(HOUR);
        let new = text_of(client.get_token(None));
        if new == old {
            "!the expired token".into()
        } else {
            new
        }
    });
    assert_is_own(&fixture, &output, "");
    assert_eq!(fixture.requests(), 2);
}

// ---------------------------------------------------------------------------------------------
// Without random numbers

/// Makes the system's random numbers unavailable to this process, which has one thread: its root directory
/// becomes empty, and the system call `getrandom` fails. Returns whether that succeeded.
fn forbid_randomness() -> bool {
    let directory = std::env::temp_dir().join(format!("clopos-empty-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let path = std::ffi::CString::new(directory.to_str().unwrap()).unwrap();
    let filter = [
        // Loads the number of the system call.
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

/// The results of two clients, one made before random numbers become unavailable and one after.
fn without_randomness(fixture: &Fixture, address: &str) -> String {
    // The empty root directory has no files, so there is no name to resolve and no log.
    let mut config = Config::new();
    config.set_base_url(address).unwrap();
    config.set_proxy("none").unwrap();
    config.set_max_attempts(1).unwrap();
    if !fixture.sandbox.ca_pem().is_empty() {
        config
            .add_ca_pem(fixture.sandbox.ca_pem().as_bytes())
            .unwrap();
    }
    let before = Client::new(credentials(), &config).unwrap();
    Child::fork(|| {
        let root = File::open("/").unwrap();
        if !forbid_randomness() {
            return SKIPPED.into();
        }
        let after = Client::new(credentials(), &config).unwrap();
        let result = [before.get_token(None), after.get_token(None)];
        // The transcript and the coverage data are files.
        // SAFETY: plain system calls with an open descriptor and a static string.
        unsafe {
            libc::fchdir(root.as_raw_fd());
            libc::chroot(c".".as_ptr());
        }
        result.map(text_of).join("\n")
    })
    .output()
}

#[test]
fn without_random_numbers_plain_http_works_and_tls_names_what_is_missing() {
    let fixture = Fixture::start();
    let output = without_randomness(
        &fixture,
        &format!("http://127.0.0.1:{}", fixture.sandbox.port()),
    );
    if output == SKIPPED {
        println!("{SKIPPED}");
        return;
    }
    for token in output.lines() {
        assert_is_own(&fixture, token, "");
    }
    assert_eq!(fixture.requests(), 2);

    let fixture = Fixture::with_tls();
    let output = without_randomness(
        &fixture,
        &format!("https://127.0.0.1:{}", fixture.sandbox.port()),
    );
    for error in output.lines() {
        assert!(error.starts_with("!INTERNAL: "), "{error}");
        assert!(
            error.contains("the system gives no random numbers"),
            "{error}"
        );
    }
    assert_eq!(output.lines().count(), 2);
    assert_eq!(fixture.requests(), 0);
}

#[test]
fn without_a_free_descriptor_a_call_says_so_and_the_next_one_succeeds() {
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
    let fixture = Fixture::with_tls();
    // An address and no log, because the resolver and the transcript need descriptors.
    let address = format!("https://127.0.0.1:{}", fixture.sandbox.port());
    let mut config = Config::new();
    config.set_base_url(&address).unwrap();
    config.set_proxy("none").unwrap();
    let pem = fixture.sandbox.ca_pem().as_bytes();
    config.add_ca_pem(pem).unwrap();
    let client = fixture.client(&config);
    let output = Child::fork(|| {
        let before = limit(3);
        let result = client.get_token(Some(100 * MS));
        limit(before);
        format!("{}\n{}", text_of(result), text_of(client.get_token(None)))
    })
    .output();
    let (result, token) = output.split_once('\n').unwrap();
    assert!(result.starts_with("!CONNECT: "), "{output}");
    assert!(
        result.contains("127.0.0.1: Too many open files"),
        "{output}"
    );
    assert_is_own(&fixture, token, "");
    assert_eq!(fixture.requests(), 1);
}

#[test]
fn a_client_first_used_in_ten_children_sends_one_request_in_each() {
    let fixture = Fixture::start();
    let client: Client = fixture.client(&fixture.config());
    let children: Vec<_> = (0..10)
        .map(|_| Child::fork(|| text_of(client.get_token(None))))
        .collect();
    let tokens: std::collections::BTreeSet<_> = children.into_iter().map(Child::output).collect();
    assert_eq!(tokens.len(), 10);
    assert_eq!(fixture.requests(), 10);
}
