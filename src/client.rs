//! The client: a cached token, one flight at a time to replace it, and a pace that no caller can
//! outrun. The only place that knows threads.
//!
//! Who does what: a *caller* reads the cache, boards a flight if it has to, and waits with its own
//! deadline. A *flight* makes up to `max_attempts` attempts on a thread of its own, each when the pace
//! allows, then lands with one result for everybody.
#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::cache::{CachedToken, ClientCache, TokenCache};
use crate::callbacks::Callbacks;
use crate::clock::{Clock, Instant};
use crate::flight::{Boarding, Closed, Flight, Flights, Ticket, Waited};
use crate::freshness::{self, Origin};
use crate::http::{Failed, HttpClient};
use crate::jitter;
use crate::pace::{Pace, Trouble};
use crate::process::{self, PerProcess};
use crate::protocol::Grant;
use crate::{Config, Credentials, Error, LastResult, LogLevel, State, Status, Token};

/// Signs in to the service and keeps the token. Any number of threads may use one client at any time.
pub struct Client {
    shared: Arc<Shared>,
    /// Set by the first [`Client::close`].
    is_closed: AtomicBool,
}

/// What the callers and the flight's thread have in common.
struct Shared {
    config: Config,
    /// Taken away when the client is closed.
    credentials: ArcSwapOption<Credentials>,
    cache: ClientCache,
    process: PerProcess<Process>,
}

/// The part that a forked child must have anew: locks, connections, flights.
struct Process {
    flights: Flights<Outcome, Error>,
    pace: Mutex<Paced>,
    http: HttpClient,
    callbacks: Callbacks,
}

/// What a flight comes to.
type Outcome = Result<Arc<CachedToken>, Error>;

struct Paced {
    pace: Pace,
    /// When and how the last request ended, or that the service has refused its token.
    last_result: Option<(Instant, Result<u16, Error>)>,
    requests: u64,
    failures: u64,
}

/// How long a call may wait.
#[derive(Clone, Copy)]
enum Patience {
    /// Not at all.
    None,
    Until(Instant),
}

impl Patience {
    fn allows(self, until: Instant) -> bool {
        matches!(self, Patience::Until(deadline) if until < deadline)
    }

    fn but_not_after(self, end: Instant) -> Patience {
        match self {
            Patience::None => Patience::None,
            Patience::Until(deadline) => Patience::Until(deadline.min(end)),
        }
    }
}

impl Client {
    /// Makes a client. Copies everything it needs; sends nothing yet.
    pub fn new(credentials: Credentials, config: &Config) -> Result<Client, Error> {
        Client::with_cache(credentials, config, Arc::default())
    }

    /// Makes a client that keeps its token in a cache that others can read.
    pub(crate) fn with_cache(
        credentials: Credentials,
        config: &Config,
        cache: Arc<TokenCache>,
    ) -> Result<Client, Error> {
        process::settle();
        let config = config.with_proxy_of_environment()?;
        let process = Process::new(&config)?;
        process.http.prepare()?;
        for name in credentials.copied_with_too_much() {
            process.callbacks.log(
                LogLevel::Warn,
                format_args!("{name} begins or ends with a blank or a quote: was too much copied?"),
            );
        }
        Ok(Client {
            shared: Arc::new(Shared {
                config,
                credentials: ArcSwapOption::from_pointee(credentials),
                cache: ClientCache::new(cache),
                process: PerProcess::new(process),
            }),
            is_closed: AtomicBool::new(false),
        })
    }

    /// The cached token while it is fresh; else asks the service, for at most `timeout` in all
    /// (`None`: the configured one; zero: never waits, starts a request and returns
    /// [`Status::WouldWait`]).
    pub fn get_token(&self, timeout: Option<Duration>) -> Result<Token, Error> {
        let shared = &self.shared;
        let now = shared.clock().now();
        let fresh = shared.cache.load().filter(|token| !token.wants_a_look(now));
        if let Some(token) = fresh.and_then(Token::living) {
            return Ok(token);
        }
        // Counted before the cache is looked at.
        let landings = shared.process().flights.landings();
        match shared.living() {
            Some(token) if now < token.cached().lifetime.fresh_until => {
                if token.cached().wants_a_look(now) {
                    shared.refresh(token.cached(), landings, now);
                }
                Ok(token)
            }
            Some(token) => {
                // With a token in hand nobody waits for the pace, and nobody waits so long for an
                // answer that nothing of the token is left.
                let patience = shared
                    .patience(timeout)
                    .but_not_after(now + token.expires_in() / 2);
                shared
                    .check_pace(Patience::None)
                    .and_then(|()| shared.ask(patience, landings))
                    // The old token, if it still lives, is better than none.
                    .or_else(|error| shared.living().ok_or(error))
            }
            None => shared.ask(shared.patience(timeout), landings),
        }
    }

    /// Always asks the service (or joins a request that is already in the air), for at most `timeout`
    /// in all. The new token replaces the cached one.
    pub fn authenticate(&self, timeout: Option<Duration>) -> Result<Token, Error> {
        let shared = &self.shared;
        let landings = shared.process().flights.landings();
        shared.ask(shared.patience(timeout), landings)
    }

    /// Forgets the cached token if it is still `rejected` (`None`: whichever it is), because the service
    /// refused it. If that was within a minute of its issue, another one would probably be refused as
    /// well: calls that need one fail with [`Status::Rejected`] until the next sign-in may leave, after
    /// 5 s, doubling up to 5 min, until a token has lived for a minute.
    pub fn invalidate(&self, rejected: Option<&str>) {
        let shared = &self.shared;
        let process = shared.process();
        let dropped = {
            // A caller that finds the cache empty has to find the pace changed as well.
            let mut paced = process.paced();
            let dropped = shared
                .cache
                .take_if(|grant| rejected.is_none_or(|rejected| rejected == grant.token.expose()));
            dropped.map(|token| (paced.token_refused(shared.clock().now(), &token), token))
        };
        match dropped {
            None => {}
            Some((None, _)) => process.callbacks.log(
                LogLevel::Info,
                format_args!("the cached token was invalidated by the caller"),
            ),
            Some((Some(wait), _)) => process.callbacks.log(
                LogLevel::Error,
                format_args!("{TOKEN_REFUSED}; next not before {} ms", wait.as_millis()),
            ),
        }
    }

    /// What is known of the client now. Sends nothing and waits for no request. Since 1.1.
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// Makes every call that is waiting return [`Status::Cancelled`]. The client stays usable.
    pub fn cancel(&self) {
        self.shared.process().flights.cancel();
    }

    /// Ends the client: waiting calls return [`Status::Cancelled`], the token and the credentials are
    /// dropped, connections are closed, and the functions for log lines and changes are not called any
    /// more. Waits only for such a function that is running on another thread. Dropping a client that is not closed does the same.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        let shared = &self.shared;
        // First: in a forked child another thread's first call may come after the look at `existing`.
        shared.credentials.store(None);
        // A forked child that has not used the client has nothing of its own to end.
        let process = shared.process.existing();
        if let Some(process) = process {
            process.flights.close();
        }
        shared.cache.clear();
        if let Some(process) = process {
            process.http.shut_down();
            process.callbacks.close();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The last reference may be that of a call which was woken by a close, and the log function that
        // called it may be waiting for that call.
        if !*self.is_closed.get_mut() {
            self.close();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Process {
    fn new(config: &Config) -> Result<Process, Error> {
        Ok(Process {
            flights: Flights::new(),
            pace: Mutex::new(Paced {
                pace: Pace::new(config.requests_per_minute),
                last_result: None,
                requests: 0,
                failures: 0,
            }),
            http: HttpClient::new(config)?,
            callbacks: Callbacks::new(config.log.clone(), config.on_change.clone()),
        })
    }

    fn paced(&self) -> MutexGuard<'_, Paced> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Paced {
    /// Returns how long the next sign-in has to wait for that.
    fn token_refused(&mut self, now: Instant, token: &CachedToken) -> Option<Duration> {
        let proven_at = token.lifetime.proven_at;
        let wait = self.pace.token_refused(now, proven_at, jitter::draw())?;
        self.last_result = Some((now, Err(Error::new(Status::Rejected, TOKEN_REFUSED))));
        Some(wait)
    }

    /// Why the last request failed, or what happened to its token, for callers who come while the pace
    /// forbids another.
    fn last_error(&self) -> Option<&Error> {
        self.last_result.as_ref()?.1.as_ref().err()
    }

    /// The error for a caller who will not wait until `until`.
    fn refusal(&self, config: &Config, now: Instant, until: Instant) -> Error {
        self.last_error()
            .cloned()
            .unwrap_or_else(|| match self.pace.trouble(now) {
                Some(_) => Error::new(Status::Rejected, TOKEN_REFUSED),
                None => {
                    let limit = config.requests_per_minute;
                    let message = format!(
                        "this client has sent {limit} requests in the last minute, its own limit"
                    );
                    Error::new(Status::RateLimited, message)
                }
            })
            .with_retry_after(until.since(now))
    }
}

impl Shared {
    fn clock(&self) -> &Clock {
        &self.config.network.clock
    }

    fn process(&self) -> &Process {
        self.process.get(|| {
            Process::new(&self.config)
                .expect("these settings were accepted when the client was made")
        })
    }

    /// Takes the log's lock: only for a call that has no fresh token.
    fn patience(&self, timeout: Option<Duration>) -> Patience {
        // What the call would wait for may itself be waiting for this log function to return.
        if self.process().callbacks.is_running_here() {
            return Patience::None;
        }
        match timeout.unwrap_or(self.config.timeout) {
            Duration::ZERO => Patience::None,
            timeout => Patience::Until(self.clock().now() + timeout),
        }
    }

    /// The cached token, unless it has ended.
    fn living(&self) -> Option<Token> {
        self.cache.load().and_then(Token::living)
    }

    /// Starts a refresh ahead, if the pace allows one and nobody did. Never waits.
    fn refresh(self: &Arc<Self>, token: &CachedToken, landings: u64, now: Instant) {
        let next = self.process().paced().pace.next(now);
        if next > now {
            token.look_again_at(next);
            return;
        }
        token.look_again_at(Instant::NEVER);
        match self.process().flights.board(landings) {
            Boarding::Started(ticket) => {
                if self.take_off(&ticket, Purpose::RefreshAhead).is_err() {
                    self.land(&ticket.flight, Err(self.fail_without_thread()));
                }
            }
            // If that one failed, it is for the next caller to look again.
            Boarding::Missed => token.look_again_at(now),
            Boarding::Joined(_) | Boarding::Closed => {}
        }
    }

    /// Gets a new token: waits for the flight in the air, or starts one. A flight that has landed
    /// since `landings` were counted was in the air during this call, and counts as joined. A token that
    /// ended before this call was woken up with it (the device slept) is not one: asks again.
    fn ask(self: &Arc<Self>, patience: Patience, mut landings: u64) -> Result<Token, Error> {
        loop {
            if let Some(token) = Token::living(self.ask_once(patience, landings)?) {
                return Ok(token);
            }
            landings = self.process().flights.landings();
        }
    }

    fn ask_once(self: &Arc<Self>, patience: Patience, mut landings: u64) -> Outcome {
        // Also in a forked child, where the flights are new and not closed.
        if self.credentials.load().is_none() {
            return Err(cancelled());
        }
        let flights = &self.process().flights;
        let ticket = loop {
            match flights.join() {
                Ok(Some(ticket)) => break ticket,
                Ok(None) => self.check_pace(patience)?,
                Err(Closed) => return Err(cancelled()),
            }
            match flights.board(landings) {
                Boarding::Joined(ticket) => break ticket,
                Boarding::Started(ticket) => {
                    if self.take_off(&ticket, Purpose::Wanted).is_err() {
                        self.fly_here(&ticket, patience);
                    }
                    break ticket;
                }
                Boarding::Missed => {
                    landings = flights.landings();
                    if let Some(outcome) = self.just_landed() {
                        return outcome;
                    }
                }
                Boarding::Closed => return Err(cancelled()),
            }
        };
        // Without patience the deadline is now: whatever has landed or is delayed is known at once.
        let (deadline, gave_up) = match patience {
            Patience::Until(deadline) => (deadline, Status::Timeout),
            Patience::None => (self.clock().now(), Status::WouldWait),
        };
        match flights.wait(&ticket, deadline, self.clock()) {
            Waited::Landed(outcome) => outcome,
            Waited::Delayed(until, why) => {
                Err(why.with_retry_after(until.since(self.clock().now())))
            }
            Waited::Cancelled => Err(cancelled()),
            Waited::TimedOut => Err(Error::new(
                gave_up,
                match gave_up {
                    Status::Timeout => "the time for this call ran out; the request goes on",
                    _ => "no token yet; a request is on its way, call again",
                },
            )),
        }
    }

    /// What the flight that landed last came to, unless it is out of date already.
    fn just_landed(&self) -> Option<Outcome> {
        let now = self.clock().now();
        let paced = self.process().paced();
        if let Some(error) = paced.last_error() {
            let wait = paced.pace.next(now).since(now);
            return Some(Err(error.clone().with_retry_after(wait)));
        }
        let token = self.cache.load()?;
        (now < token.lifetime.fresh_until).then_some(Ok(token))
    }

    /// Turns away a caller who would only find out that the next request may not leave in time.
    fn check_pace(&self, patience: Patience) -> Result<(), Error> {
        let paced = self.process().paced();
        let now = self.clock().now();
        let next = paced.pace.next(now);
        if next <= now || (paced.pace.is_worth_waiting(now) && patience.allows(next)) {
            return Ok(());
        }
        Err(paced.refusal(&self.config, now, next))
    }

    /// Starts the flight on a thread of its own.
    fn take_off(
        self: &Arc<Self>,
        ticket: &Ticket<Outcome>,
        purpose: Purpose,
    ) -> std::io::Result<()> {
        let shared = self.clone();
        let flight = ticket.flight.clone();
        process::spawn(move || {
            let outcome = shared.fly(purpose, Instant::NEVER);
            shared.land(&flight, outcome);
        })
    }

    /// If no thread can be started: sends the request on the caller's, as long as the caller allows. `cancel`
    /// does not end it, and nothing ends a name resolution.
    fn fly_here(&self, ticket: &Ticket<Outcome>, patience: Patience) {
        let outcome = match patience {
            Patience::None => Err(self.fail_without_thread()),
            Patience::Until(deadline) => self.fly(Purpose::Wanted, deadline),
        };
        self.land(&ticket.flight, outcome);
    }

    /// Where no thread can be started and the caller cannot wait, the attempt has failed. It counts like
    /// any other: a program that calls again at each change would else call for ever.
    fn fail_without_thread(&self) -> Error {
        let no_thread = Error::new(
            Status::Internal,
            "the system gave no thread for the request",
        );
        match self.clear_to_send() {
            Err((_, why)) => why,
            Ok(_) => {
                let failed = Failed {
                    error: no_thread,
                    connected: false,
                };
                self.attempt_failed(failed, 1).0
            }
        }
    }

    /// The exchange with all its attempts, until `deadline` at most. A panic becomes an error, so that
    /// nobody waits for ever.
    fn fly(&self, purpose: Purpose, deadline: Instant) -> Outcome {
        catch_unwind(AssertUnwindSafe(|| self.try_fly(purpose, deadline))).unwrap_or_else(|_| {
            Err(Error::new(
                Status::Internal,
                "a panic inside the library was caught; please report it",
            ))
        })
    }

    fn try_fly(&self, purpose: Purpose, deadline: Instant) -> Outcome {
        let process = self.process();
        let clock = self.clock();
        let mut attempts = 0;
        loop {
            let sent = match self.clear_to_send() {
                Ok(sent) => sent,
                Err((next, why)) => {
                    if next >= deadline || !process.paced().pace.is_worth_waiting(clock.now()) {
                        return Err(why);
                    }
                    process.callbacks.log(
                        LogLevel::Debug,
                        format_args!("waiting {} ms: {why}", next.since(clock.now()).as_millis()),
                    );
                    let status = why.status();
                    let announce = || process.callbacks.changed(status);
                    if !process.flights.delay(next, why, clock, announce) {
                        return Err(cancelled());
                    }
                    continue;
                }
            };
            let Some(credentials) = self.credentials.load_full() else {
                return Err(cancelled());
            };
            attempts += 1;
            process.callbacks.log(
                LogLevel::Debug,
                format_args!("asking {}, attempt {attempts}", process.http.host()),
            );
            let timeout = self.config.attempt_timeout.min(deadline.since(sent));
            // Whatever leaves counts, even if the server cannot have seen it.
            let may_ask_again = || self.clear_to_send().is_ok();
            let attempt = process.http.attempt(&credentials, timeout, may_ask_again);
            let attempt = attempt.and_then(|grant| self.accept(grant, sent, purpose));
            let failed = match attempt {
                Ok(token) => {
                    let mut paced = process.paced();
                    paced.pace.succeeded(token.lifetime.proven_at);
                    paced.last_result = Some((clock.now(), Ok(token.grant.http_status)));
                    return Ok(Arc::new(token));
                }
                Err(failed) => failed,
            };
            let (error, passes) = self.attempt_failed(failed, attempts);
            if attempts >= self.config.max_attempts || !passes {
                return Err(error);
            }
        }
    }

    /// Records a failed attempt. Returns its error with the time until the next one, and whether waiting
    /// can help.
    fn attempt_failed(&self, failed: Failed, attempts: u32) -> (Error, bool) {
        let Failed { error, connected } = failed;
        let trouble = Trouble::of(&error, connected);
        let process = self.process();
        let random = jitter::draw();
        let error = {
            let now = self.clock().now();
            let mut paced = process.paced();
            paced.pace.failed(now, trouble, error.retry_after, random);
            let wait = paced.pace.next(now).since(now);
            let error = error.with_retry_after(wait);
            paced.last_result = Some((now, Err(error.clone())));
            paced.failures += 1;
            error
        };
        let level = match trouble.passes() {
            true => LogLevel::Warn,
            false => LogLevel::Error,
        };
        process.callbacks.log(
            level,
            format_args!(
                "attempt {attempts} failed: {error}; next not before {} ms",
                error.retry_after.unwrap_or_default().as_millis()
            ),
        );
        (error, trouble.passes())
    }

    /// Records that a request leaves now, or says when one may.
    fn clear_to_send(&self) -> Result<Instant, (Instant, Error)> {
        let mut paced = self.process().paced();
        let now = self.clock().now();
        let next = paced.pace.next(now);
        if next > now {
            return Err((next, paced.refusal(&self.config, now, next)));
        }
        paced.pace.sent(now);
        paced.requests += 1;
        Ok(now)
    }

    /// Makes a token of what was granted, unless it has ended on its way: the answer took longer than the
    /// token lives, or the device slept meanwhile.
    fn accept(&self, grant: Grant, sent: Instant, purpose: Purpose) -> Result<CachedToken, Failed> {
        let process = self.process();
        let origin = match purpose {
            Purpose::RefreshAhead if process.paced().last_error().is_none() => Origin::Refreshed,
            _ => Origin::Scrambled,
        };
        let token = self.with_lifetime(grant, sent, origin);
        if !token.left().is_zero() {
            return Ok(token);
        }
        let error = Error::new(
            Status::Timeout,
            format!(
                "the token of {} had expired when it came, {} s after it was asked for",
                process.http.host(),
                self.clock().now().since(sent).as_secs()
            ),
        );
        Err(Failed {
            error,
            connected: true,
        })
    }

    fn with_lifetime(&self, grant: Grant, sent: Instant, origin: Origin) -> CachedToken {
        let mut lifetime = freshness::plan(sent, grant.expires_in, origin, jitter::draw());
        let is_same = |old: &CachedToken| old.grant.token == grant.token;
        if let Some(old) = self.cache.load().filter(|old| is_same(old)) {
            // Whatever the server says of its time left, a token does not get younger.
            if old.grant.expires_at == grant.expires_at && sent < old.lifetime.ends {
                lifetime.ends = lifetime.ends.min(old.lifetime.ends);
            }
            lifetime.proven_at = lifetime.proven_at.min(old.lifetime.proven_at);
            // The server has nothing newer: asking again before the end would bring the same.
            lifetime.refresh_at = lifetime.ends;
            lifetime.fresh_until = lifetime.ends;
        }
        CachedToken::new(grant, lifetime, self.clock().clone(), self.cache.owner())
    }

    /// Ends the flight: keeps the token, tells the waiters, then the host's functions.
    fn land(&self, flight: &Flight<Outcome>, outcome: Outcome) {
        let process = self.process();
        let is_open = process.flights.land(flight, outcome.clone(), || {
            if let Ok(token) = &outcome {
                self.cache.store(token.clone());
            }
        });
        if !is_open {
            return;
        }
        match outcome {
            Ok(token) => {
                process.callbacks.changed(Status::Ok);
                process.callbacks.log(
                    LogLevel::Info,
                    format_args!(
                        "signed in; the token lives for {} s",
                        token.left().as_secs()
                    ),
                );
            }
            Err(error) => {
                // Whatever the flight was for: it was a refresh if there is a token.
                let now = self.clock().now();
                let current = self.cache.load().filter(|old| now < old.lifetime.ends);
                if let Some(token) = &current {
                    token.look_again_at(now + error.retry_after.unwrap_or(RETRY_AFTER_PANIC));
                }
                process.callbacks.changed(error.status());
                if let Some(token) = current {
                    process.callbacks.log(
                        LogLevel::Warn,
                        format_args!(
                            "the refresh failed: {error}; the current token serves for another {} s",
                            token.left().as_secs()
                        ),
                    );
                }
            }
        }
    }

    fn state(&self) -> State {
        let process = self.process();
        // Before the rest: once it has landed, what it came to is there.
        let request_in_flight = process.flights.is_flying();
        let now = self.clock().now();
        let paced = process.paced();
        let last_result = paced.last_result.as_ref().map(|(at, result)| LastResult {
            age: now.since(*at),
            http_status: match result {
                Ok(http_status) => Some(*http_status),
                Err(error) => error.http_status,
            },
            error: result.as_ref().err().cloned(),
        });
        let token = self.cache.load().filter(|token| now < token.lifetime.ends);
        let lifetime = token.map(|token| token.lifetime);
        State {
            expires_in: lifetime.map(|lifetime| lifetime.ends.since(now)),
            is_fresh: lifetime.is_some_and(|lifetime| now < lifetime.fresh_until),
            refresh_in: lifetime.map(|lifetime| lifetime.refresh_at.since(now)),
            request_in_flight,
            next_request_in: paced.pace.next(now).since(now),
            last_result,
            requests: paced.requests,
            failures: paced.failures,
        }
    }
}

/// When a refresh is tried again that a panic has ended.
const RETRY_AFTER_PANIC: Duration = Duration::from_secs(5);

/// No allocation: `invalidate` takes none.
const TOKEN_REFUSED: &str = "the service refused a token within a minute of issuing it: another one would be \
                             refused as well (is the header x-token lost on the way, or the integrator disabled?)";

/// What a flight is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Wanted,
    RefreshAhead,
}

fn cancelled() -> Error {
    Error::new(
        Status::Cancelled,
        "the call was cancelled, or its client was freed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn client(cache: Arc<TokenCache>) -> Client {
        let credentials = Credentials::new("id", "secret", "brand", "integrator").unwrap();
        Client::with_cache(credentials, &Config::new(), cache).unwrap()
    }

    /// A token that was asked for now.
    fn token(client: &Client, value: &str) -> Arc<CachedToken> {
        let grant = Grant {
            token: Secret::new(value),
            token_type: "Bearer".into(),
            expires_in: Duration::from_secs(3600),
            expires_at: 1_793_939_000,
            http_status: 200,
        };
        let sent = client.shared.clock().now();
        let token = client.shared.with_lifetime(grant, sent, Origin::Refreshed);
        Arc::new(token)
    }

    #[test]
    fn a_token_that_the_service_gives_again_has_proven_itself_as_before() {
        let client = client(Arc::default());
        let first = token(&client, "a");
        client.shared.cache.store(first.clone());
        let again = token(&client, "a");
        assert_eq!(again.lifetime.proven_at, first.lifetime.proven_at);
    }

    /// Between a look at the cache and the attempt to refresh, a refresh may have landed.
    #[test]
    fn a_refresh_that_landed_meanwhile_is_not_repeated() {
        let client = client(Arc::default());
        let shared = &client.shared;
        let token = token(&client, "a");
        let now = shared.clock().now();
        let late = token.lifetime.refresh_at;
        assert!(token.wants_a_look(late));
        shared.refresh(&token, shared.process().flights.landings() + 1, now);
        // Nothing took off, and the next caller looks again.
        assert!(matches!(shared.process().flights.join(), Ok(None)));
        assert!(token.wants_a_look(late));
    }

    /// The device may sleep after the answer has come and before the caller is woken.
    #[test]
    fn a_token_that_ended_before_its_caller_was_woken_is_not_handed_out() {
        let mut config = Config::new();
        // Refused at once: what is asked for anew does not come.
        config.set_base_url("http://127.0.0.1:1").unwrap();
        config.set_proxy("none").unwrap();
        config.set_max_attempts(1).unwrap();
        let credentials = Credentials::new("id", "secret", "brand", "integrator").unwrap();
        let client = Client::new(credentials, &config).unwrap();
        let shared = &client.shared;
        let mut token = Arc::into_inner(token(&client, "a")).unwrap();
        token.lifetime.ends = shared.clock().now();
        let Boarding::Started(ticket) = shared.process().flights.board(0) else {
            panic!("nothing else is in the air");
        };
        shared.land(&ticket.flight, Ok(Arc::new(token)));
        let came = shared.ask(shared.patience(None), 0);
        assert_eq!(came.map(|_| ()).unwrap_err().status(), Status::Connect);
    }

    #[test]
    fn who_missed_a_flight_that_failed_gets_its_error() {
        let client = client(Arc::default());
        let shared = &client.shared;
        assert!(shared.just_landed().is_none());
        let now = shared.clock().now();
        {
            let mut paced = shared.process().paced();
            paced.pace.sent(now);
            paced.pace.failed(now, Trouble::Service, None, 0);
            paced.last_result = Some((now, Err(Error::new(Status::Server, "no"))));
        }
        let Some(Err(error)) = shared.just_landed() else {
            panic!("it failed");
        };
        assert_eq!(error.status(), Status::Server);
        assert!(error.retry_after().is_some_and(|wait| !wait.is_zero()));
    }

    /// The handle table gives a slot's cache to the next client while calls of the last one may still
    /// be on their way out.
    #[test]
    fn a_closed_client_never_gives_or_drops_the_token_of_the_next_in_its_slot() {
        let slot: Arc<TokenCache> = Arc::default();
        let old = client(slot.clone());
        old.close();
        let new = client(slot);
        new.shared.cache.store(token(&new, "another's"));

        let came = old.get_token(None).map(|_| ()).unwrap_err();
        assert_eq!(came.status(), Status::Cancelled);
        assert!(old.shared.living().is_none());
        assert!(old.shared.just_landed().is_none());
        old.invalidate(None);
        old.invalidate(Some("another's"));
        drop(old);
        assert_eq!(new.get_token(None).unwrap().value(), "another's");
    }
}
