//! Loom finds every lost wake-up as a deadlock, because its `wait_timeout` never times out. So no
//! model has a deadline that passes by itself: where time passes, a thread moves the clock on.

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicU64 as Count, AtomicUsize};

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

use super::*;
use crate::clock::TimeSource;
use crate::gate::Gate;

const LATER: Instant = Instant::from_nanos(10);
const MUCH_LATER: Instant = Instant::from_nanos(20);

/// A clock that stands until somebody moves it. Like all bookkeeping here it is invisible to
/// loom, which has enough to do with what the client itself shares.
struct Hand(Count);

impl TimeSource for Hand {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::SeqCst))
    }

    fn unix_seconds(&self) -> i64 {
        0
    }
}

/// What a call came to.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Token(u64),
    Error,
    Delayed,
    Cancelled,
    TimedOut,
}

type Outcome = Result<u64, ()>;

/// What surrounds the flights in a client: a cache, a sign-in, the host's change function behind its gate.
struct Client {
    flights: Flights<Outcome, ()>,
    gate: Gate,
    /// The token; 0 for none.
    cache: AtomicU64,
    running: AtomicUsize,
    /// How many sign-ins there were: the n-th brings the token n.
    sign_ins: AtomicUsize,
    /// What the change function does. Without one there is nothing for the gate to do.
    on_change: Option<Box<dyn Fn(&Client) + Send + Sync>>,
    hand: StdArc<Hand>,
    clock: Clock,
}

impl Client {
    fn new() -> Client {
        let hand = StdArc::new(Hand(Count::new(0)));
        Client {
            flights: Flights::new(),
            gate: Gate::new(),
            cache: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            sign_ins: AtomicUsize::new(0),
            on_change: None,
            clock: Clock::Injected(hand.clone()),
            hand,
        }
    }

    fn with_on_change(on_change: impl Fn(&Client) + Send + Sync + 'static) -> Client {
        Client {
            on_change: Some(Box::new(on_change)),
            ..Client::new()
        }
    }

    /// Moves the clock on. Nobody is woken by that alone, as with a real clock.
    fn move_to(&self, time: Instant) {
        self.hand.0.store(time.as_nanos(), Ordering::SeqCst);
    }

    /// `get_token`; `succeeds`: whether a sign-in that this caller starts does.
    fn get_token(&self, succeeds: bool) -> Came {
        let ticket = self.flights.ticket();
        match self.cache.load(Ordering::SeqCst) {
            0 => self.new_token(&ticket, || self.sign_in(succeeds)),
            token => Came::Token(token),
        }
    }

    /// The thread of the sign-in is the caller's.
    fn new_token(&self, ticket: &Ticket<Outcome>, sign_in: impl FnOnce() -> Outcome) -> Came {
        match self.flights.start_or_join(ticket, || Ok(())) {
            Ok(Boarded::Started) => self.complete(sign_in()),
            Ok(Boarded::Running | Boarded::Completed) => {}
            Err(_) => return Came::Cancelled,
        }
        self.wait(ticket, Instant::NEVER)
    }

    /// A flight that this thread runs, and tickets for it.
    fn start<const N: usize>(&self) -> [Ticket<Outcome>; N] {
        let tickets = [(); N].map(|()| self.flights.ticket());
        let started = self
            .flights
            .start_or_join(&self.flights.ticket(), || Ok(()));
        assert_eq!(started.unwrap(), Boarded::Started);
        self.running.fetch_add(1, Ordering::SeqCst);
        tickets
    }

    fn wait(&self, ticket: &Ticket<Outcome>, deadline: Instant) -> Came {
        match self.flights.wait(ticket, deadline, &self.clock) {
            Waited::Completed(Ok(token)) => Came::Token(token),
            Waited::Completed(Err(())) => Came::Error,
            Waited::Delayed(..) => Came::Delayed,
            Waited::Cancelled => Came::Cancelled,
            Waited::TimedOut => Came::TimedOut,
        }
    }

    fn sign_in(&self, succeeds: bool) -> Outcome {
        let others = self.running.fetch_add(1, Ordering::SeqCst);
        assert_eq!(others, 0, "two flights are running");
        let number = self.sign_ins.fetch_add(1, Ordering::SeqCst) as u64 + 1;
        if succeeds { Ok(number) } else { Err(()) }
    }

    fn complete(&self, outcome: Outcome) {
        self.running.fetch_sub(1, Ordering::SeqCst);
        let is_open = self.flights.complete(outcome, || {
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
        self.flights.close();
        self.cache.store(0, Ordering::SeqCst);
        if self.on_change.is_some() {
            self.gate.close();
        }
    }

    fn sign_ins(&self) -> usize {
        self.sign_ins.load(Ordering::SeqCst)
    }

    /// What holds when every thread is gone.
    fn check_at_rest(&self) {
        assert_eq!(self.running.load(Ordering::SeqCst), 0);
        let state = self.flights.lock();
        assert!(!state.is_running, "a flight was left behind");
        assert!(state.delayed.is_none(), "a delay was left behind");
    }
}

fn start<R: 'static>(
    client: &Arc<Client>,
    body: impl FnOnce(&Client) -> R + 'static,
) -> thread::JoinHandle<R> {
    let client = client.clone();
    thread::spawn(move || body(&client))
}

/// Runs a model and prints how many interleavings there were.
fn explore(name: &str, model: impl Fn() + Sync + Send + 'static) {
    explore_with(None, name, model);
}

/// The same, with a limit to how often a thread is interrupted where it could go on. For models of which all
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
fn three_callers_on_a_cold_client_cause_one_sign_in_and_get_its_token() {
    // All of their interleavings would take a day; those of two are in the models with a third
    // thread of another kind.
    explore_with(Some(3), "three callers", || {
        let client = Arc::new(Client::new());
        let others = [(), ()].map(|()| start(&client, |client| client.get_token(true)));
        assert_eq!(client.get_token(true), Came::Token(1));
        for other in others {
            assert_eq!(other.join().unwrap(), Came::Token(1));
        }
        assert_eq!(client.sign_ins(), 1);
        client.check_at_rest();
    });
}

#[test]
fn three_who_hold_tickets_share_one_sign_in() {
    explore_with(Some(5), "three tickets", || {
        let client = Arc::new(Client::new());
        let tickets = [(); 3].map(|()| client.flights.ticket());
        let call = |client: &Client, ticket| client.new_token(&ticket, || client.sign_in(true));
        let [mine, others @ ..] = tickets;
        let others = others.map(|ticket| start(&client, move |client| call(client, ticket)));
        assert_eq!(call(&client, mine), Came::Token(1));
        for other in others {
            assert_eq!(other.join().unwrap(), Came::Token(1));
        }
        assert_eq!(client.sign_ins(), 1);
        client.check_at_rest();
    });
}

#[test]
fn a_caller_among_a_cancel_and_a_close_is_never_stranded() {
    explore("cancel and close", || {
        let client = Arc::new(Client::new());
        let canceller = start(&client, |client| client.flights.cancel());
        let closer = start(&client, Client::close);
        let came = client.get_token(true);
        assert!(matches!(came, Came::Token(1) | Came::Cancelled), "{came:?}");
        canceller.join().unwrap();
        closer.join().unwrap();
        assert_eq!(client.get_token(true), Came::Cancelled);
        client.check_at_rest();
    });
}

#[test]
fn callers_who_were_there_together_all_get_the_error_of_one_flight() {
    explore_with(Some(3), "callers of a failure", || {
        let client = Arc::new(Client::new());
        // All three calls began before any flight.
        let call = |client: &Client, ticket| client.new_token(&ticket, || client.sign_in(false));
        let [mine, others @ ..] = [(); 3].map(|()| client.flights.ticket());
        let others = others.map(|ticket| start(&client, move |client| call(client, ticket)));
        assert_eq!(call(&client, mine), Came::Error);
        for other in others {
            assert_eq!(other.join().unwrap(), Came::Error);
        }
        assert_eq!(client.sign_ins(), 1);
        client.check_at_rest();
    });
}

#[test]
fn a_cancel_among_callers_strands_nobody_and_leaves_the_client_usable() {
    explore_with(Some(5), "cancel", || {
        let client = Arc::new(Client::new());
        let caller = start(&client, |client| client.get_token(true));
        let canceller = start(&client, |client| client.flights.cancel());
        let mine = client.get_token(true);
        let came = [mine, caller.join().unwrap()];
        canceller.join().unwrap();
        for came in came {
            assert!(matches!(came, Came::Token(1) | Came::Cancelled), "{came:?}");
        }
        assert_eq!(client.get_token(true), Came::Token(1));
        assert_eq!(client.sign_ins(), 1);
        client.check_at_rest();
    });
}

#[test]
fn a_close_among_callers_strands_nobody_and_nothing_is_kept_after_it() {
    explore_with(Some(5), "close", || {
        let client = Arc::new(Client::new());
        let caller = start(&client, |client| client.get_token(true));
        let closer = start(&client, |client| {
            client.close();
            assert_eq!(client.cache.load(Ordering::SeqCst), 0);
        });
        let mine = client.get_token(true);
        let came = [mine, caller.join().unwrap()];
        closer.join().unwrap();
        for came in came {
            assert!(matches!(came, Came::Token(1) | Came::Cancelled), "{came:?}");
        }
        assert_eq!(client.get_token(true), Came::Cancelled);
        assert_eq!(
            client.cache.load(Ordering::SeqCst),
            0,
            "kept after the close"
        );
        client.check_at_rest();
    });
}

#[test]
fn cancel_and_close_wake_a_waiter_whose_flight_never_ends() {
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
                    client.flights.cancel();
                }
                for waiter in waiters {
                    assert_eq!(waiter.join().unwrap(), Came::Cancelled);
                }
                client.complete(Err(()));
                client.check_at_rest();
            },
        );
    }
}

#[test]
fn a_delay_sends_away_who_cannot_wait_and_keeps_who_can() {
    explore_with(Some(5), "delay", || {
        let client = Arc::new(Client::new());
        let [hasty, patient] = client.start();
        // Time passes only when the one who cannot wait has gone, which the delay has to bring
        // about; the cancel is what wakes the flight then.
        let hasty = start(&client, move |client| {
            let came = client.wait(&hasty, LATER);
            client.move_to(LATER);
            client.flights.cancel();
            came
        });
        let patient = start(&client, move |client| client.wait(&patient, MUCH_LATER));
        assert!(client.flights.delay(LATER, (), &client.clock, || {}));
        assert!(client.flights.lock().delayed.is_none());
        client.complete(Ok(1));
        assert_eq!(hasty.join().unwrap(), Came::Delayed);
        let patient = patient.join().unwrap();
        assert!(
            matches!(patient, Came::Token(1) | Came::Cancelled),
            "{patient:?}"
        );
        client.check_at_rest();
    });
}

#[test]
fn a_close_ends_a_delay_and_all_who_wait_for_its_end() {
    explore("close in a delay", || {
        let client = Arc::new(Client::new());
        let [waiter] = client.start();
        let waiter = start(&client, move |client| client.wait(&waiter, MUCH_LATER));
        let closer = start(&client, Client::close);
        assert!(!client.flights.delay(LATER, (), &client.clock, || {}));
        assert_eq!(waiter.join().unwrap(), Came::Cancelled);
        closer.join().unwrap();
        client.running.fetch_sub(1, Ordering::SeqCst);
        let is_open = client
            .flights
            .complete(Ok(1), || panic!("kept after the close"));
        assert!(!is_open);
        client.check_at_rest();
    });
}

#[test]
fn a_refresh_and_callers_share_one_sign_in_and_the_next_gets_what_it_brought() {
    explore_with(Some(5), "refresh ahead", || {
        let client = Arc::new(Client::new());
        client.cache.store(100, Ordering::SeqCst);
        // Two who noticed that the token wants a refresh, and one who insists on a new one.
        let refresh = |client: &Client| {
            let ticket = client.flights.ticket();
            if client.cache.load(Ordering::SeqCst) != 100 {
                return;
            }
            if let Ok(Boarded::Started) = client.flights.start_or_join(&ticket, || Ok(())) {
                client.complete(client.sign_in(true));
            }
        };
        let refreshers = [(), ()].map(|()| start(&client, refresh));
        let ticket = client.flights.ticket();
        let insisted = client.new_token(&ticket, || client.sign_in(true));
        for refresher in refreshers {
            refresher.join().unwrap();
        }
        let token = client.cache.load(Ordering::SeqCst);
        assert_eq!(token, client.sign_ins() as u64, "the newest token is kept");
        assert!(insisted == Came::Token(1) || insisted == Came::Token(2));
        client.check_at_rest();
    });
}

/// An event loop: calls that never wait, and after WOULD_WAIT nothing but the announcement of a change.
#[test]
fn an_event_loop_that_was_told_to_wait_is_woken_by_what_it_waits_for() {
    explore("event loop", || {
        let (post, events) = loom::sync::mpsc::channel();
        let client = Arc::new(Client::with_on_change(move |_| post.send(()).unwrap()));
        client.start::<0>();
        let sign_in = start(&client, |client| {
            // An attempt fails, the next one succeeds.
            assert!(
                client
                    .flights
                    .delay(LATER, (), &client.clock, || client.changed())
            );
            client.complete(Ok(1));
        });
        let mut moved = false;
        while client.cache.load(Ordering::SeqCst) == 0 {
            let ticket = client.flights.ticket();
            match client.wait(&ticket, Instant::from_nanos(0)) {
                // Time passes only when the loop knows of the delay. The cancel is what wakes the flight then.
                Came::Delayed if !moved => {
                    moved = true;
                    client.move_to(LATER);
                    client.flights.cancel();
                }
                // Loom finds a loop that nobody wakes as a deadlock.
                Came::TimedOut | Came::Delayed => events.recv().unwrap(),
                Came::Token(1) => break,
                came => panic!("{came:?}"),
            }
        }
        sign_in.join().unwrap();
        client.check_at_rest();
    });
}

#[test]
fn no_change_is_announced_after_a_close_has_returned() {
    explore("close and a change", || {
        let closed = Arc::new(AtomicBool::new(false));
        let seen = closed.clone();
        let client = Arc::new(Client::with_on_change(move |_| {
            assert!(!seen.load(Ordering::SeqCst), "after the close");
        }));
        let caller = start(&client, |client| client.get_token(true));
        client.close();
        closed.store(true, Ordering::SeqCst);
        let came = caller.join().unwrap();
        assert!(matches!(came, Came::Token(1) | Came::Cancelled), "{came:?}");
        client.check_at_rest();
    });
}

/// Nobody waits for a function that waits for him.
#[test]
fn a_change_function_that_closes_its_client_meets_a_close_from_outside_and_a_log_function_that_closes()
 {
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
        let came = caller.join().unwrap();
        assert!(matches!(came, Came::Token(1) | Came::Cancelled), "{came:?}");
        client.check_at_rest();
    });
}
