//! What the Rust tests share: a sandbox with clients for it, a clock that a test moves, functions that wait
//! for a state, and the transcript of all log lines and messages.
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

/// A test fails if a state that it waits for has not come after this time.
const STATE_DEADLINE: Duration = Duration::from_secs(20);

// ---------------------------------------------------------------------------------------------
// The transcript of all log lines and messages

static WATCHED: Mutex<Vec<Weak<Sandbox>>> = Mutex::new(Vec::new());
/// The process that started a sandbox. Its forked children must not use the sandbox.
static HOME: AtomicU32 = AtomicU32::new(0);

/// The folder of the transcript. Read before any fork: in a child the environment may be locked.
static DIRECTORY: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("CLOPOS_TEST_TRANSCRIPT").map(PathBuf::from));

/// Adds a text of the library to the transcript, and fails if it contains a secret.
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
    check_does_not_contain(text, CLIENT_SECRET);
    if HOME.load(Ordering::Relaxed) == std::process::id() {
        let mut watched = WATCHED.lock().unwrap();
        watched.retain(|sandbox| match sandbox.upgrade() {
            Some(sandbox) => {
                for token in sandbox.issued_tokens() {
                    check_does_not_contain(text, &token);
                }
                true
            }
            None => false,
        });
    }
}

/// Fails if a message contains debug output such as `Foo(Bar` or `Foo { bar`.
fn check_has_no_debug_output(text: &str) {
    let chars: Vec<char> = text.chars().collect();
    let is_call = |pair: &[char]| pair[0].is_ascii_alphanumeric() && pair[1] == '(';
    assert!(
        !chars.windows(2).any(is_call) && !text.contains("{ "),
        "debug output in {text:?}"
    );
}

fn check_does_not_contain(text: &str, secret: &str) {
    assert!(
        !text.contains(secret),
        "a secret leaked into {:?}",
        text.replace(secret, "<LEAK>")
    );
}

/// Adds the result of a call to the transcript and returns it.
pub fn recorded<T: Record>(result: T) -> T {
    result.record();
    result
}

pub trait Record {
    fn record(&self);
}

impl Record for Result<Token, Error> {
    fn record(&self) {
        match self {
            Ok(token) => transcribe(&format!("{token:?}")),
            Err(error) => error.record(),
        }
    }
}

impl Record for Error {
    fn record(&self) {
        check_has_no_debug_output(&self.to_string());
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
        assert!(!line.contains('\n'), "more than one line: {line:?}");
        check_has_no_debug_output(line);
        transcribe(&format!("{level:?}: {line}"));
        if HOME.load(Ordering::Relaxed) == std::process::id() {
            self.0.lock().unwrap().push((level, line.to_owned()));
        }
    }
}

// ---------------------------------------------------------------------------------------------
// A sandbox and clients for it

/// A sandbox without a rate limit, and the log of its clients.
pub struct Fixture {
    pub sandbox: Arc<Sandbox>,
    pub log: Arc<Log>,
}

impl Fixture {
    /// On plain HTTP.
    pub fn start() -> Fixture {
        Fixture::with(|settings| settings.tls = false)
    }

    pub fn with_tls() -> Fixture {
        Fixture::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Fixture {
        LazyLock::force(&DIRECTORY);
        HOME.store(std::process::id(), Ordering::Relaxed);
        let mut settings = Settings {
            requests_per_minute: 0,
            ..Settings::default()
        };
        change(&mut settings);
        let sandbox = Arc::new(Sandbox::start(settings).expect("a sandbox on loopback"));
        WATCHED.lock().unwrap().push(Arc::downgrade(&sandbox));
        Fixture {
            sandbox,
            log: Arc::default(),
        }
    }

    /// Settings of a client for this sandbox.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        let log = self.log.clone();
        config
            .set_base_url(&self.sandbox.url())
            .expect("the sandbox has a valid URL")
            .set_proxy("none")
            .expect("\"none\" is valid")
            .set_log(LogLevel::Debug, move |level, line| log.push(level, line));
        if !self.sandbox.ca_pem().is_empty() {
            config
                .add_ca_pem(self.sandbox.ca_pem().as_bytes())
                .expect("the sandbox's CA");
        }
        config
    }

    /// Settings of a client that uses `clock`.
    pub fn config_at(&self, clock: &Arc<ManualClock>) -> Config {
        let mut config = self.config();
        clopos_auth::testing::set_clock(&mut config, Clock::Injected(clock.clone()));
        config
    }

    pub fn client(&self, config: &Config) -> Client {
        self.client_for(credentials(), config)
    }

    /// A client that uses `clock` and makes one attempt for each sign-in.
    pub fn client_with_one_attempt(&self, clock: &Arc<ManualClock>) -> Client {
        let mut config = self.config_at(clock);
        config.set_max_attempts(1).expect("1 is valid");
        self.client(&config)
    }

    pub fn client_for(&self, credentials: Credentials, config: &Config) -> Client {
        transcribe(&format!("{credentials:?} {config:?}"));
        let client = Client::new(credentials, config).expect("these settings are valid");
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

    /// Waits until this many requests have arrived.
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
    Credentials::new(CLIENT_ID, CLIENT_SECRET, TEST_BRAND, TEST_INTEGRATOR)
        .expect("these credentials are valid")
}

pub fn wrong_credentials() -> Credentials {
    Credentials::new(CLIENT_ID, "not the secret", TEST_BRAND, TEST_INTEGRATOR)
        .expect("these credentials are valid")
}

/// The error of a call that must have failed.
pub fn failed(result: Result<Token, Error>) -> Error {
    match recorded(result) {
        Ok(_) => panic!("the call returned a token"),
        Err(error) => error,
    }
}

pub fn status(result: Result<Token, Error>) -> Status {
    match recorded(result) {
        Ok(_) => Status::Ok,
        Err(error) => error.status(),
    }
}

/// The token of a call that must have succeeded.
pub fn value(result: Result<Token, Error>) -> String {
    match recorded(result) {
        Ok(token) => token.value().to_owned(),
        Err(error) => panic!("{error}"),
    }
}

// ---------------------------------------------------------------------------------------------
// Time

/// The lifetime clock and the date. They stand still until a test moves them. The date starts in 2026.
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

    /// Lets time pass, on both clocks.
    pub fn advance(&self, time: Duration) {
        let nanos = time.as_nanos() as u64;
        let before = self.nanos.fetch_add(nanos, Ordering::SeqCst);
        let seconds = (before + nanos) / 1_000_000_000 - before / 1_000_000_000;
        self.unix.fetch_add(seconds as i64, Ordering::SeqCst);
    }

    /// Sets the date, as a user or NTP would.
    pub fn set_date(&self, unix_seconds: i64) {
        self.unix.store(unix_seconds, Ordering::SeqCst);
    }

    /// Lets time pass `factor` times as fast as in reality, until the guard is dropped.
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

/// A clock runs until this is dropped.
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

/// Waits until `is_reached` returns true.
pub fn until(what: &str, is_reached: impl Fn() -> bool) {
    let start = Stopwatch::now();
    while !is_reached() {
        assert!(
            start.elapsed() < STATE_DEADLINE,
            "{what}: not in {STATE_DEADLINE:?}"
        );
        thread::sleep(MS);
    }
}

pub fn timed<R>(call: impl FnOnce() -> R) -> (R, Duration) {
    let start = Stopwatch::now();
    let result = call();
    (result, start.elapsed())
}

/// How late a call may return after its deadline.
pub const PROMPT: Duration = Duration::from_millis(300);
/// How late a call may return after it was woken. The next larger time is the attempt timeout of 10 s.
const WOKEN: Duration = SECOND;

/// Makes a call that has to return after `deadline`, and fails if it takes more than [`PROMPT`] longer. The
/// delay that the scheduler of a busy machine adds is measured and subtracted.
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

/// Calls `wake` and fails if a thread of `waiters` ends more than [`WOKEN`] later. The delay that the
/// scheduler adds, and the time that a condition variable takes to wake a thread at the same moment, are
/// measured and subtracted.
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
            assert!(late <= WOKEN + noise, "{late:?} late, noise {noise:?}");
            result
        })
        .collect()
}

/// How long this thread has been ready to run without a processor.
fn time_in_queue() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let queued = stat.split(' ').nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(queued.unwrap_or(0))
}

// ---------------------------------------------------------------------------------------------
// Threads

/// Runs `call` on this many threads, which start together.
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

/// Threads that each make a call. [`Waiters::until_asleep`] waits until all of them block in it.
pub struct Waiters<R> {
    threads: Vec<Waiter<R>>,
    ids: Vec<i32>,
}

/// The result of the call, when it ended, and how long the thread was ready without a processor meanwhile.
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
    /// The results of the calls.
    pub fn results(self) -> Vec<R> {
        self.threads.into_iter().map(|w| join(w).0).collect()
    }

    /// Waits until all threads sleep, and are found in the same sleep in three further passes.
    pub fn until_asleep(&self) {
        let last = Mutex::new((None, 0));
        until("all callers wait", || {
            let sleeps: Option<Vec<_>> = self.ids.iter().map(|&id| sleep_of(id)).collect();
            let mut last = last.lock().unwrap();
            let is_same = sleeps.is_some() && sleeps == last.0;
            *last = (sleeps, if is_same { last.1 + 1 } else { 0 });
            last.1 >= 3
        });
    }
}

/// How often this thread has gone to sleep, if it sleeps.
fn sleep_of(id: i32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/self/task/{id}/status"))
        .expect("the thread is running");
    let line = |name: &str| status.lines().find(|line| line.starts_with(name));
    line("State:").filter(|state| state.contains('S'))?;
    line("voluntary_ctxt_switches:").map(str::to_owned)
}

/// How often this thread has gone to sleep by itself (preemption does not count).
pub fn own_sleeps() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is writable for the call, which initialises it.
    unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()), 0);
        usage.assume_init().ru_nvcsw
    }
}

/// The name of a test function, as an argument for its own program.
pub fn test_name<T: Fn()>(_test: T) -> &'static str {
    let path = std::any::type_name::<T>();
    path.split_once("::").expect("a test is in a crate").1
}

/// Runs `test` again, in a process under the command `wrapper` with `variable` set. Returns `None` if
/// `wrapper` is not installed or not permitted here.
pub fn run_under(wrapper: &[&str], test: impl Fn(), variable: &str) -> Option<()> {
    let run = std::process::Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", test_name(test), "--nocapture"])
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

/// Writes the coverage data, which `_exit` would lose.
fn write_coverage() {
    #[cfg(coverage)]
    {
        unsafe extern "C" {
            safe fn __llvm_profile_write_file() -> std::ffi::c_int;
        }
        __llvm_profile_write_file();
    }
}

/// A forked child in which a closure runs. Its result, a text, comes through a pipe.
pub struct Child {
    process: libc::pid_t,
    output: File,
}

impl Child {
    /// Forks. `body` must not panic (writing the message might wait for a lock) and not use the sandbox.
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
                    let output = body();
                    write_coverage();
                    let written = File::from_raw_fd(pipe[1]).write_all(output.as_bytes());
                    libc::_exit(i32::from(written.is_err()));
                }
                process => {
                    libc::close(pipe[1]);
                    let output = File::from_raw_fd(pipe[0]);
                    Child { process, output }
                }
            }
        }
    }

    /// Waits for the end of the child and returns the text.
    pub fn output(mut self) -> String {
        let mut output = String::new();
        self.output.read_to_string(&mut output).expect("UTF-8");
        let mut status = 0;
        // SAFETY: `process` is a child that was not waited for yet.
        let ended = unsafe { libc::waitpid(self.process, &mut status, 0) };
        assert_eq!(ended, self.process);
        assert_eq!(status, 0, "the child was stuck or failed, after {output:?}");
        output
    }
}

/// The token, or the error's message after a `!`.
pub fn text_of(result: Result<Token, Error>) -> String {
    match result {
        Ok(token) => token.value().to_owned(),
        Err(error) => {
            transcribe(&format!("{error} | {error:?}"));
            format!("!{error}")
        }
    }
}
