//! The client: what a caller does. It reads the cache, starts or joins a sign-in if it has to, and waits
//! for that with its own deadline. What the sign-in does is in `sign_in.rs`.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::cache::{CachedToken, ClientCache, TokenCache};
use crate::clock::Instant;
use crate::flight::{Joined, Refused, Ticket, Waited};
use crate::process::{self, PerProcess};
use crate::sign_in::{Live, Outcome, Purpose, Shared, TOKEN_REFUSED, cancelled};
use crate::{Config, Credentials, Error, LastResult, LogLevel, State, Status, Token};

/// Signs in to the service and keeps the token. Any number of threads may use one client at any time.
pub struct Client {
    shared: Arc<Shared>,
    /// Set by the first [`Client::close`].
    is_closed: AtomicBool,
}

/// How long a call may wait.
#[derive(Clone, Copy)]
enum WaitLimit {
    /// Not at all.
    Zero,
    Until(Instant),
}

impl WaitLimit {
    fn allows(self, until: Instant) -> bool {
        matches!(self, WaitLimit::Until(deadline) if until < deadline)
    }

    fn but_not_after(self, end: Instant) -> WaitLimit {
        match self {
            WaitLimit::Zero => WaitLimit::Zero,
            WaitLimit::Until(deadline) => WaitLimit::Until(deadline.min(end)),
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
        process::init();
        let config = config.with_proxy_of_environment()?;
        let live = Live::new(&config)?;
        live.http.prepare()?;
        for name in credentials.copied_with_too_much() {
            live.callbacks.log(
                LogLevel::Warn,
                format_args!(
                    "{name} begins or ends with a space or a quote: check how it was copied"
                ),
            );
        }
        Ok(Client {
            shared: Arc::new(Shared {
                config,
                credentials: ArcSwapOption::from_pointee(credentials),
                cache: ClientCache::new(cache),
                live: PerProcess::new(live),
            }),
            is_closed: AtomicBool::new(false),
        })
    }

    /// The cached token if it is fresh; otherwise a new one, for which it waits at most `timeout` in all
    /// (`None`: the configured one; zero: does not wait, starts or joins a sign-in and returns
    /// [`Status::WouldWait`], or the last error while no request may be sent).
    pub fn get_token(&self, timeout: Option<Duration>) -> Result<Token, Error> {
        let shared = &self.shared;
        let now = shared.clock().now();
        let fresh = shared.cache.load().filter(|token| !token.needs_check(now));
        if let Some(token) = fresh.and_then(Token::living) {
            return Ok(token);
        }
        // Taken before the cache is read again: a flight that is completed meanwhile counts as joined.
        let ticket = shared.live().single_flight.ticket();
        match self.living() {
            Some(token) if now < token.cached().lifetime.fresh_until => {
                if token.cached().needs_check(now) {
                    self.refresh(token.cached(), &ticket, now);
                }
                Ok(token)
            }
            Some(token) => {
                // Stale, but usable: do not wait for the pace, and for the response only half of the token's
                // remaining time.
                let limit = self
                    .wait_limit(timeout)
                    .but_not_after(now + token.expires_in() / 2);
                self.check_pace(WaitLimit::Zero)
                    .and_then(|()| self.new_token(limit, ticket))
                    // The old token, unless it has expired meanwhile.
                    .or_else(|error| match error.status() {
                        Status::Cancelled => Err(error),
                        _ => self.living().ok_or(error),
                    })
            }
            None => self.new_token(self.wait_limit(timeout), ticket),
        }
    }

    /// Always signs in (or joins a sign-in that is running), and waits for at most `timeout` in all. The new
    /// token replaces the cached one.
    pub fn authenticate(&self, timeout: Option<Duration>) -> Result<Token, Error> {
        let ticket = self.shared.live().single_flight.ticket();
        self.new_token(self.wait_limit(timeout), ticket)
    }

    /// Forgets the cached token if it is still `rejected` (`None`: whichever it is), because the service
    /// refused it: another endpoint answered HTTP 401 with `Invalid token` or `Token expired`; any other 401
    /// is not about the token. If that was within a minute of its issue, another one would probably be
    /// refused as well: the next sign-in then waits 5 s, doubling to 225 s, and up to a quarter more, with at
    /// most two in a minute, until a token has been in use for that minute. During such a pause calls that need
    /// a token fail with [`Status::Rejected`], retryable.
    pub fn invalidate(&self, rejected: Option<&str>) {
        let shared = &self.shared;
        let live = shared.live();
        let dropped = {
            // Both under the lock: a caller that finds the cache empty must find the new pace.
            let mut paced = live.paced();
            let dropped = shared
                .cache
                .take_if(|grant| rejected.is_none_or(|rejected| rejected == grant.token.expose()));
            dropped.map(|token| (paced.token_refused(shared.clock().now(), &token), token))
        };
        match dropped {
            None => {}
            Some((None, _)) => live.callbacks.log(
                LogLevel::Info,
                format_args!("the cached token was invalidated by the caller"),
            ),
            Some((Some(wait), _)) => live.callbacks.log(
                LogLevel::Error,
                format_args!(
                    "{TOKEN_REFUSED}; next attempt in {} ms at the earliest",
                    wait.as_millis()
                ),
            ),
        }
    }

    /// What is known of the client now. Sends nothing and waits for no request. Since 1.1.
    pub fn state(&self) -> State {
        let shared = &self.shared;
        let live = shared.live();
        // Read first: if no sign-in is running any more, its result is there.
        let request_in_flight = live.single_flight.is_running();
        let now = shared.clock().now();
        let paced = live.paced();
        let last_result = paced.last_result.as_ref().map(|(at, result)| LastResult {
            age: now.since(*at),
            http_status: match result {
                Ok(http_status) => Some(*http_status),
                Err(error) => error.http_status,
            },
            error: result.as_ref().err().cloned(),
        });
        let token = shared
            .cache
            .load()
            .filter(|token| now < token.lifetime.ends);
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

    /// Makes every call that is waiting return [`Status::Cancelled`]. The client stays usable.
    pub fn cancel(&self) {
        self.shared.live().single_flight.cancel();
    }

    /// Ends the client: waiting calls return [`Status::Cancelled`], the token and the credentials are
    /// dropped, connections are closed, and the functions for log lines and changes are not called any
    /// more. Waits only for such a function that is running on another thread. Dropping a client that is
    /// not closed does the same.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        let shared = &self.shared;
        // First: in a forked child another thread may make the child's own part after `existing`.
        shared.credentials.store(None);
        // A forked child that has not used the client has no part of its own.
        let live = shared.live.existing();
        if let Some(live) = live {
            live.single_flight.close();
        }
        shared.cache.clear();
        if let Some(live) = live {
            live.http.shut_down();
            live.callbacks.close();
        }
    }

    /// Takes a lock of the callbacks: only for a call that has no fresh token.
    fn wait_limit(&self, timeout: Option<Duration>) -> WaitLimit {
        let shared = &self.shared;
        // What the call would wait for may be waiting for this function to return.
        if shared.live().callbacks.is_running_here() {
            return WaitLimit::Zero;
        }
        match timeout.unwrap_or(shared.config.timeout) {
            Duration::ZERO => WaitLimit::Zero,
            timeout => WaitLimit::Until(shared.clock().now() + timeout),
        }
    }

    /// The cached token, unless it has expired.
    fn living(&self) -> Option<Token> {
        self.shared.cache.load().and_then(Token::living)
    }

    /// Starts a refresh, if the pace allows one and none is running. Never waits.
    fn refresh(&self, token: &CachedToken, ticket: &Ticket<Outcome>, now: Instant) {
        let shared = &self.shared;
        let live = shared.live();
        let next = live.paced().pace.next(now);
        if next > now {
            token.postpone_check(next);
            return;
        }
        token.postpone_check(Instant::NEVER);
        match live.single_flight.start_or_join(ticket, || Ok(())) {
            Ok(Joined::Started) => {
                if shared.start(Purpose::RefreshAhead).is_err() {
                    shared.fail_without_thread();
                }
            }
            // If it failed, the next caller checks again.
            Ok(Joined::Completed) => token.postpone_check(now),
            Ok(Joined::Running) | Err(_) => {}
        }
    }

    /// Gets a new token. If it has expired by the time the call is woken (the device slept), signs in again.
    fn new_token(&self, limit: WaitLimit, mut ticket: Ticket<Outcome>) -> Result<Token, Error> {
        loop {
            if let Some(token) = Token::living(self.sign_in(limit, &ticket)?) {
                return Ok(token);
            }
            ticket = self.shared.live().single_flight.ticket();
        }
    }

    /// Starts or joins a sign-in, and waits for its result.
    fn sign_in(&self, limit: WaitLimit, ticket: &Ticket<Outcome>) -> Outcome {
        let shared = &self.shared;
        // In a forked child the single flight is new and not closed.
        if shared.credentials.load().is_none() {
            return Err(cancelled());
        }
        let single_flight = &shared.live().single_flight;
        match single_flight.start_or_join(ticket, || self.check_pace(limit)) {
            Ok(Joined::Started) => {
                if shared.start(Purpose::Wanted).is_err() {
                    match limit {
                        WaitLimit::Zero => shared.fail_without_thread(),
                        WaitLimit::Until(deadline) => shared.run(Purpose::Wanted, deadline),
                    }
                }
            }
            Ok(Joined::Running | Joined::Completed) => {}
            Err(Refused::NotNow(error)) => return Err(error),
            Err(Refused::Closed) => return Err(cancelled()),
        }
        // A call that does not wait has the deadline now: it sees a result or a delay that is there.
        let (deadline, status, message) = match limit {
            WaitLimit::Until(deadline) => (
                deadline,
                Status::Timeout,
                "the call timed out; the sign-in continues",
            ),
            WaitLimit::Zero => (
                shared.clock().now(),
                Status::WouldWait,
                "no token yet; a sign-in is running: call again",
            ),
        };
        match single_flight.wait(ticket, deadline, shared.clock()) {
            Waited::Completed(outcome) => outcome,
            Waited::Delayed(until, why) => {
                Err(why.with_retry_after(until.since(shared.clock().now())))
            }
            Waited::Cancelled => Err(cancelled()),
            Waited::TimedOut => Err(Error::new(status, message)),
        }
    }

    /// Fails if the next request cannot be sent within the limit.
    fn check_pace(&self, limit: WaitLimit) -> Result<(), Error> {
        let shared = &self.shared;
        let paced = shared.live().paced();
        let now = shared.clock().now();
        let next = paced.pace.next(now);
        if next <= now || (paced.pace.is_worth_waiting(now) && limit.allows(next)) {
            return Ok(());
        }
        Err(paced.too_early(&shared.config, now, next))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The last reference may be that of a call that a close has woken, and the host's function that
        // called `close` may be waiting for that call.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freshness::Spread;
    use crate::protocol::Grant;
    use crate::secret::Secret;

    fn client(cache: Arc<TokenCache>) -> Client {
        let credentials = Credentials::new("id", "secret", "brand", "integrator").unwrap();
        Client::with_cache(credentials, &Config::new(), cache).unwrap()
    }

    /// A token whose request is sent now.
    fn token(client: &Client, value: &str) -> Arc<CachedToken> {
        let grant = Grant {
            token: Secret::new(value),
            token_type: "Bearer".into(),
            expires_in: Duration::from_secs(3600),
            expires_at: 1_793_939_000,
            http_status: 200,
        };
        let sent = client.shared.clock().now();
        let token = client.shared.with_lifetime(grant, sent, Spread::Narrow);
        Arc::new(token)
    }

    /// Starts and completes a sign-in, as another thread would.
    fn complete(client: &Client, outcome: Outcome) {
        let single_flight = &client.shared.live().single_flight;
        let started = single_flight.start_or_join(&single_flight.ticket(), || Ok(()));
        assert!(matches!(started, Ok(Joined::Started)));
        client.shared.complete(outcome);
    }

    #[test]
    fn a_token_that_is_issued_again_keeps_its_proven_at() {
        let client = client(Arc::default());
        let first = token(&client, "a");
        client.shared.cache.store(first.clone());
        let again = token(&client, "a");
        assert_eq!(again.lifetime.proven_at, first.lifetime.proven_at);
    }

    /// Another thread may complete a refresh after a call has read the cache and before it starts its own.
    #[test]
    fn a_refresh_that_another_thread_completed_is_not_repeated() {
        let client = client(Arc::default());
        let shared = &client.shared;
        let token = token(&client, "a");
        let now = shared.clock().now();
        let late = token.lifetime.refresh_at;
        assert!(token.needs_check(late));
        let ticket = shared.live().single_flight.ticket();
        complete(&client, Err(cancelled()));
        client.refresh(&token, &ticket, now);
        // No flight was started, and the next call checks again.
        assert!(!shared.live().single_flight.is_running());
        assert!(token.needs_check(late));
    }

    /// The device may sleep after the response has come and before the caller wakes.
    #[test]
    fn a_token_that_expired_before_its_caller_woke_is_not_returned() {
        let mut config = Config::new();
        // This address refuses connections, so there is no other token.
        config.set_base_url("http://127.0.0.1:1").unwrap();
        config.set_proxy("none").unwrap();
        config.set_max_attempts(1).unwrap();
        let credentials = Credentials::new("id", "secret", "brand", "integrator").unwrap();
        let client = Client::new(credentials, &config).unwrap();
        let mut token = Arc::into_inner(token(&client, "a")).unwrap();
        token.lifetime.ends = client.shared.clock().now();
        let ticket = client.shared.live().single_flight.ticket();
        complete(&client, Ok(Arc::new(token)));
        let result = client.new_token(client.wait_limit(None), ticket);
        assert_eq!(result.map(|_| ()).unwrap_err().status(), Status::Connect);
    }

    #[test]
    fn a_call_that_began_before_a_sign_in_failed_gets_its_error() {
        let client = client(Arc::default());
        let ticket = client.shared.live().single_flight.ticket();
        complete(&client, Err(Error::new(Status::Server, "no")));
        let result = client.new_token(client.wait_limit(None), ticket);
        assert_eq!(result.map(|_| ()).unwrap_err().status(), Status::Server);
    }

    /// A close drops the credentials before it closes the single flight.
    #[test]
    fn a_sign_in_that_a_close_has_ended_is_no_change() {
        let mut config = Config::new();
        config.set_on_change(|status| assert_ne!(status, Status::Cancelled));
        let credentials = Credentials::new("id", "secret", "brand", "integrator").unwrap();
        let client = Client::new(credentials, &config).unwrap();
        complete(&client, Err(cancelled()));
    }

    /// The handle table gives a slot's cache to the next client while calls of the previous one may still run.
    #[test]
    fn a_closed_client_never_returns_or_drops_the_token_of_the_next_client_in_its_slot() {
        let slot: Arc<TokenCache> = Arc::default();
        let old = client(slot.clone());
        old.close();
        let new = client(slot);
        new.shared.cache.store(token(&new, "another's"));

        let result = old.get_token(None).map(|_| ()).unwrap_err();
        assert_eq!(result.status(), Status::Cancelled);
        assert!(old.living().is_none());
        old.invalidate(None);
        old.invalidate(Some("another's"));
        drop(old);
        assert_eq!(new.get_token(None).unwrap().value(), "another's");
    }
}
