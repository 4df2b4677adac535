//! Loom finds every lost wake-up as a deadlock, because its `wait_timeout` never times out. So no
//! model has a deadline that passes by itself: where time passes, a thread moves the clock on.

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicU64 as Count, AtomicUsize};

use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::*;
use crate::clock::TimeSource;

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

/// The client as far as threads are concerned: the same steps in the same order as `client.rs`.
struct Client {
    flights: Flights<Outcome, ()>,
    /// The token; 0 for none.
    cache: AtomicU64,
    /// Whether the last flight failed.
    failed: AtomicBool,
    in_the_air: AtomicUsize,
    /// How many have flown: the n-th brings the token n.
    flown: AtomicUsize,
    hand: StdArc<Hand>,
    clock: Clock,
}

impl Client {
    fn new() -> Client {
        let hand = StdArc::new(Hand(Count::new(0)));
        Client {
            flights: Flights::new(),
            cache: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            in_the_air: AtomicUsize::new(0),
            flown: AtomicUsize::new(0),
            clock: Clock::Injected(hand.clone()),
            hand,
        }
    }

    /// Moves the clock on. Nobody is woken by that alone, as with a real clock.
    fn move_to(&self, time: Instant) {
        self.hand.0.store(time.as_nanos(), Ordering::SeqCst);
    }

    /// `get_token`: `outcome` is what a flight of this caller's comes to.
    fn get_token(&self, succeeds: bool) -> Came {
        let landings = self.flights.landings();
        match self.cache.load(Ordering::SeqCst) {
            0 => self.ask(landings, || self.fly(succeeds)),
            token => Came::Token(token),
        }
    }

    fn ask(&self, mut landings: u64, fly: impl FnOnce() -> Outcome) -> Came {
        let ticket = loop {
            match self.flights.join() {
                Ok(Some(ticket)) => break ticket,
                Ok(None) => {}
                Err(Closed) => return Came::Cancelled,
            }
            match self.flights.board(landings) {
                Boarding::Joined(ticket) => break ticket,
                Boarding::Started(ticket) => {
                    let outcome = fly();
                    self.land(&ticket.flight, outcome);
                    break ticket;
                }
                Boarding::Missed => {
                    landings = self.flights.landings();
                    if self.failed.load(Ordering::SeqCst) {
                        return Came::Error;
                    }
                    match self.cache.load(Ordering::SeqCst) {
                        0 => {}
                        token => return Came::Token(token),
                    }
                }
                Boarding::Closed => return Came::Cancelled,
            }
        };
        self.wait(&ticket, Instant::NEVER)
    }

    /// A flight in the air that this thread flies, and tickets for it.
    fn take_off<const N: usize>(&self) -> (Ticket<Outcome>, [Ticket<Outcome>; N]) {
        let Boarding::Started(ticket) = self.flights.board(0) else {
            panic!("something was in the air");
        };
        let join = |()| match self.flights.join() {
            Ok(Some(ticket)) => ticket,
            _ => panic!("nothing is in the air"),
        };
        (ticket, [(); N].map(join))
    }

    fn wait(&self, ticket: &Ticket<Outcome>, deadline: Instant) -> Came {
        match self.flights.wait(ticket, deadline, &self.clock) {
            Waited::Landed(Ok(token)) => Came::Token(token),
            Waited::Landed(Err(())) => Came::Error,
            Waited::Delayed(..) => Came::Delayed,
            Waited::Cancelled => Came::Cancelled,
            Waited::TimedOut => Came::TimedOut,
        }
    }

    fn fly(&self, succeeds: bool) -> Outcome {
        let others = self.in_the_air.fetch_add(1, Ordering::SeqCst);
        assert_eq!(others, 0, "two flights are in the air");
        let number = self.flown.fetch_add(1, Ordering::SeqCst) as u64 + 1;
        self.failed.store(!succeeds, Ordering::SeqCst);
        if succeeds { Ok(number) } else { Err(()) }
    }

    fn land(&self, flight: &Flight<Outcome>, outcome: Outcome) {
        self.in_the_air.fetch_sub(1, Ordering::SeqCst);
        self.flights.land(flight, outcome, || {
            if let Ok(token) = outcome {
                self.cache.store(token, Ordering::SeqCst);
            }
        });
    }

    fn close(&self) {
        self.flights.close();
        self.cache.store(0, Ordering::SeqCst);
    }

    fn flown(&self) -> usize {
        self.flown.load(Ordering::SeqCst)
    }

    /// What holds when every thread is gone.
    fn check_at_rest(&self) {
        assert_eq!(self.in_the_air.load(Ordering::SeqCst), 0);
        let state = self.flights.lock();
        assert!(state.current.is_none(), "a flight was left behind");
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

/// The same, with a limit to how often a thread is interrupted where it could go on.
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
fn three_callers_on_a_cold_client_cause_one_flight_and_get_its_token() {
    // All of their interleavings would take a day; those of two are in the models with a third
    // thread of another kind.
    explore_with(Some(3), "three callers", || {
        let client = Arc::new(Client::new());
        let others = [(), ()].map(|()| start(&client, |client| client.get_token(true)));
        assert_eq!(client.get_token(true), Came::Token(1));
        for other in others {
            assert_eq!(other.join().unwrap(), Came::Token(1));
        }
        assert_eq!(client.flown(), 1);
        client.check_at_rest();
    });
}

#[test]
fn three_who_board_share_one_flight() {
    explore("three who board", || {
        let client = Arc::new(Client::new());
        let board = |client: &Client| match client.flights.board(0) {
            Boarding::Joined(ticket) => client.wait(&ticket, Instant::NEVER),
            Boarding::Started(ticket) => {
                let outcome = client.fly(true);
                client.land(&ticket.flight, outcome);
                Came::Token(1)
            }
            Boarding::Missed => Came::Token(client.cache.load(Ordering::SeqCst)),
            Boarding::Closed => Came::Cancelled,
        };
        let others = [(), ()].map(|()| start(&client, board));
        assert_eq!(board(&client), Came::Token(1));
        for other in others {
            assert_eq!(other.join().unwrap(), Came::Token(1));
        }
        assert_eq!(client.flown(), 1);
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
        // All three calls began before any flight: like the client, they count first.
        let landings = client.flights.landings();
        let others = [(), ()].map(|()| {
            start(&client, move |client| {
                client.ask(landings, || client.fly(false))
            })
        });
        assert_eq!(client.ask(landings, || client.fly(false)), Came::Error);
        for other in others {
            assert_eq!(other.join().unwrap(), Came::Error);
        }
        assert_eq!(client.flown(), 1);
        client.check_at_rest();
    });
}

#[test]
fn a_cancel_among_callers_strands_nobody_and_leaves_the_client_usable() {
    explore("cancel", || {
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
        assert_eq!(client.flown(), 1);
        client.check_at_rest();
    });
}

#[test]
fn a_close_among_callers_strands_nobody_and_nothing_is_kept_after_it() {
    explore("close", || {
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
fn cancel_and_close_wake_a_waiter_whose_flight_never_lands() {
    for close in [false, true] {
        explore(
            if close {
                "close, hanging"
            } else {
                "cancel, hanging"
            },
            move || {
                let client = Arc::new(Client::new());
                let (ticket, tickets) = client.take_off::<2>();
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
                client.flights.land(&ticket.flight, Err(()), || {});
                client.check_at_rest();
            },
        );
    }
}

#[test]
fn a_delay_sends_away_who_cannot_wait_and_keeps_who_can() {
    explore("delay", || {
        let client = Arc::new(Client::new());
        let (ticket, [hasty, patient]) = client.take_off();
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
        client.flights.land(&ticket.flight, Ok(1), || {});
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
        let (ticket, [waiter]) = client.take_off();
        let waiter = start(&client, move |client| client.wait(&waiter, MUCH_LATER));
        let closer = start(&client, Client::close);
        assert!(!client.flights.delay(LATER, (), &client.clock, || {}));
        assert_eq!(waiter.join().unwrap(), Came::Cancelled);
        closer.join().unwrap();
        client
            .flights
            .land(&ticket.flight, Ok(1), || panic!("kept after the close"));
        client.check_at_rest();
    });
}

#[test]
fn a_refresh_and_callers_share_one_flight_and_the_next_gets_what_it_brought() {
    explore("refresh ahead", || {
        let client = Arc::new(Client::new());
        client.cache.store(100, Ordering::SeqCst);
        // Two who noticed that the token wants a refresh, and one who insists on a new one.
        let refresh = |client: &Client| {
            let landings = client.flights.landings();
            if client.cache.load(Ordering::SeqCst) != 100 {
                return;
            }
            if let Boarding::Started(ticket) = client.flights.board(landings) {
                let outcome = client.fly(true);
                client.land(&ticket.flight, outcome);
            }
        };
        let refreshers = [(), ()].map(|()| start(&client, refresh));
        let landings = client.flights.landings();
        let insisted = client.ask(landings, || client.fly(true));
        for refresher in refreshers {
            refresher.join().unwrap();
        }
        let token = client.cache.load(Ordering::SeqCst);
        assert_eq!(token, client.flown() as u64, "the newest token is kept");
        assert!(insisted == Came::Token(1) || insisted == Came::Token(2));
        client.check_at_rest();
    });
}
