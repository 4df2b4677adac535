//! Single flight: at most one exchange is in the air for a client, and everybody who needs its result
//! waits for that one, each with a deadline of its own.
//!
//! This file owns the lock and the condition variable and nothing else: it knows neither tokens nor
//! the network, and no code of anybody else runs under the lock, except `publish` in
//! [`Flights::land`], which stores a pointer. Checked under loom, see `tests/loom`.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;
use std::sync::{OnceLock, PoisonError};
use std::time::Duration;

#[cfg(clopos_loom)]
use loom::sync::{Arc, Condvar, Mutex, MutexGuard, atomic::AtomicU64};
#[cfg(not(clopos_loom))]
use std::sync::{Arc, Condvar, Mutex, MutexGuard, atomic::AtomicU64};

use crate::clock::{Clock, Instant};

/// The flights of one client. `R` is what a flight comes to, `E` why its next attempt is delayed.
pub(crate) struct Flights<R, E> {
    state: Mutex<State<R, E>>,
    changed: Condvar,
    /// How many flights have landed; changed only under the lock.
    landings: AtomicU64,
}

struct State<R, E> {
    current: Option<Arc<Flight<R>>>,
    /// The current flight's next attempt leaves only then, for that reason.
    delayed: Option<(Instant, E)>,
    /// How often waiting calls were cancelled: a waiter leaves when it sees the number change.
    cancels: u64,
    closed: bool,
}

/// One exchange: empty while it is in the air, then what it came to.
pub(crate) type Flight<R> = OnceLock<R>;

/// What [`Flights::board`] came to.
pub(crate) enum Boarding<R> {
    /// Somebody else's flight is in the air.
    Joined(Ticket<R>),
    /// There was none: the caller has to fly this one and to [`Flights::land`] it, whatever happens.
    Started(Ticket<R>),
    /// There is none now, but one has landed since the caller counted: what it brought is as good as
    /// if the caller had joined it.
    Missed,
    /// The client is closed.
    Closed,
}

/// The client is closed.
pub(crate) struct Closed;

/// The right to wait for a flight.
pub(crate) struct Ticket<R> {
    pub flight: Arc<Flight<R>>,
    cancels: u64,
}

/// What waiting came to.
#[derive(Debug)]
pub(crate) enum Waited<R, E> {
    Landed(R),
    /// The flight's next attempt leaves only after the waiter's deadline.
    Delayed(Instant, E),
    TimedOut,
    Cancelled,
}

impl<R: Clone, E: Clone> Flights<R, E> {
    pub fn new() -> Flights<R, E> {
        Flights {
            state: Mutex::new(State {
                current: None,
                delayed: None,
                cancels: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            landings: AtomicU64::new(0),
        }
    }

    /// How many flights have landed. Whoever counts before looking at what they brought does not
    /// [`board`](Flights::board) a second flight for what the first has just brought.
    pub fn landings(&self) -> u64 {
        self.landings.load(Ordering::Acquire)
    }

    /// Joins the flight in the air, if there is one.
    pub fn join(&self) -> Result<Option<Ticket<R>>, Closed> {
        let state = self.lock();
        if state.closed {
            return Err(Closed);
        }
        let cancels = state.cancels;
        let flight = state.current.clone();
        Ok(flight.map(|flight| Ticket { flight, cancels }))
    }

    /// Joins the flight in the air, or starts one if none has landed since `landings` were counted.
    pub fn board(&self, landings: u64) -> Boarding<R> {
        let mut state = self.lock();
        if state.closed {
            return Boarding::Closed;
        }
        let cancels = state.cancels;
        match &state.current {
            Some(flight) => Boarding::Joined(Ticket {
                flight: flight.clone(),
                cancels,
            }),
            None if self.landings() != landings => Boarding::Missed,
            None => {
                let flight = Arc::new(Flight::new());
                state.current = Some(flight.clone());
                Boarding::Started(Ticket { flight, cancels })
            }
        }
    }

    /// Waits until the flight lands, at most until `deadline`.
    pub fn wait(&self, ticket: &Ticket<R>, deadline: Instant, clock: &Clock) -> Waited<R, E> {
        let mut state = self.lock();
        loop {
            // Before anything else: what a flight comes to that was broken off tells nobody anything.
            if state.closed {
                return Waited::Cancelled;
            }
            if let Some(result) = ticket.flight.get() {
                return Waited::Landed(result.clone());
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
            state = self.nap(state, clock.nap(left));
        }
    }

    /// For the one who flies: tells the waiters that the next attempt leaves at `until`, calls `announce`
    /// without the lock, and waits for that time. Returns false if the client was closed meanwhile.
    pub fn delay(&self, until: Instant, why: E, clock: &Clock, announce: impl FnOnce()) -> bool {
        self.lock().delayed = Some((until, why));
        self.changed.notify_all();
        announce();
        let mut state = self.lock();
        while !state.closed {
            let left = until.since(clock.now());
            if left.is_zero() {
                state.delayed = None;
                return true;
            }
            state = self.nap(state, clock.nap(left));
        }
        false
    }

    /// Whether a flight is in the air.
    pub fn is_flying(&self) -> bool {
        self.lock().current.is_some()
    }

    /// For the one who flies: ends the flight. `publish` runs before anybody sees the result and only
    /// if the client is still open; it must not block. Returns whether the client is open.
    pub fn land(&self, flight: &Flight<R>, result: R, publish: impl FnOnce()) -> bool {
        let mut state = self.lock();
        let is_open = !state.closed;
        if is_open {
            publish();
        }
        let landed_before = flight.set(result).is_err();
        debug_assert!(!landed_before, "a flight lands once");
        state.current = None;
        state.delayed = None;
        self.landings.fetch_add(1, Ordering::Release);
        // Every waiter wakes at every landing, and wants the lock at once.
        drop(state);
        self.changed.notify_all();
        is_open
    }

    /// Sends every waiter away. The flight goes on, for those who come later.
    pub fn cancel(&self) {
        let mut state = self.lock();
        state.cancels += 1;
        self.changed.notify_all();
    }

    /// Sends every waiter away, for good. Nothing is published after this has returned.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
    }

    /// A poisoned lock is used as it is: no code that can panic runs under it.
    fn lock(&self) -> MutexGuard<'_, State<R, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nap<'a>(
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

    /// A caller may have looked for a flight just before.
    #[test]
    fn a_closed_client_lets_nobody_board() {
        let flights = Flights::<(), ()>::new();
        assert!(matches!(flights.board(0), Boarding::Started(_)));
        flights.close();
        assert!(matches!(flights.board(0), Boarding::Closed));
        assert!(matches!(flights.join(), Err(Closed)));
    }
}

#[cfg(all(test, clopos_loom))]
#[path = "../tests/loom/src/model.rs"]
mod model;
