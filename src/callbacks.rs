//! The host program's two functions, for log lines and for changes: called with no lock held, and never
//! after [`Callbacks::close`] has returned.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use crate::gate::Gate;
use crate::{Error, Status};

/// The severity of a log line; a lower number is more severe.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// An attempt failed and is not retried: REJECTED, TLS, CLOCK, PROTOCOL, or a PROXY that is not
    /// retryable; or the service refuses the tokens that it issues.
    Error = 1,
    /// An attempt failed with a transient error, a refresh failed, or a credential begins or ends with a
    /// space or a quote.
    Warn = 2,
    /// A token was received, or invalidated by the caller.
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

/// Receives log lines.
pub(crate) type LogFunction = dyn Fn(LogLevel, &str) + Send + Sync;

/// Receives the status of each attempt that has ended.
pub(crate) type ChangeFunction = dyn Fn(Status) + Send + Sync;

/// The functions of one client. They share a gate: with one for each, a log function and a change function
/// that close the client at the same time would wait for each other.
pub(crate) struct Callbacks {
    log: Option<(LogLevel, Arc<LogFunction>)>,
    on_change: Option<Arc<ChangeFunction>>,
    gate: Gate,
}

impl Callbacks {
    pub fn new(
        log: Option<(LogLevel, Arc<LogFunction>)>,
        on_change: Option<Arc<ChangeFunction>>,
    ) -> Callbacks {
        Callbacks {
            log,
            on_change,
            gate: Gate::new(),
        }
    }

    /// Passes a line to the log function, if it takes lines of this level. The line holds no secret.
    pub fn log(&self, level: LogLevel, line: fmt::Arguments<'_>) {
        if let Some((limit, log)) = &self.log
            && level <= *limit
            && let Some(_pass) = self.gate.enter()
        {
            log(level, &line.to_string());
        }
    }

    /// Tells the change function what a call that does not wait would give now.
    pub fn announce(&self, status: Status) {
        if let Some(on_change) = &self.on_change
            && let Some(_pass) = self.gate.enter()
        {
            on_change(status);
        }
    }

    /// Whether one of the functions is running on this thread.
    pub fn is_running_here(&self) -> bool {
        let has_any = self.log.is_some() || self.on_change.is_some();
        has_any && self.gate.is_inside()
    }

    /// When this returns, no function is running on another thread, and none will be called again, see
    /// [`Gate::close`].
    pub fn close(&self) {
        self.gate.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn lines_less_severe_than_the_level_are_dropped_and_after_a_close_nothing_is_called() {
        let (lines, received) = mpsc::channel();
        let (changes, changed) = mpsc::channel();
        let log = move |level, line: &str| lines.send((level, line.to_owned())).unwrap();
        let on_change = move |status| changes.send(status).unwrap();
        let callbacks = Callbacks::new(
            Some((LogLevel::Warn, Arc::new(log))),
            Some(Arc::new(on_change)),
        );
        callbacks.log(LogLevel::Info, format_args!("not logged"));
        callbacks.log(LogLevel::Warn, format_args!("line {}", 1));
        callbacks.log(LogLevel::Error, format_args!("line {}", 2));
        callbacks.announce(Status::Server);
        callbacks.close();
        callbacks.log(LogLevel::Error, format_args!("after the close"));
        callbacks.announce(Status::Ok);
        drop(callbacks);
        let expected = [
            (LogLevel::Warn, "line 1".to_owned()),
            (LogLevel::Error, "line 2".to_owned()),
        ];
        assert_eq!(received.iter().collect::<Vec<_>>(), expected);
        assert_eq!(changed.iter().collect::<Vec<_>>(), [Status::Server]);
        let none = Callbacks::new(None, None);
        none.log(LogLevel::Error, format_args!("no log function"));
        none.announce(Status::Ok);
        assert!(!none.is_running_here());
    }
}
