//! What the Rust tests share: a sandbox with clients for it, a clock that a test moves, waiting for
//! states, and the one place through which everything that the library says passes.
#![allow(dead_code)] // Every test program uses a part of it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant as Stopwatch};

use clopos_auth::testing::clock::{Clock, Instant, TimeSource};
use clopos_auth::{Client, Config, Credentials, Error, LogLevel, Status, Token};
use clopos_sandbox::{CLIENT_ID, CLIENT_SECRET, Sandbox, Settings, TEST_BRAND, TEST_INTEGRATOR};

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);
pub const HOUR: Duration = Duration::from_secs(3600);

/// How long a test waits for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

// ---------------------------------------------------------------------------------------------
// Everything that the library says

static WATCHED: Mutex<Vec<Weak<Sandbox>>> = Mutex::new(Vec::new());
/// The process that started a sandbox; in its forked children the sandbox is not to be asked.
static HOME: AtomicU32 = AtomicU32::new(0);

/// Where the transcript is kept. Asked for before any fork: a child may find the environment locked.
static DIRECTORY: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("CLOPOS_TEST_TRANSCRIPT").map(PathBuf::from));

/// Keeps a text of the library's in the transcript, and fails if it holds a secret.
pub fn transcribe(text: &str) {
    if let Some(directory) = &*DIRECTORY {
        let path = directory.join(format!("rust-{}.txt", std::process::id()));
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        writeln!(file, "{text}").expect("the transcript can be written");
    }
    check_for(text, CLIENT_SECRET);
    if HOME.load(Ordering::Relaxed) == std::process::id() {
        let mut watched = WATCHED.lock().unwrap();
        watched.retain(|sandbox| match sandbox.upgrade() {
            Some(sandbox) => {
                for token in sandbox.issued_tokens() {
                    check_for(text, &token);
                }
                true
            }
            None => false,
        });
    }
}

/// Fails if a message for people holds debug output of Rust's: `Foo(Bar`, `Foo { bar`.
fn check_is_plain(text: &str) {
    let chars: Vec<char> = text.chars().collect();
    let is_call = |pair: &[char]| pair[0].is_ascii_alphanumeric() && pair[1] == '(';
    assert!(
        !chars.windows(2).any(is_call) && !text.contains("{ "),
        "debug output in {text:?}"
    );
}

fn check_for(text: &str, secret: &str) {
    assert!(
        !text.contains(secret),
        "a secret leaked into {:?}",
        text.replace(secret, "<LEAK>")
    );
}

/// Transcribes what a call came to.
pub fn noted<T: Noted>(came: T) -> T {
    came.note();
    came
}

pub trait Noted {
    fn note(&self);
}

impl Noted for Result<Token, Error> {
    fn note(&self) {
        match self {
            Ok(token) => transcribe(&format!("{token:?}")),
            Err(error) => error.note(),
        }
    }
}

impl Noted for Error {
    fn note(&self) {
        check_is_plain(&self.to_string());
        transcribe(&format!("{self} | {self:?}"));
    }
}

/// The lines that a client logged.
#[derive(Default)]
pub struct Log(Mutex<Vec<(LogLevel, String)>>);

impl Log {
    pub fn lines(&self) -> Vec<(LogLevel, String)> {
        self.0.lock().unwrap().clone()
    }

    pub fn has(&self, level: LogLevel, part: &str) -> bool {
        self.count(level, part) > 0
    }

    pub fn count(&self, level: LogLevel, part: &str) -> usize {
        let lines = self.0.lock().unwrap();
        lines
            .iter()
            .filter(|(l, line)| *l == level && line.contains(part))
            .count()
    }

    fn push(&self, level: LogLevel, line: &str) {
        assert!(!line.contains('\n'), "one line, not {line:?}");
        check_is_plain(line);
        transcribe(&format!("{level:?}: {line}"));
        if HOME.load(Ordering::Relaxed) == std::process::id() {
            self.0.lock().unwrap().push((level, line.to_owned()));
        }
    }
}

// ---------------------------------------------------------------------------------------------
// A sandbox and clients for it

/// A sandbox on plain http without a rate limit, and what its clients log.
pub struct Bench {
    pub sandbox: Arc<Sandbox>,
    pub log: Arc<Log>,
}

impl Bench {
    pub fn start() -> Bench {
        Bench::with(|settings| settings.tls = false)
    }

    pub fn with_tls() -> Bench {
        Bench::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Bench {
        LazyLock::force(&DIRECTORY);
        HOME.store(std::process::id(), Ordering::Relaxed);
        let mut settings = Settings {
            requests_per_minute: 0,
            ..Settings::default()
        };
        change(&mut settings);
        let sandbox = Arc::new(Sandbox::start(settings).expect("a sandbox on loopback"));
        WATCHED.lock().unwrap().push(Arc::downgrade(&sandbox));
        Bench {
            sandbox,
            log: Arc::default(),
        }
    }

    /// Settings that lead to this sandbox.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        let log = self.log.clone();
        config
            .set_base_url(&self.sandbox.url())
            .expect("the sandbox has a good URL")
            .set_proxy("none")
            .expect("no proxy is a choice")
            .set_log(LogLevel::Debug, move |level, line| log.push(level, line));
        if !self.sandbox.ca_pem().is_empty() {
            config
                .add_ca_pem(self.sandbox.ca_pem().as_bytes())
                .expect("the sandbox's CA");
        }
        config
    }

    /// Settings for a client that lives by `clock`.
    pub fn config_at(&self, clock: &Arc<ManualClock>) -> Config {
        let mut config = self.config();
        clopos_auth::testing::set_clock(&mut config, Clock::Injected(clock.clone()));
        config
    }

    pub fn client(&self, config: &Config) -> Client {
        self.client_for(credentials(), config)
    }

    pub fn client_for(&self, credentials: Credentials, config: &Config) -> Client {
        transcribe(&format!("{credentials:?} {config:?}"));
        let client = Client::new(credentials, config).expect("these settings are good");
        transcribe(&format!("{client:?}"));
        client
    }

    pub fn requests(&self) -> u64 {
        self.sandbox.auth_requests()
    }

    pub fn set_latency(&self, latency: Duration) {
        self.sandbox.update(|settings| settings.latency = latency);
    }

    pub fn set_lifetime(&self, lifetime: Duration) {
        self.sandbox.update(|settings| settings.lifetime = lifetime);
    }

    /// Waits until so many requests have arrived.
    pub fn until_requests(&self, count: u64) {
        until(&format!("request {count} arrives"), || {
            self.requests() >= count
        });
    }

    pub fn until_logged(&self, level: LogLevel, part: &str) {
        until(&format!("{level:?} {part:?} is logged"), || {
            self.log.has(level, part)
        });
    }
}

pub fn credentials() -> Credentials {
    Credentials::new(CLIENT_ID, CLIENT_SECRET, TEST_BRAND, TEST_INTEGRATOR).expect("good texts")
}

pub fn wrong_credentials() -> Credentials {
    Credentials::new(CLIENT_ID, "not the secret", TEST_BRAND, TEST_INTEGRATOR).expect("good texts")
}

/// The status of a call that must have failed.
pub fn failed(came: Result<Token, Error>) -> Error {
    match noted(came) {
        Ok(_) => panic!("there should be no token"),
        Err(error) => error,
    }
}

pub fn status(came: Result<Token, Error>) -> Status {
    match noted(came) {
        Ok(_) => Status::Ok,
        Err(error) => error.status(),
    }
}

/// The token's text of a call that must have succeeded.
pub fn value(came: Result<Token, Error>) -> String {
    match noted(came) {
        Ok(token) => token.value().to_owned(),
        Err(error) => panic!("{error}"),
    }
}

// ---------------------------------------------------------------------------------------------
// Time

/// Both clocks, standing until a test moves them. It starts in the year 2026.
pub struct ManualClock {
    nanos: AtomicU64,
    unix: AtomicI64,
}

impl ManualClock {
    pub fn new() -> Arc<ManualClock> {
        Arc::new(ManualClock {
            nanos: AtomicU64::new(5_000_000_000),
            unix: AtomicI64::new(1_784_000_000),
        })
    }

    /// Lets time pass; the date goes along.
    pub fn advance(&self, time: Duration) {
        let nanos = time.as_nanos() as u64;
        let before = self.nanos.fetch_add(nanos, Ordering::SeqCst);
        let seconds = (before + nanos) / 1_000_000_000 - before / 1_000_000_000;
        self.unix.fetch_add(seconds as i64, Ordering::SeqCst);
    }

    /// Sets the date, as a user or NTP does.
    pub fn set_date(&self, unix_seconds: i64) {
        self.unix.store(unix_seconds, Ordering::SeqCst);
    }

    /// Makes time pass `factor` times as fast as it does, until the guard is dropped.
    pub fn run(self: &Arc<Self>, factor: u32) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (clock, stop) = (self.clone(), stop.clone());
            move || {
                let mut last = Stopwatch::now();
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(MS);
                    let now = Stopwatch::now();
                    clock.advance((now - last) * factor);
                    last = now;
                }
            }
        });
        Running {
            stop,
            thread: Some(thread),
        }
    }
}

impl TimeSource for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.nanos.load(Ordering::SeqCst))
    }

    fn unix_seconds(&self) -> i64 {
        self.unix.load(Ordering::SeqCst)
    }
}

/// While it lives, a clock runs.
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for a state.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Stopwatch::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        thread::sleep(MS);
    }
}

pub fn timed<R>(call: impl FnOnce() -> R) -> (R, Duration) {
    let start = Stopwatch::now();
    let result = call();
    (result, start.elapsed())
}

/// The limit for every deadline and every wake-up.
pub const PROMPT: Duration = Duration::from_millis(50);

/// Makes a call that has to return after `deadline`, and fails if it takes more than [`PROMPT`] longer.
/// What the scheduler of a busy machine adds is measured and not counted.
pub fn returns_after<R>(deadline: Duration, call: impl FnOnce() -> R) -> R {
    let control = thread::spawn(move || timed(|| thread::sleep(deadline)).1 - deadline);
    let queued = time_in_queue();
    let (result, took) = timed(call);
    let queued = time_in_queue() - queued;
    let noise = control.join().unwrap() + queued;
    assert!(took + MS >= deadline, "{took:?} is too early");
    let late = took.saturating_sub(deadline);
    assert!(late <= PROMPT + noise, "{late:?} late, noise {noise:?}");
    result
}

/// Calls `wake` and fails if a thread of `waiters` ends more than [`PROMPT`] later. What the scheduler
/// adds, and what a plain condition variable takes to wake a thread at the same time, is not counted.
pub fn ends_promptly<R>(wake: impl FnOnce(), waiters: Waiters<R>) -> Vec<R> {
    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let control = thread::spawn({
        let pair = pair.clone();
        move || {
            let mut woken = pair.0.lock().unwrap();
            while !*woken {
                woken = pair.1.wait(woken).unwrap();
            }
            Stopwatch::now()
        }
    });
    let queued = time_in_queue();
    let start = Stopwatch::now();
    wake();
    let control_start = Stopwatch::now();
    *pair.0.lock().unwrap() = true;
    pair.1.notify_all();
    let ends: Vec<_> = waiters.threads.into_iter().map(join).collect();
    let noise = control.join().unwrap() - control_start + (time_in_queue() - queued);
    ends.into_iter()
        .map(|(result, end, queued)| {
            let (late, noise) = (end - start, noise + queued);
            assert!(late <= PROMPT + noise, "{late:?} late, noise {noise:?}");
            result
        })
        .collect()
}

/// How long this thread has been ready to run while others had the processors.
fn time_in_queue() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let queued = stat.split(' ').nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(queued.unwrap_or(0))
}

// ---------------------------------------------------------------------------------------------
// Threads

/// Runs `call` on so many threads that start together.
pub fn together<R: Send + 'static>(
    threads: usize,
    call: impl Fn(usize) -> R + Send + Sync + 'static,
) -> Vec<R> {
    let call = Arc::new(call);
    let barrier = Arc::new(std::sync::Barrier::new(threads));
    let threads: Vec<_> = (0..threads)
        .map(|number| {
            let (call, barrier) = (call.clone(), barrier.clone());
            thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn(move || {
                    barrier.wait();
                    call(number)
                })
                .expect("a thread")
        })
        .collect();
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

/// Threads that make a call, of which it can be said that they are all waiting in it.
pub struct Waiters<R> {
    threads: Vec<Waiter<R>>,
    ids: Vec<i32>,
}

/// With when the call ended, and how long the thread was kept from running since it began.
type Waiter<R> = JoinHandle<(R, Stopwatch, Duration)>;

fn join<R>(waiter: Waiter<R>) -> (R, Stopwatch, Duration) {
    waiter.join().unwrap()
}

pub fn waiters<R: Send + 'static>(
    threads: usize,
    call: impl Fn() -> R + Send + Sync + 'static,
) -> Waiters<R> {
    let call = Arc::new(call);
    let (sender, receiver) = std::sync::mpsc::channel();
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let (call, sender) = (call.clone(), sender.clone());
            thread::spawn(move || {
                // SAFETY: takes no arguments and cannot fail.
                sender.send(unsafe { libc::gettid() }).unwrap();
                let queued = time_in_queue();
                let result = call();
                let end = Stopwatch::now();
                (result, end, time_in_queue() - queued)
            })
        })
        .collect();
    let ids = receiver.iter().take(threads.len()).collect();
    Waiters { threads, ids }
}

impl<R> Waiters<R> {
    /// What the calls came to.
    pub fn results(self) -> Vec<R> {
        self.threads.into_iter().map(|w| join(w).0).collect()
    }

    /// Waits until every thread sleeps and goes on sleeping.
    pub fn until_asleep(&self) {
        for id in &self.ids {
            let last = Mutex::new((String::new(), 0));
            until("a caller waits", || {
                let status = std::fs::read_to_string(format!("/proc/self/task/{id}/status"))
                    .expect("the caller is still there");
                let line = |name: &str| status.lines().find(|line| line.starts_with(name));
                let is_asleep = line("State:").is_some_and(|line| line.contains('S'));
                let switches = line("voluntary_ctxt_switches:")
                    .unwrap_or_default()
                    .to_owned();
                let mut last = last.lock().unwrap();
                if is_asleep && last.0 == switches {
                    last.1 += 1;
                } else {
                    *last = (switches, 0);
                }
                last.1 >= 3
            });
        }
    }
}

/// How often this thread has gone to sleep of its own accord (rather than by being preempted).
pub fn own_sleeps() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is writable for the call, which initialises it.
    unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()), 0);
        usage.assume_init().ru_nvcsw
    }
}

/// Runs this test program's test `name` anew under the command `wrapper`, with `variable` set. `None`
/// if `wrapper` is not there or not permitted to do what it does.
pub fn run_under(wrapper: &[&str], name: &str, variable: &str) -> Option<()> {
    let run = std::process::Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(std::env::current_exe().expect("the path of this program"))
        .args(["--exact", name, "--nocapture"])
        .env(variable, "1")
        .output()
        .ok()?;
    let stderr = String::from_utf8_lossy(&run.stderr);
    if stderr.starts_with(wrapper[0]) {
        println!("skipped, not permitted here: {stderr}");
        return None;
    }
    let stdout = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("1 passed"), "{stdout}");
    Some(())
}

// ---------------------------------------------------------------------------------------------
// Processes

/// What a process covered is otherwise written when it ends by `exit`.
fn keep_coverage() {
    #[cfg(coverage)]
    {
        unsafe extern "C" {
            safe fn __llvm_profile_write_file() -> std::ffi::c_int;
        }
        __llvm_profile_write_file();
    }
}

/// A child in which a closure runs.
pub struct Child {
    process: libc::pid_t,
    found: File,
}

impl Child {
    /// Forks. `body` must not panic (its message might wait for a lock) nor use the sandbox.
    pub fn fork(body: impl FnOnce() -> String) -> Child {
        let mut pipe = [0; 2];
        // SAFETY: `pipe` has room for two descriptors. After `fork`, the child runs on this thread
        // alone, uses descriptors that it owns, and leaves by `_exit`.
        unsafe {
            assert_eq!(libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC), 0);
            match libc::fork() {
                -1 => panic!("{}", std::io::Error::last_os_error()),
                0 => {
                    libc::alarm(20);
                    let found = body();
                    keep_coverage();
                    let written = File::from_raw_fd(pipe[1]).write_all(found.as_bytes());
                    libc::_exit(i32::from(written.is_err()));
                }
                process => {
                    libc::close(pipe[1]);
                    let found = File::from_raw_fd(pipe[0]);
                    Child { process, found }
                }
            }
        }
    }

    /// What it found.
    pub fn found(mut self) -> String {
        let mut found = String::new();
        self.found.read_to_string(&mut found).expect("UTF-8");
        let mut status = 0;
        // SAFETY: `process` is a child that nobody has waited for.
        let ended = unsafe { libc::waitpid(self.process, &mut status, 0) };
        assert_eq!(ended, self.process);
        assert_eq!(status, 0, "the child was stuck or failed, after {found:?}");
        found
    }
}

/// The token, or the error's text after a `!`.
pub fn text_of(came: Result<Token, Error>) -> String {
    match came {
        Ok(token) => token.value().to_owned(),
        Err(error) => {
            transcribe(&format!("{error} | {error:?}"));
            format!("!{error}")
        }
    }
}
