//! Models of callers, sign-ins, cancels and closes. Loom reports every lost wake-up as a deadlock, because its
//! `wait_timeout` never times out. So no deadline passes by itself: a thread of the model moves the clock.

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicU64 as Count, AtomicUsize};

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

use super::*;
use crate::clock::TimeSource;
use crate::gate::Gate;

const LATER: Instant = Instant::from_nanos(10);
const MUCH_LATER: Instant = Instant::from_nanos(20);

/// A clock that stands still until a thread moves it. Loom does not see its atomic, so that it explores only the
/// interleavings of what a client shares.
struct TestTime(Count);

impl TimeSource for TestTime {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::SeqCst))
    }

    fn unix_seconds(&self) -> i64 {
        0
    }
}

/// The result of a call.
#[derive(Debug, PartialEq, Eq)]
enum CallResult {
    Token(u64),
    Error,
    Delayed,
    Cancelled,
    TimedOut,
}

type Outcome = Result<u64, ()>;

/// What a client has besides its single flight: a cache, a sign-in, and the host's change function with its gate.
struct Client {
    single_flight: SingleFlight<Outcome, ()>,
    gate: Gate,
    /// The token; 0 for none.
    cache: AtomicU64,
    running: AtomicUsize,
    /// The number of sign-ins. The n-th returns the token n.
    sign_ins: AtomicUsize,
    /// The change function. Without one the gate is not used.
    on_change: Option<Box<dyn Fn(&Client) + Send + Sync>>,
    time: StdArc<TestTime>,
    clock: Clock,
}

impl Client {
    fn new() -> Client {
        let time = StdArc::new(TestTime(Count::new(0)));
        Client {
            single_flight: SingleFlight::new(),
            gate: Gate::new(),
            cache: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            sign_ins: AtomicUsize::new(0),
            on_change: None,
            clock: Clock::Injected(time.clone()),
            time,
        }
    }

    fn with_on_change(on_change: impl Fn(&Client) + Send + Sync + 'static) -> Client {
        Client {
            on_change: Some(Box::new(on_change)),
            ..Client::new()
        }
    }

    /// Moves the clock. As with a real clock, this wakes no thread.
    fn move_to(&self, time: Instant) {
        self.time.0.store(time.as_nanos(), Ordering::SeqCst);
    }

    /// `get_token`. `succeeds`: whether a sign-in that this call starts succeeds.
    fn get_token(&self, succeeds: bool) -> CallResult {
        let ticket = self.single_flight.ticket();
        match self.cache.load(Ordering::SeqCst) {
            0 => self.new_token(&ticket, || self.sign_in(succeeds)),
            token => CallResult::Token(token),
        }
    }

    /// The sign-in runs on the calling thread.
    fn new_token(&self, ticket: &Ticket<Outcome>, sign_in: impl FnOnce() -> Outcome) -> CallResult {
        match self.single_flight.start_or_join(ticket, || Ok(())) {
            Ok(Joined::Started) => self.complete(sign_in()),
            Ok(Joined::Running | Joined::Completed) => {}
            Err(_) => return CallResult::Cancelled,
        }
        self.wait(ticket, Instant::NEVER)
    }

    /// Starts a flight that this thread has to complete, and returns tickets for it.
    fn start<const N: usize>(&self) -> [Ticket<Outcome>; N] {
        let tickets = [(); N].map(|()| self.single_flight.ticket());
        let started = self
            .single_flight
            .start_or_join(&self.single_flight.ticket(), || Ok(()));
        assert_eq!(started.unwrap(), Joined::Started);
        self.running.fetch_add(1, Ordering::SeqCst);
        tickets
    }

    fn wait(&self, ticket: &Ticket<Outcome>, deadline: Instant) -> CallResult {
        match self.single_flight.wait(ticket, deadline, &self.clock) {
            Waited::Completed(Ok(token)) => CallResult::Token(token),
            Waited::Completed(Err(())) => CallResult::Error,
            Waited::Delayed(..) => CallResult::Delayed,
            Waited::Cancelled => CallResult::Cancelled,
            Waited::TimedOut => CallResult::TimedOut,
        }
    }

    fn sign_in(&self, succeeds: bool) -> Outcome {
        let others = self.running.fetch_add(1, Ordering::SeqCst);
        assert_eq!(others, 0, "two sign-ins are running");
        let number = self.sign_ins.fetch_add(1, Ordering::SeqCst) as u64 + 1;
        if succeeds { Ok(number) } else { Err(()) }
    }

    fn complete(&self, outcome: Outcome) {
        self.running.fetch_sub(1, Ordering::SeqCst);
        let is_open = self.single_flight.complete(outcome, || {
            if let Ok(token) = outcome {
                self.cache.store(token, Ordering::SeqCst);
            }
        });
        if is_open {
            self.changed();
        }
    }

    fn changed(&self) {
        if let Some(on_change) = &self.on_change
            && let Some(_pass) = self.gate.enter()
        {
            on_change(self);
        }
    }

    fn close(&self) {
        self.single_flight.close();
        self.cache.store(0, Ordering::SeqCst);
        if self.on_change.is_some() {
            self.gate.close();
        }
    }

    fn sign_ins(&self) -> usize {
        self.sign_ins.load(Ordering::SeqCst)
    }

    /// Checks the state after all threads have ended.
    fn check_at_end(&self) {
        assert_eq!(self.running.load(Ordering::SeqCst), 0);
        let state = self.single_flight.lock();
        assert!(!state.is_running, "a flight is still running");
        assert!(state.delayed.is_none(), "a flight is still delayed");
    }
}

fn start<R: 'static>(
    client: &Arc<Client>,
    body: impl FnOnce(&Client) -> R + 'static,
) -> thread::JoinHandle<R> {
    let client = client.clone();
    thread::spawn(move || body(&client))
}

/// Explores all interleavings of a model, and prints their number.
fn explore(name: &str, model: impl Fn() + Sync + Send + 'static) {
    explore_with(None, name, model);
}

/// The same with a limit: how often a thread is interrupted although it could continue. For models whose
/// interleavings would take minutes or longer.
fn explore_with(preemptions: Option<usize>, name: &str, model: impl Fn() + Sync + Send + 'static) {
    let count = StdArc::new(Count::new(0));
    let counted = count.clone();
    let started = std::time::Instant::now();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let interleavings = count.load(Ordering::Relaxed);
    println!(
        "{name}: {interleavings} interleavings in {:.1?}",
        started.elapsed()
    );
    assert!(interleavings > 1);
}

#[test]
fn three_callers_of_a_new_client_cause_one_sign_in_and_get_its_token() {
    // All interleavings would take a day. Those of two callers are in the models with another third thread.
    explore_with(Some(3), "three callers", || {
        let client = Arc::new(Client::new());
        let others = [(), ()].map(|()| start(&client, |client| client.get_token(true)));
        assert_eq!(client.get_token(true), CallResult::Token(1));
        for other in others {
            assert_eq!(other.join().unwrap(), CallResult::Token(1));
        }
        assert_eq!(client.sign_ins(), 1);
        client.check_at_end();
    });
}

#[test]
fn three_ticket_holders_share_one_sign_in() {
    explore_with(Some(5), "three tickets", || {
        let client = Arc::new(Client::new());
        let tickets = [(); 3].map(|()| client.single_flight.ticket());
        let call = |client: &Client, ticket| client.new_token(&ticket, || client.sign_in(true));
        let [mine, others @ ..] = tickets;
        let others = others.map(|ticket| start(&client, move |client| call(client, ticket)));
        assert_eq!(call(&client, mine), CallResult::Token(1));
        for other in others {
            assert_eq!(other.join().unwrap(), CallResult::Token(1));
        }
        assert_eq!(client.sign_ins(), 1);
        client.check_at_end();
    });
}

#[test]
fn a_cancel_and_a_close_leave_no_caller_waiting() {
    explore("cancel and close", || {
        let client = Arc::new(Client::new());
        let canceller = start(&client, |client| client.single_flight.cancel());
        let closer = start(&client, Client::close);
        let result = client.get_token(true);
        assert!(
            matches!(result, CallResult::Token(1) | CallResult::Cancelled),
            "{result:?}"
        );
        canceller.join().unwrap();
        closer.join().unwrap();
        assert_eq!(client.get_token(true), CallResult::Cancelled);
        client.check_at_end();
    });
}

#[test]
fn callers_that_began_before_a_flight_all_get_its_error() {
    explore_with(Some(3), "callers of a failure", || {
        let client = Arc::new(Client::new());
        // All three calls began before any flight.
        let call = |client: &Client, ticket| client.new_token(&ticket, || client.sign_in(false));
        let [mine, others @ ..] = [(); 3].map(|()| client.single_flight.ticket());
        let others = others.map(|ticket| start(&client, move |client| call(client, ticket)));
        assert_eq!(call(&client, mine), CallResult::Error);
        for other in others {
            assert_eq!(other.join().unwrap(), CallResult::Error);
        }
        assert_eq!(client.sign_ins(), 1);
        client.check_at_end();
    });
}

#[test]
fn a_cancel_leaves_no_caller_waiting_and_the_client_usable() {
    explore_with(Some(5), "cancel", || {
        let client = Arc::new(Client::new());
        let caller = start(&client, |client| client.get_token(true));
        let canceller = start(&client, |client| client.single_flight.cancel());
        let mine = client.get_token(true);
        let result = [mine, caller.join().unwrap()];
        canceller.join().unwrap();
        for result in result {
            assert!(
                matches!(result, CallResult::Token(1) | CallResult::Cancelled),
                "{result:?}"
            );
        }
        assert_eq!(client.get_token(true), CallResult::Token(1));
        assert_eq!(client.sign_ins(), 1);
        client.check_at_end();
    });
}

#[test]
fn a_close_leaves_no_caller_waiting_and_no_token() {
    explore_with(Some(5), "close", || {
        let client = Arc::new(Client::new());
        let caller = start(&client, |client| client.get_token(true));
        let closer = start(&client, |client| {
            client.close();
            assert_eq!(client.cache.load(Ordering::SeqCst), 0);
        });
        let mine = client.get_token(true);
        let result = [mine, caller.join().unwrap()];
        closer.join().unwrap();
        for result in result {
            assert!(
                matches!(result, CallResult::Token(1) | CallResult::Cancelled),
                "{result:?}"
            );
        }
        assert_eq!(client.get_token(true), CallResult::Cancelled);
        assert_eq!(
            client.cache.load(Ordering::SeqCst),
            0,
            "kept after the close"
        );
        client.check_at_end();
    });
}

#[test]
fn cancel_and_close_wake_the_waiters_of_a_flight_that_never_completes() {
    for close in [false, true] {
        explore(
            if close {
                "close, hanging"
            } else {
                "cancel, hanging"
            },
            move || {
                let client = Arc::new(Client::new());
                let tickets = client.start::<2>();
                let waiters = tickets.map(|ticket| {
                    start(&client, move |client| client.wait(&ticket, Instant::NEVER))
                });
                if close {
                    client.close();
                } else {
                    client.single_flight.cancel();
                }
                for waiter in waiters {
                    assert_eq!(waiter.join().unwrap(), CallResult::Cancelled);
                }
                client.complete(Err(()));
                client.check_at_end();
            },
        );
    }
}

#[test]
fn a_delay_ends_the_calls_whose_deadline_is_earlier_and_no_others() {
    explore_with(Some(5), "delay", || {
        let client = Arc::new(Client::new());
        let [short, long] = client.start();
        // Time passes only after the first waiter has returned, because of the delay. Then the cancel wakes the
        // flight.
        let short = start(&client, move |client| {
            let result = client.wait(&short, LATER);
            client.move_to(LATER);
            client.single_flight.cancel();
            result
        });
        let long = start(&client, move |client| client.wait(&long, MUCH_LATER));
        assert!(client.single_flight.delay(LATER, (), &client.clock, || {}));
        assert!(client.single_flight.lock().delayed.is_none());
        client.complete(Ok(1));
        assert_eq!(short.join().unwrap(), CallResult::Delayed);
        let long = long.join().unwrap();
        assert!(
            matches!(long, CallResult::Token(1) | CallResult::Cancelled),
            "{long:?}"
        );
        client.check_at_end();
    });
}

#[test]
fn a_close_ends_a_delay_and_its_waiters() {
    explore("close in a delay", || {
        let client = Arc::new(Client::new());
        let [waiter] = client.start();
        let waiter = start(&client, move |client| client.wait(&waiter, MUCH_LATER));
        let closer = start(&client, Client::close);
        assert!(!client.single_flight.delay(LATER, (), &client.clock, || {}));
        assert_eq!(waiter.join().unwrap(), CallResult::Cancelled);
        closer.join().unwrap();
        client.running.fetch_sub(1, Ordering::SeqCst);
        let is_open = client
            .single_flight
            .complete(Ok(1), || panic!("kept after the close"));
        assert!(!is_open);
        client.check_at_end();
    });
}

#[test]
fn refreshes_and_a_caller_never_run_two_sign_ins_and_the_newest_token_is_kept() {
    explore_with(Some(5), "refresh ahead", || {
        let client = Arc::new(Client::new());
        client.cache.store(100, Ordering::SeqCst);
        // Two calls for which a refresh is due, and one `authenticate`.
        let refresh = |client: &Client| {
            let ticket = client.single_flight.ticket();
            if client.cache.load(Ordering::SeqCst) != 100 {
                return;
            }
            if let Ok(Joined::Started) = client.single_flight.start_or_join(&ticket, || Ok(())) {
                client.complete(client.sign_in(true));
            }
        };
        let refreshers = [(), ()].map(|()| start(&client, refresh));
        let ticket = client.single_flight.ticket();
        let new = client.new_token(&ticket, || client.sign_in(true));
        for refresher in refreshers {
            refresher.join().unwrap();
        }
        let token = client.cache.load(Ordering::SeqCst);
        assert_eq!(token, client.sign_ins() as u64, "the newest token is kept");
        assert!(new == CallResult::Token(1) || new == CallResult::Token(2));
        client.check_at_end();
    });
}

/// An event loop never waits in a call. After WOULD_WAIT it calls again when a change is announced.
#[test]
fn an_event_loop_that_got_would_wait_is_woken_by_a_change() {
    explore("event loop", || {
        let (post, events) = loom::sync::mpsc::channel();
        let client = Arc::new(Client::with_on_change(move |_| post.send(()).unwrap()));
        client.start::<0>();
        let sign_in = start(&client, |client| {
            // An attempt fails, the next one succeeds.
            assert!(
                client
                    .single_flight
                    .delay(LATER, (), &client.clock, || client.changed())
            );
            client.complete(Ok(1));
        });
        let mut moved = false;
        while client.cache.load(Ordering::SeqCst) == 0 {
            let ticket = client.single_flight.ticket();
            match client.wait(&ticket, Instant::from_nanos(0)) {
                // Time passes only after the loop has seen the delay. Then the cancel wakes the flight.
                CallResult::Delayed if !moved => {
                    moved = true;
                    client.move_to(LATER);
                    client.single_flight.cancel();
                }
                // Loom reports a loop that is never woken as a deadlock.
                CallResult::TimedOut | CallResult::Delayed => events.recv().unwrap(),
                CallResult::Token(1) => break,
                result => panic!("{result:?}"),
            }
        }
        sign_in.join().unwrap();
        client.check_at_end();
    });
}

#[test]
fn no_change_is_announced_after_a_close_has_returned() {
    explore("close and a change", || {
        let closed = Arc::new(AtomicBool::new(false));
        let has_closed = closed.clone();
        let client = Arc::new(Client::with_on_change(move |_| {
            assert!(!has_closed.load(Ordering::SeqCst), "after the close");
        }));
        let caller = start(&client, |client| client.get_token(true));
        client.close();
        closed.store(true, Ordering::SeqCst);
        let result = caller.join().unwrap();
        assert!(
            matches!(result, CallResult::Token(1) | CallResult::Cancelled),
            "{result:?}"
        );
        client.check_at_end();
    });
}

/// A close does not wait for a host function that itself waits for a close.
#[test]
fn three_simultaneous_closes_two_of_them_in_host_functions_do_not_deadlock() {
    explore_with(Some(3), "three closes", || {
        let client = Arc::new(Client::with_on_change(Client::close));
        let log = start(&client, |client| {
            if let Some(_pass) = client.gate.enter() {
                client.close();
            }
        });
        let caller = start(&client, |client| client.get_token(true));
        client.close();
        log.join().unwrap();
        let result = caller.join().unwrap();
        assert!(
            matches!(result, CallResult::Token(1) | CallResult::Cancelled),
            "{result:?}"
        );
        client.check_at_end();
    });
}
