//! The host program's two functions, for log lines and for changes: called with no lock held, and never
//! after [`Callbacks::close`] has returned.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Error, Status};

/// How important a log line is: the smaller, the more.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Somebody has to do something: credentials refused, certificate not trusted, clock wrong.
    Error = 1,
    /// An attempt failed and the library goes on by itself, or a credential begins or ends with a blank or
    /// a quote.
    Warn = 2,
    /// A token was obtained, or invalidated by the caller.
    Info = 3,
    /// Every attempt and every wait.
    Debug = 4,
}

impl LogLevel {
    pub(crate) fn from_number(number: i32) -> Result<LogLevel, Error> {
        [
            LogLevel::Error,
            LogLevel::Warn,
            LogLevel::Info,
            LogLevel::Debug,
        ]
        .into_iter()
        .find(|&level| level as i32 == number)
        .ok_or_else(|| {
            Error::invalid_argument(format!(
                "level is {number}; expected a CLOPOS_AUTH_LOG_* value"
            ))
        })
    }
}

/// What receives log lines.
pub(crate) type LogFunction = dyn Fn(LogLevel, &str) + Send + Sync;

/// What is told how each request ended.
pub(crate) type ChangeFunction = dyn Fn(Status) + Send + Sync;

/// The functions of one client. They share the count of running calls: if each had its own, a log
/// function and a change function that close the client at the same time would wait for each other.
pub(crate) struct Callbacks {
    log: Option<(LogLevel, Arc<LogFunction>)>,
    on_change: Option<Arc<ChangeFunction>>,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// The thread of each call that is running, so that one may close its own client.
    running: Vec<u64>,
    /// The threads of those calls that have closed it.
    closing: Vec<u64>,
}

/// A number of this thread that no other has. Without a destructor: `exit` ends those of thread-locals
/// before it calls what a program has registered with `atexit`, and from there a client may be closed.
fn this_thread() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    const { assert!(!std::mem::needs_drop::<Cell<u64>>()) };
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(THREADS.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

impl Callbacks {
    pub fn new(
        log: Option<(LogLevel, Arc<LogFunction>)>,
        on_change: Option<Arc<ChangeFunction>>,
    ) -> Callbacks {
        Callbacks {
            log,
            on_change,
            state: Mutex::default(),
            idle: Condvar::new(),
        }
    }

    /// Passes a line to the log function, if it takes lines of this level. The line holds no secret.
    pub fn log(&self, level: LogLevel, line: fmt::Arguments<'_>) {
        let Some((limit, log)) = &self.log else {
            return;
        };
        if level > *limit {
            return;
        }
        let Some(_running) = Running::enter(self) else {
            return;
        };
        log(level, &line.to_string());
    }

    /// Tells the change function what a call that does not wait would say now.
    pub fn changed(&self, status: Status) {
        let Some(on_change) = &self.on_change else {
            return;
        };
        let Some(_running) = Running::enter(self) else {
            return;
        };
        on_change(status);
    }

    /// Whether one of the functions is running on this thread.
    pub fn is_running_here(&self) -> bool {
        let has_any = self.log.is_some() || self.on_change.is_some();
        has_any && self.lock().running.contains(&this_thread())
    }

    /// When this returns, no function is running on any other thread, and none will be called again.
    /// Called inside one of them, it waits for no function that has called it as well.
    pub fn close(&self) {
        let this_thread = this_thread();
        let mut state = self.lock();
        state.closed = true;
        let is_inside = state.running.contains(&this_thread);
        if is_inside {
            state.closing.push(this_thread);
            self.idle.notify_all();
        }
        while state.running.iter().any(|thread| {
            // Two functions that close at once would wait for each other; a thread outside waits for both.
            !is_inside || !state.closing.contains(thread)
        }) {
            state = self
                .idle
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running call of a function, counted until it returns or panics.
struct Running<'a>(&'a Callbacks);

impl Running<'_> {
    fn enter(callbacks: &Callbacks) -> Option<Running<'_>> {
        let mut state = callbacks.lock();
        if state.closed {
            return None;
        }
        state.running.push(this_thread());
        Some(Running(callbacks))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let this_thread = this_thread();
        let mut state = self.0.lock();
        if let Some(at) = state.running.iter().position(|&t| t == this_thread) {
            state.running.swap_remove(at);
        }
        self.0.idle.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    fn logger(
        level: LogLevel,
        function: impl Fn(LogLevel, &str) + Send + Sync + 'static,
    ) -> Arc<Callbacks> {
        Arc::new(Callbacks::new(Some((level, Arc::new(function))), None))
    }

    #[test]
    fn lines_above_the_level_are_not_passed_on() {
        let (lines, received) = mpsc::channel();
        let log = logger(LogLevel::Warn, move |level, line| {
            lines.send((level, line.to_owned())).unwrap();
        });
        log.log(LogLevel::Info, format_args!("nobody wants this"));
        log.log(LogLevel::Warn, format_args!("line {}", 1));
        log.log(LogLevel::Error, format_args!("line {}", 2));
        log.close();
        log.log(LogLevel::Error, format_args!("too late"));
        drop(log);
        let expected = [
            (LogLevel::Warn, "line 1".to_owned()),
            (LogLevel::Error, "line 2".to_owned()),
        ];
        assert_eq!(received.iter().collect::<Vec<_>>(), expected);
        Callbacks::new(None, None).log(LogLevel::Error, format_args!("to nobody"));
    }

    #[test]
    fn a_close_waits_for_a_function_that_runs_on_another_thread() {
        let (started, start) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let (gate, ended) = (Mutex::new(gate), Arc::new(AtomicUsize::new(0)));
        let counted = ended.clone();
        let log = logger(LogLevel::Debug, move |_, _| {
            started.send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let logging = thread::spawn({
            let log = log.clone();
            move || log.log(LogLevel::Info, format_args!("a line"))
        });
        start.recv().unwrap();
        let closing = thread::spawn({
            let log = log.clone();
            move || {
                log.close();
                ended.load(Ordering::SeqCst)
            }
        });
        while !log.state.lock().unwrap().closed {
            thread::yield_now();
        }
        release.send(()).unwrap();
        assert_eq!(closing.join().unwrap(), 1, "it closed while the line ran");
        logging.join().unwrap();
    }

    #[test]
    fn two_functions_that_close_their_own_log_at_once_do_not_wait_for_each_other() {
        static LOG: OnceLock<Arc<Callbacks>> = OnceLock::new();
        let both = std::sync::Barrier::new(2);
        let log = LOG.get_or_init(|| {
            logger(LogLevel::Debug, move |_, _| {
                both.wait();
                LOG.get().expect("it is logging").close();
            })
        });
        let others = thread::spawn(|| log.log(LogLevel::Info, format_args!("one")));
        log.log(LogLevel::Info, format_args!("two"));
        others.join().unwrap();
        assert!(log.state.lock().unwrap().running.is_empty());
    }

    #[test]
    fn a_log_function_and_a_change_function_that_close_at_once_do_not_wait_for_each_other() {
        static BOTH: OnceLock<Arc<Callbacks>> = OnceLock::new();
        static INSIDE: std::sync::Barrier = std::sync::Barrier::new(2);
        fn close() {
            INSIDE.wait();
            BOTH.get().expect("it is calling").close();
        }
        let both = BOTH.get_or_init(|| {
            Arc::new(Callbacks::new(
                Some((LogLevel::Debug, Arc::new(|_, _: &str| close()))),
                Some(Arc::new(|_| close())),
            ))
        });
        let other = thread::spawn(|| both.changed(Status::Ok));
        both.log(LogLevel::Info, format_args!("a line"));
        other.join().unwrap();
        both.changed(Status::Server);
        assert!(both.state.lock().unwrap().running.is_empty());
    }

    #[test]
    fn a_function_that_closes_its_own_log_is_waited_for_by_who_closes_it_from_outside() {
        static LOG: OnceLock<Arc<Callbacks>> = OnceLock::new();
        static ENDED: AtomicUsize = AtomicUsize::new(0);
        let (started, start) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let log = LOG.get_or_init(|| {
            logger(LogLevel::Debug, move |level, _| {
                if level == LogLevel::Warn {
                    LOG.get().expect("it is logging").close();
                } else {
                    started.send(()).unwrap();
                    gate.lock().unwrap().recv().unwrap();
                }
                ENDED.fetch_add(1, Ordering::SeqCst);
            })
        });
        thread::scope(|scope| {
            scope.spawn(|| log.log(LogLevel::Info, format_args!("runs")));
            start.recv().unwrap();
            scope.spawn(|| log.log(LogLevel::Warn, format_args!("closes")));
            while !log.state.lock().unwrap().closed {
                thread::yield_now();
            }
            let running = log.state.lock().unwrap().running.len();
            let outside = scope.spawn(|| {
                log.close();
                ENDED.load(Ordering::SeqCst)
            });
            release.send(()).unwrap();
            assert_eq!(outside.join().unwrap(), 2, "it closed while one ran");
            assert_eq!(running, 2, "who closes is running, too");
        });
    }

    #[test]
    fn a_function_that_panics_does_not_keep_the_log_open() {
        let log = logger(LogLevel::Debug, |_, _| std::panic::panic_any(()));
        let logging = log.clone();
        let came = thread::spawn(move || logging.log(LogLevel::Info, format_args!("a line")));
        assert!(came.join().is_err());
        log.close();
    }
}
