//! Single flight: at most one sign-in of a client runs at a time (the flight), and every caller that
//! needs its result waits for it, each with a deadline of its own.
//!
//! This file owns the whole protocol between callers and the flight: start or join, wait, delay, complete,
//! cancel, close. It knows neither tokens nor the network. No code of others runs under its lock, except
//! `may_start`, which may look at other locks, and `publish`, which stores a pointer. Checked under loom,
//! see `tests/loom`.
#![forbid(unsafe_code)]

use std::sync::{OnceLock, PoisonError};
use std::time::Duration;

#[cfg(clopos_loom)]
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
#[cfg(not(clopos_loom))]
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::clock::{Clock, Instant};

/// The single flight of one client. `R` is the result of a flight, `E` why its next attempt is delayed.
pub(crate) struct SingleFlight<R, E> {
    state: Mutex<State<R, E>>,
    changed: Condvar,
}

struct State<R, E> {
    /// The flight that is running, or the next one.
    flight: Arc<Flight<R>>,
    is_running: bool,
    /// The flight waits until then to send its next request, for that reason.
    delayed: Option<(Instant, E)>,
    /// How often waiting calls were cancelled: a waiter leaves when it sees the number change.
    cancels: u64,
    closed: bool,
}

/// Empty until the flight is completed.
type Flight<R> = OnceLock<R>;

/// What a call holds from its beginning: the flight that was running then, or else the next one. Its result
/// is good enough for the call, even if the flight has been completed before the call asks for it.
pub(crate) struct Ticket<R> {
    flight: Arc<Flight<R>>,
    /// See [`State`]: a cancel also ends calls that are not waiting yet.
    cancels: u64,
}

/// What [`SingleFlight::start_or_join`] did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// Started the flight: the caller has to run it and to call [`SingleFlight::complete`], whatever happens.
    Started,
    /// Nothing: the flight is running.
    Running,
    /// Nothing: the flight is completed.
    Completed,
}

/// Why there is nothing to wait for.
#[derive(Debug)]
pub(crate) enum Refused<E> {
    /// The client is closed.
    Closed,
    /// `may_start` said so.
    NotNow(E),
}

/// How waiting for a flight ended.
#[derive(Debug)]
pub(crate) enum Waited<R, E> {
    Completed(R),
    /// The flight sends its next request only after the waiter's deadline.
    Delayed(Instant, E),
    TimedOut,
    Cancelled,
}

impl<R: Clone, E: Clone> SingleFlight<R, E> {
    pub fn new() -> SingleFlight<R, E> {
        SingleFlight {
            state: Mutex::new(State {
                flight: Arc::default(),
                is_running: false,
                delayed: None,
                cancels: 0,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// For the beginning of a call, before it looks at what the last flight brought.
    pub fn ticket(&self) -> Ticket<R> {
        let state = self.lock();
        Ticket {
            flight: state.flight.clone(),
            cancels: state.cancels,
        }
    }

    /// Whether a flight is running.
    pub fn is_running(&self) -> bool {
        self.lock().is_running
    }

    /// Starts the ticket's flight, if it is neither running nor completed and `may_start` permits it.
    pub fn start_or_join(
        &self,
        ticket: &Ticket<R>,
        may_start: impl FnOnce() -> Result<(), E>,
    ) -> Result<Joined, Refused<E>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if ticket.flight.get().is_some() {
            return Ok(Joined::Completed);
        }
        if state.is_running {
            return Ok(Joined::Running);
        }
        may_start().map_err(Refused::NotNow)?;
        state.is_running = true;
        Ok(Joined::Started)
    }

    /// Waits for the result of the ticket's flight, at most until `deadline`.
    pub fn wait(&self, ticket: &Ticket<R>, deadline: Instant, clock: &Clock) -> Waited<R, E> {
        let mut state = self.lock();
        loop {
            // Before anything else: the result of a flight that a close has broken off says nothing.
            if state.closed {
                return Waited::Cancelled;
            }
            if let Some(result) = ticket.flight.get() {
                return Waited::Completed(result.clone());
            }
            if let Some((until, why)) = &state.delayed
                && *until >= deadline
            {
                return Waited::Delayed(*until, why.clone());
            }
            if state.cancels != ticket.cancels {
                return Waited::Cancelled;
            }
            let left = deadline.since(clock.now());
            if left.is_zero() {
                return Waited::TimedOut;
            }
            state = self.wait_changed(state, clock.max_block(left));
        }
    }

    /// For the flight: tells the waiters that it sends its next request at `until`, calls `announce` without
    /// the lock, and waits for that time. Returns false if the client was closed meanwhile.
    pub fn delay(&self, until: Instant, why: E, clock: &Clock, announce: impl FnOnce()) -> bool {
        {
            let mut state = self.lock();
            // A closed client announces nothing.
            if state.closed {
                return false;
            }
            state.delayed = Some((until, why));
        }
        self.changed.notify_all();
        announce();
        let mut state = self.lock();
        while !state.closed {
            let left = until.since(clock.now());
            if left.is_zero() {
                state.delayed = None;
                return true;
            }
            state = self.wait_changed(state, clock.max_block(left));
        }
        false
    }

    /// For the flight: ends it. `publish` runs before anybody sees the result, and only if the client is
    /// open; it must not block. Returns whether the client is open.
    pub fn complete(&self, result: R, publish: impl FnOnce()) -> bool {
        let mut state = self.lock();
        let is_open = !state.closed;
        if is_open {
            publish();
        }
        let flight = std::mem::take(&mut state.flight);
        let was_completed = flight.set(result).is_err();
        debug_assert!(!was_completed && state.is_running);
        state.is_running = false;
        state.delayed = None;
        // Every waiter wakes now, and wants the lock at once.
        drop(state);
        self.changed.notify_all();
        is_open
    }

    /// Makes every waiter return as cancelled. The flight continues, for callers that come later.
    pub fn cancel(&self) {
        let mut state = self.lock();
        state.cancels += 1;
        self.changed.notify_all();
    }

    /// Makes every waiter, also every later one, return as cancelled. Nothing is published after this has returned.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
    }

    /// A poisoned lock is used as it is: no code that can panic runs under it.
    fn lock(&self) -> MutexGuard<'_, State<R, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_changed<'a>(
        &self,
        state: MutexGuard<'a, State<R, E>>,
        at_most: Duration,
    ) -> MutexGuard<'a, State<R, E>> {
        let (state, _) = self
            .changed
            .wait_timeout(state, at_most)
            .unwrap_or_else(PoisonError::into_inner);
        state
    }
}

#[cfg(all(test, not(clopos_loom)))]
mod tests {
    use super::*;

    /// The caller may have taken its ticket before the close.
    #[test]
    fn a_closed_client_starts_no_flight() {
        let single_flight = SingleFlight::<(), ()>::new();
        let ticket = single_flight.ticket();
        single_flight.close();
        let refused = single_flight.start_or_join(&ticket, || Ok(()));
        assert!(matches!(refused, Err(Refused::Closed)));
        assert!(!single_flight.is_running());
    }

    #[test]
    fn a_delay_of_a_closed_client_is_not_announced() {
        let single_flight = SingleFlight::<(), ()>::new();
        assert!(
            single_flight
                .start_or_join(&single_flight.ticket(), || Ok(()))
                .is_ok()
        );
        single_flight.close();
        let announce = || panic!("the delay was announced");
        assert!(!single_flight.delay(Instant::NEVER, (), &Clock::System, announce));
    }
}

#[cfg(all(test, clopos_loom))]
#[path = "../tests/loom/src/model.rs"]
mod model;
