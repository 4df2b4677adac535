//! Log lines to the host program: one line each, never with a lock held, never with a secret, and
//! never after [`Logger::close`] has returned.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::config::{LogFunction, LogLevel};

/// The log of one client.
pub(crate) struct Logger {
    sink: Option<(LogLevel, Arc<LogFunction>)>,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    running: usize,
}

thread_local! {
    /// The loggers whose function is running on this thread, so that one may close its own logger.
    static RUNNING: RefCell<Vec<*const Logger>> = const { RefCell::new(Vec::new()) };
}

impl Logger {
    pub fn new(sink: Option<(LogLevel, Arc<LogFunction>)>) -> Logger {
        Logger {
            sink,
            state: Mutex::default(),
            idle: Condvar::new(),
        }
    }

    /// Passes a line on, if anybody wants lines of this level.
    pub fn line(&self, level: LogLevel, line: fmt::Arguments<'_>) {
        let Some((limit, function)) = &self.sink else {
            return;
        };
        if level > *limit {
            return;
        }
        let Some(_running) = Running::enter(self) else {
            return;
        };
        function(level, &line.to_string());
    }

    /// Ends the log: when this returns, the function is not running on any other thread and will not
    /// be called again. Called by the function itself, it waits for nothing that waits for it.
    pub fn close(&self) {
        let own = RUNNING.with_borrow(|running| running.iter().filter(|&&l| l == self).count());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        // Two functions that close at once would wait for each other: those in here do not count.
        state.running -= own;
        self.idle.notify_all();
        while state.running > 0 {
            state = self
                .idle
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.running += own;
    }
}

/// Counts a running function, also when it panics.
struct Running<'a>(&'a Logger);

impl Running<'_> {
    fn enter(logger: &Logger) -> Option<Running<'_>> {
        let mut state = logger.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return None;
        }
        state.running += 1;
        RUNNING.with_borrow_mut(|running| running.push(logger));
        Some(Running(logger))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(|running| running.pop());
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running -= 1;
        self.0.idle.notify_all();
    }
}
