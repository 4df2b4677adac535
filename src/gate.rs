//! Counts the calls of the host's functions, so that a client can be closed without one of them running
//! on. Knows nothing of the functions. Checked under loom, see `tests/loom`.
#![forbid(unsafe_code)]

use std::sync::PoisonError;

#[cfg(clopos_loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(clopos_loom))]
use std::sync::{Condvar, Mutex, MutexGuard};

/// Open until it is closed, for ever then.
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// The thread of each call that is running, so that one may close its own gate.
    running: Vec<Thread>,
    /// The threads of those calls that have closed it.
    closing: Vec<Thread>,
}

/// A call that is running. It is counted until this is dropped.
pub(crate) struct Pass<'a>(&'a Gate);

impl Gate {
    pub fn new() -> Gate {
        Gate {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        }
    }

    /// Permits a call on this thread. `None`: the gate is closed.
    pub fn enter(&self) -> Option<Pass<'_>> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        state.running.push(this_thread());
        Some(Pass(self))
    }

    /// Whether a call is running on this thread.
    pub fn is_inside(&self) -> bool {
        self.lock().running.contains(&this_thread())
    }

    /// When this returns, no call is running on another thread, and none will be permitted again. Inside a
    /// call it does not wait for calls that are in here as well: they would wait for each other.
    pub fn close(&self) {
        let this_thread = this_thread();
        let mut state = self.lock();
        state.closed = true;
        let is_inside = state.running.contains(&this_thread);
        if is_inside {
            state.closing.push(this_thread);
            self.changed.notify_all();
        }
        while state
            .running
            .iter()
            .any(|thread| !(is_inside && state.closing.contains(thread)))
        {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let this_thread = this_thread();
        let mut state = self.0.lock();
        if let Some(at) = state.running.iter().position(|&t| t == this_thread) {
            state.running.swap_remove(at);
        }
        self.0.changed.notify_all();
    }
}

#[cfg(clopos_loom)]
type Thread = loom::thread::ThreadId;
#[cfg(not(clopos_loom))]
type Thread = u64;

#[cfg(clopos_loom)]
fn this_thread() -> Thread {
    loom::thread::current().id()
}

/// A number of this thread that no other has. Without a destructor: `exit` ends those of thread-locals
/// before it calls the functions registered with `atexit`, and one of those may close a client.
#[cfg(not(clopos_loom))]
fn this_thread() -> Thread {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

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

#[cfg(all(test, not(clopos_loom)))]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    fn until_closed(gate: &Gate) {
        while !gate.lock().closed {
            thread::yield_now();
        }
    }

    #[test]
    fn two_calls_that_close_simultaneously_do_not_wait_for_each_other() {
        let (gate, both) = (Gate::new(), Barrier::new(2));
        let call = || {
            let _pass = gate.enter().expect("it is open");
            both.wait();
            gate.close();
        };
        thread::scope(|scope| {
            scope.spawn(call);
            call();
        });
        assert!(gate.lock().running.is_empty());
    }

    #[test]
    fn a_close_from_outside_waits_for_running_calls_whether_or_not_they_close() {
        let (gate, ended) = (&Gate::new(), &AtomicUsize::new(0));
        let (started, start) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                let _pass = gate.enter().expect("it is open");
                started.send(()).unwrap();
                released.recv().unwrap();
                ended.fetch_add(1, Ordering::SeqCst);
            });
            start.recv().unwrap();
            scope.spawn(|| {
                let _pass = gate.enter().expect("it is open");
                gate.close();
                ended.fetch_add(1, Ordering::SeqCst);
            });
            until_closed(gate);
            assert!(gate.enter().is_none());
            let outside = scope.spawn(|| {
                gate.close();
                ended.load(Ordering::SeqCst)
            });
            release.send(()).unwrap();
            assert_eq!(outside.join().unwrap(), 2);
        });
    }

    #[test]
    fn a_call_that_panics_does_not_keep_the_gate_from_closing() {
        let gate = Gate::new();
        let call = || {
            let _pass = gate.enter();
            assert!(gate.is_inside());
            std::panic::panic_any(());
        };
        thread::scope(|scope| assert!(scope.spawn(call).join().is_err()));
        assert!(!gate.is_inside());
        gate.close();
    }
}
