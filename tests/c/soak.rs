//! Two minutes, or `CLOPOS_TEST_SOAK_S`, of `soak.c`: 32 threads use clients whose tokens live for a second and
//! which are replaced all the time, while the sandbox fails in every way. At the end nothing has grown, and
//! every token was valid when it was returned.
//!
//! The C program runs and measures, the sandboxes know until when a token is valid, and this file compares. It is
//! tested with injected errors: a leak, a thread and a descriptor that stay, and a token that is returned too
//! late.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clopos_sandbox::{Fault, Sandbox, Settings};

use libtest_mimic::Trial;

use crate::program::{Build, Language, Linkage, Program, note_secrets, test};

/// The program's rounds. The first quarter of them is the warm-up.
const ROUNDS: usize = 12;

/// How long after its expiry a token may seem to be returned. The library reads its clock and returns the token,
/// then the program reads the clock. The time that its thread waited for a processor meanwhile is known and
/// subtracted. What remains is the time to copy a token, and what a hypervisor takes: a few microseconds, on a
/// shared machine sometimes milliseconds. A library that ignored the expiry would return a token for as long as
/// a fault lasts, up to 700 ms.
const TOLERANCE: Duration = Duration::from_millis(20);

/// By how much a call may exceed its timeout: a condition variable does under this load.
const LATE: Duration = Duration::from_millis(500);

/// The growth, from the maximum of the warm-up to the minimum of the last quarter, that is not a leak: parts of
/// pages, and lists that grow by doubling, such as that of the handles.
const HEAP_SLACK: u64 = 2048;
const PRIVATE_SLACK_KIB: u64 = 64;

pub fn tests() -> Vec<Trial> {
    let tests = [
        test(
            "soak::nothing_grows_and_no_token_is_returned_after_its_expiry",
            nothing_grows_and_no_token_is_returned_after_its_expiry,
        ),
        test("soak::injected_errors_are_found", injected_errors_are_found),
    ];
    tests.map(|test| test.with_ignored_flag(true)).into()
}

fn nothing_grows_and_no_token_is_returned_after_its_expiry() {
    let seconds = match env::var("CLOPOS_TEST_SOAK_S") {
        Ok(text) => text.parse().expect("CLOPOS_TEST_SOAK_S is a number"),
        Err(_) => 120,
    };
    let soak = Soak::run("soak", seconds, None);
    soak.print();
    let mut complaints = soak.complaints();
    complaints.extend(soak.unmet());
    assert!(complaints.is_empty(), "{complaints:#?}");
    println!("ok - {seconds} s with 32 threads: nothing grew, and every token was valid");
}

fn injected_errors_are_found() {
    let mistakes = [
        ("leak", "heap"),
        ("thread", "threads"),
        ("descriptor", "descriptors"),
        ("stale", "after its expiry"),
    ];
    let soaks = mistakes.map(|(mistake, finding)| {
        let soak = thread::spawn(move || Soak::run(mistake, 24, Some(mistake)));
        (mistake, finding, soak)
    });
    for (mistake, finding, soak) in soaks {
        let complaints = soak.join().expect("the soak ends").complaints();
        assert!(
            complaints.iter().any(|said| said.contains(finding)),
            "an injected {mistake} was not found: {complaints:?}"
        );
        // And nothing else is found.
        for said in &complaints {
            assert!(
                said.contains(finding) || mistake == "thread" && !said.contains("expiry"),
                "{mistake}: {said}"
            );
        }
        println!(
            "ok - the soak test finds an injected {mistake}: {}",
            complaints.join("; ")
        );
    }
}

/// What is left at the end of a round.
#[derive(Clone, Copy, Debug)]
struct Rest {
    at: Duration,
    clients: u64,
    calls: u64,
    private_kib: u64,
    heap: u64,
    threads: u64,
    files: u64,
}

/// The result of a soak.
struct Soak {
    rests: Vec<Rest>,
    /// How often a call ended with each status.
    statuses: Vec<(String, u64)>,
    /// The number of tokens, counted once for each thread that got them, and how often they were returned.
    tokens: u64,
    returned: u64,
    /// The shortest remaining time of a token when it was returned, in nanoseconds; negative if it had expired.
    least_left: i64,
    late: Duration,
    /// How often each fault was injected.
    faults: HashMap<&'static str, u64>,
    /// Failed checks of the program, and other lines.
    said: Vec<String>,
}

impl Soak {
    fn run(name: &str, seconds: u64, mistake: Option<&str>) -> Soak {
        let program = Program::compile(
            &format!("soak-{name}"),
            &["tests/c/soak.c"],
            Build(Language::C99, Linkage::Shared),
            &[],
        );
        // A service that fails, and one that does not.
        let [flapping, steady] = [(); 2].map(|()| {
            Sandbox::start(Settings {
                lifetime: Duration::from_secs(1),
                requests_per_minute: 0,
                rate_limit_reset: Some("1".into()),
                ..Settings::default()
            })
            .expect("a sandbox starts")
        });
        let length = seconds.to_string();
        let mut command = program.command(&flapping, &[&length]);
        let ca_file = program.ca_file(&[flapping.ca_pem(), steady.ca_pem()].concat());
        command
            .args(mistake)
            .env("CLOPOS_CA_FILE", ca_file)
            .env("CLOPOS_TEST_STEADY_URL", steady.url())
            // Otherwise the C library's caches of freed memory and of stacks count as used, and each arena has partly
            // used pages of its own.
            .env(
                "GLIBC_TUNABLES",
                "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1:glibc.pthread.stack_cache_size=0",
            )
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));

        let mut soak = Soak {
            rests: Vec::new(),
            statuses: Vec::new(),
            tokens: 0,
            returned: 0,
            least_left: i64::MAX,
            late: Duration::ZERO,
            faults: HashMap::new(),
            said: Vec::new(),
        };
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let faults = scope.spawn(|| flap(&flapping, &over));
            let start = Instant::now();
            let zero = start - Duration::from_nanos(monotonic_ns());
            for line in output.lines() {
                let line = line.expect("the program writes text");
                soak.take(&line, start, |value, at| {
                    let end = [&flapping, &steady].iter().find_map(|s| s.end_of(value))?;
                    let end = end.duration_since(zero).as_nanos();
                    Some(i64::try_from(end).expect("three centuries") - at)
                });
            }
            over.store(true, Ordering::Relaxed);
            soak.faults = faults.join().expect("faults come and go");
        });
        let status = child.wait().expect("the program ends");
        if !status.success() {
            soak.said.push(format!("the program ended with {status}"));
        }
        for sandbox in [flapping, steady] {
            note_secrets(&sandbox).expect("CLOPOS_TEST_SECRETS can be written");
        }
        soak
    }

    /// Reads a line of the program's output. `left` returns a token's remaining time at a moment.
    fn take(&mut self, line: &str, start: Instant, left: impl Fn(&str, i64) -> Option<i64>) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| -> u64 {
            let word = words.get(at).copied().unwrap_or_default();
            word.parse().unwrap_or_else(|_| panic!("in {line:?}"))
        };
        match words[0] {
            "token" => {
                self.tokens += 1;
                self.returned += number(2);
                match left(words[1], number(3) as i64) {
                    Some(left) => self.least_left = self.least_left.min(left),
                    None => self.said.push("a token that was never issued".into()),
                }
            }
            "rest" => self.rests.push(Rest {
                at: start.elapsed(),
                clients: number(2),
                calls: number(3),
                private_kib: number(4),
                heap: number(5),
                threads: number(6),
                files: number(7),
            }),
            "status" => self.statuses.push((words[1].to_owned(), number(2))),
            "late" => self.late = Duration::from_nanos(number(1)),
            "done" => {}
            _ => self.said.push(line.to_owned()),
        }
    }

    /// What is wrong.
    fn complaints(&self) -> Vec<String> {
        let mut found = self.said.clone();
        if self.rests.len() != ROUNDS {
            found.push(format!("{} of {ROUNDS} rounds", self.rests.len()));
            return found;
        }
        let (warm, last) = (
            &self.rests[..ROUNDS / 4],
            &self.rests[ROUNDS - ROUNDS / 4..],
        );
        let mut flat = |what: &str, of: fn(&Rest) -> u64, slack: u64| {
            let before = warm.iter().map(of).max().unwrap_or(0);
            let after = last.iter().map(of).min().unwrap_or(0);
            if after > before + slack {
                found.push(format!("{what} grew from {before} to {after}"));
            }
        };
        flat("heap (bytes)", |rest| rest.heap, HEAP_SLACK);
        flat(
            "private memory (KiB)",
            |rest| rest.private_kib,
            PRIVATE_SLACK_KIB,
        );
        flat("threads", |rest| rest.threads, 0);
        flat("descriptors", |rest| rest.files, 0);
        if self.least_left < -(TOLERANCE.as_nanos() as i64) {
            let past = Duration::from_nanos(self.least_left.unsigned_abs());
            found.push(format!("a token was returned {past:?} after its expiry"));
        }
        if self.late > LATE {
            found.push(format!("a call exceeded its timeout by {:?}", self.late));
        }
        found
    }

    /// What must have occurred: otherwise the soak proves little.
    fn unmet(&self) -> Vec<String> {
        let mut unmet = Vec::new();
        // With these, all policies of the library were in use.
        for name in [
            "OK",
            "INVALID_HANDLE",
            "WOULD_WAIT",
            "CANCELLED",
            "TIMEOUT",
            "CONNECT",
            "TLS",
            "REJECTED",
            "RATE_LIMITED",
            "SERVER",
            "PROTOCOL",
        ] {
            if !self
                .statuses
                .iter()
                .any(|(n, calls)| n == name && *calls > 0)
            {
                unmet.push(format!("no call ended with {name}"));
            }
        }
        if self.least_left > 50_000_000 {
            unmet.push("no token was returned close to its expiry".into());
        }
        unmet
    }

    fn print(&self) {
        println!(
            "| second | clients so far | calls | private KiB | heap bytes | threads | descriptors |"
        );
        println!("|---:|---:|---:|---:|---:|---:|---:|");
        for rest in &self.rests {
            println!(
                "| {} | {} | {} | {} | {} | {} | {} |",
                rest.at.as_secs(),
                rest.clients,
                rest.calls,
                rest.private_kib,
                rest.heap,
                rest.threads,
                rest.files
            );
        }
        for (status, calls) in self.statuses.iter().filter(|(_, calls)| *calls > 0) {
            println!("| {status} | {calls} calls |");
        }
        println!("| tokens returned | {} times |", self.returned);
        println!(
            "| shortest remaining time of one | {:.3} ms |",
            self.least_left as f64 / 1e6
        );
        println!(
            "| a call exceeded its timeout by | {:.1?} at most |",
            self.late
        );
        println!("| kinds of faults | {} |", self.faults.len());
    }
}

/// Lets the service work and fail by turns, until `over`.
fn flap(sandbox: &Sandbox, over: &AtomicBool) -> HashMap<&'static str, u64> {
    // Not those that change the lifetime that the sandbox knows.
    let is_fair = |fault: &&Fault| {
        let name = fault.name();
        !name.starts_with("expires-") && !["same-token", "duplicate-keys"].contains(&name)
    };
    let all: Vec<_> = Fault::NAMED.iter().filter(is_fair).collect();
    assert_ne!(all.len() % 17, 0, "some faults would never be injected");
    // Faults after which a client tries again soon. After the others it waits longer than most clients here live.
    let passing = [
        Fault::Status503,
        Fault::Status429,
        Fault::RequestHang,
        Fault::RequestReset,
        Fault::ConnectClose,
        Fault::DropIdle,
    ];
    let mut counts = HashMap::new();
    let mut random: u64 = 1;
    let mut draw = |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize % below
    };
    let mut lasting = [Fault::TlsGarbage, Fault::Status401, Fault::BodyHtml]
        .iter()
        .cycle();
    let mut next = 0;
    while !over.load(Ordering::Relaxed) {
        let fault = match draw(9) {
            0 => lasting.next().expect("it is a cycle"),
            1 | 2 => {
                // Each in turn, but not those of one kind one after the other.
                next += 17;
                all[next % all.len()]
            }
            _ => &passing[draw(passing.len())],
        };
        *counts.entry(fault.name()).or_default() += 1;
        sandbox.fail(fault.clone());
        thread::sleep(Duration::from_millis(100 + draw(600) as u64));
        sandbox.heal();
        thread::sleep(Duration::from_millis(200 + draw(800) as u64));
    }
    counts
}

/// The program's clock, which is also that of [`Instant`].
fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable for the duration of the call.
    let read = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    assert_eq!(read, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
