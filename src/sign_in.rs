//! What a sign-in does: up to `max_attempts` attempts, on a thread of its own, each when the pace allows;
//! then it ends with one result for all callers. What a caller does is in `client.rs`.
#![forbid(unsafe_code)]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::cache::{CachedToken, ClientCache};
use crate::callbacks::Callbacks;
use crate::clock::{Clock, Instant};
use crate::flight::SingleFlight;
use crate::freshness::{self, Spread};
use crate::http::{Failed, HttpClient};
use crate::jitter;
use crate::pace::{FailureKind, Pace};
use crate::process::{self, PerProcess};
use crate::protocol::Grant;
use crate::{Config, Credentials, Error, LogLevel, Status};

/// What the callers and the sign-in's thread have in common.
pub(crate) struct Shared {
    pub config: Config,
    /// Taken away when the client is closed.
    pub credentials: ArcSwapOption<Credentials>,
    pub cache: ClientCache,
    pub live: PerProcess<Live>,
}

/// The part that a forked child must have anew: locks, connections, a running sign-in.
pub(crate) struct Live {
    pub single_flight: SingleFlight<Outcome, Error>,
    pace: Mutex<Paced>,
    pub http: HttpClient,
    pub callbacks: Callbacks,
}

/// How a sign-in ends.
pub(crate) type Outcome = Result<Arc<CachedToken>, Error>;

/// The pace, and what happened so far.
pub(crate) struct Paced {
    pub pace: Pace,
    /// When and how the last request ended (with its HTTP status), or that the service has refused the token
    /// that it brought.
    pub last_result: Option<(Instant, Result<u16, Error>)>,
    pub requests: u64,
    pub failures: u64,
}

/// What a sign-in is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A caller needs its token.
    Wanted,
    /// The token is replaced ahead of time.
    RefreshAhead,
}

pub(crate) const TOKEN_REFUSED: &str = "the service refused a token within a minute of issuing it: another \
    one would be refused as well (is the header x-token lost on the way, or the integrator disabled?)";

/// Retryable: unlike a refusal of the credentials, this ends by itself. Allocates nothing, for
/// [`crate::Client::invalidate`].
fn refused_token_error() -> Error {
    Error {
        retryable: Some(true),
        ..Error::new(Status::Rejected, TOKEN_REFUSED)
    }
}

impl Live {
    pub fn new(config: &Config) -> Result<Live, Error> {
        Ok(Live {
            single_flight: SingleFlight::new(),
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

    /// Locked for moments only, never while a request is under way.
    pub fn paced(&self) -> MutexGuard<'_, Paced> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Paced {
    fn sent(&mut self, now: Instant) {
        self.pace.sent(now);
        self.requests += 1;
    }

    /// Records that the service has refused a token. Returns how long the next sign-in has to wait for that.
    pub fn token_refused(&mut self, now: Instant, token: &CachedToken) -> Option<Duration> {
        let proven_at = token.lifetime.proven_at;
        let wait = self.pace.token_refused(now, proven_at, jitter::draw())?;
        self.last_result = Some((now, Err(refused_token_error())));
        Some(wait)
    }

    /// Why the last request failed, or that its token was refused.
    pub fn last_error(&self) -> Option<&Error> {
        self.last_result.as_ref()?.1.as_ref().err()
    }

    /// The error for a caller who does not wait until `next`, when the next request may be sent.
    pub fn too_early(&self, config: &Config, now: Instant, next: Instant) -> Error {
        self.last_error()
            .cloned()
            .unwrap_or_else(|| match self.pace.failure(now) {
                Some(_) => refused_token_error(),
                None => {
                    let limit = config.requests_per_minute;
                    let message =
                        format!("this client has reached its limit of {limit} requests per minute");
                    Error::new(Status::RateLimited, message)
                }
            })
            .with_retry_after(next.since(now))
    }
}

impl Shared {
    pub fn clock(&self) -> &Clock {
        &self.config.network.clock
    }

    pub fn live(&self) -> &Live {
        self.live.get(|| {
            Live::new(&self.config).expect("these settings were accepted when the client was made")
        })
    }

    /// Runs the sign-in on a thread of its own.
    pub fn start(self: &Arc<Self>, purpose: Purpose) -> io::Result<()> {
        let shared = self.clone();
        process::spawn(move || shared.run(purpose, Instant::NEVER))
    }

    /// Runs the sign-in, until `deadline` at most: with all its attempts. A panic becomes an error, so that
    /// nobody waits for ever.
    ///
    /// Where no thread can be started, it runs on the caller's: then `cancel` does not end it, and nothing
    /// ends a name resolution.
    pub fn run(&self, purpose: Purpose, deadline: Instant) {
        let sign_in = AssertUnwindSafe(|| self.sign_in(purpose, deadline));
        self.complete(catch_unwind(sign_in).unwrap_or_else(|_| {
            // Not logged: the log function of a Rust program may be what has panicked.
            let (error, _) = self.record_failure(Failed {
                error: Error::new(
                    Status::Internal,
                    "internal error: caught a panic; please report it",
                ),
                connected: true,
            });
            Err(error)
        }));
    }

    /// Ends a sign-in for which there is neither a thread nor a caller who waits. It counts as a failed
    /// attempt: a program that calls again at each change would else call for ever.
    pub fn fail_without_thread(&self) {
        self.live().paced().sent(self.clock().now());
        let no_thread = "cannot start a thread for the request";
        let failed = Failed {
            error: Error::new(Status::Internal, no_thread),
            connected: false,
        };
        let (error, _) = self.attempt_failed(failed, 1);
        self.complete(Err(error));
    }

    fn sign_in(&self, purpose: Purpose, deadline: Instant) -> Outcome {
        let live = self.live();
        let clock = self.clock();
        let mut attempts = 0;
        loop {
            let sent = match self.clear_to_send() {
                Ok(sent) => sent,
                Err((next, why)) => {
                    if next >= deadline || !live.paced().pace.is_worth_waiting(clock.now()) {
                        return Err(why);
                    }
                    live.callbacks.log(
                        LogLevel::Debug,
                        format_args!(
                            "next attempt in {} ms: {why}",
                            next.since(clock.now()).as_millis()
                        ),
                    );
                    let status = why.status();
                    let announce = || live.callbacks.announce(status);
                    if !live.single_flight.delay(next, why, clock, announce) {
                        return Err(cancelled());
                    }
                    continue;
                }
            };
            let Some(credentials) = self.credentials.load_full() else {
                return Err(cancelled());
            };
            attempts += 1;
            live.callbacks.log(
                LogLevel::Debug,
                format_args!(
                    "sending request to {}, attempt {attempts}",
                    live.http.host()
                ),
            );
            // The log function may have taken its time.
            let timeout = self.config.attempt_timeout.min(deadline.since(clock.now()));
            // The second request counts, too. If the service cannot have seen it, `Pace::failed` takes it back
            // from the limit.
            let may_ask_again = || self.clear_to_send().is_ok();
            let attempt = live.http.attempt(&credentials, timeout, may_ask_again);
            let attempt = attempt.and_then(|grant| self.accept(grant, sent, purpose));
            let failed = match attempt {
                Ok(token) => {
                    let mut paced = live.paced();
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

    /// Records a failed attempt. Returns its error with the time until the next one, and of what kind it is.
    fn record_failure(&self, failed: Failed) -> (Error, FailureKind) {
        let Failed { error, connected } = failed;
        let kind = FailureKind::of(&error, connected);
        let random = jitter::draw();
        let now = self.clock().now();
        let mut paced = self.live().paced();
        paced.pace.failed(now, kind, error.retry_after, random);
        let wait = paced.pace.next(now).since(now);
        let error = error.with_retry_after(wait);
        paced.last_result = Some((now, Err(error.clone())));
        paced.failures += 1;
        (error, kind)
    }

    /// Records and logs a failed attempt. Returns its error with the time until the next one, and whether
    /// waiting can help.
    fn attempt_failed(&self, failed: Failed, attempts: u32) -> (Error, bool) {
        let (error, kind) = self.record_failure(failed);
        let level = match kind.is_transient() {
            true => LogLevel::Warn,
            false => LogLevel::Error,
        };
        self.live().callbacks.log(
            level,
            format_args!(
                "attempt {attempts} failed: {error}; next attempt in {} ms at the earliest",
                error.retry_after.unwrap_or_default().as_millis()
            ),
        );
        (error, kind.is_transient())
    }

    /// Records that a request is sent now, or says when one may be.
    fn clear_to_send(&self) -> Result<Instant, (Instant, Error)> {
        let mut paced = self.live().paced();
        let now = self.clock().now();
        let next = paced.pace.next(now);
        if next > now {
            return Err((next, paced.too_early(&self.config, now, next)));
        }
        paced.sent(now);
        Ok(now)
    }

    /// The token that was granted, unless it has expired already: the response took longer than the token is
    /// valid, or the device slept meanwhile.
    fn accept(&self, grant: Grant, sent: Instant, purpose: Purpose) -> Result<CachedToken, Failed> {
        let live = self.live();
        let spread = match purpose {
            Purpose::RefreshAhead if live.paced().last_error().is_none() => Spread::Narrow,
            _ => Spread::Wide,
        };
        let token = self.with_lifetime(grant, sent, spread);
        if !token.left().is_zero() {
            return Ok(token);
        }
        let error = Error::new(
            Status::Timeout,
            format!(
                "the token of {} had expired when it came, {} s after the request",
                live.http.host(),
                self.clock().now().since(sent).as_secs()
            ),
        );
        Err(Failed {
            error,
            connected: true,
        })
    }

    pub fn with_lifetime(&self, grant: Grant, sent: Instant, spread: Spread) -> CachedToken {
        let mut lifetime = freshness::plan(sent, grant.expires_in, spread, jitter::draw());
        let is_same = |old: &CachedToken| old.grant.token == grant.token;
        if let Some(old) = self.cache.load().filter(|old| is_same(old)) {
            // Never extend a token that the service returns again.
            if old.grant.expires_at == grant.expires_at && sent < old.lifetime.ends {
                lifetime.ends = lifetime.ends.min(old.lifetime.ends);
            }
            lifetime.proven_at = lifetime.proven_at.min(old.lifetime.proven_at);
            // The service has no newer one: another request before the expiry would return the same.
            lifetime.refresh_at = lifetime.ends;
            lifetime.fresh_until = lifetime.ends;
        }
        CachedToken::new(grant, lifetime, self.clock().clone(), self.cache.owner())
    }

    /// Ends the sign-in: keeps the token, tells the waiters, then the host's functions.
    pub fn complete(&self, outcome: Outcome) {
        let live = self.live();
        let is_open = live.single_flight.complete(outcome.clone(), || {
            if let Ok(token) = &outcome {
                self.cache.store(token.clone());
            }
        });
        // A sign-in that a close has ended is not announced, also while the single flight is still open.
        let is_cancelled = matches!(&outcome, Err(error) if error.status() == Status::Cancelled);
        if !is_open || is_cancelled {
            return;
        }
        match outcome {
            Ok(token) => {
                live.callbacks.announce(Status::Ok);
                live.callbacks.log(
                    LogLevel::Info,
                    format_args!(
                        "signed in; the token expires in {} s",
                        token.left().as_secs()
                    ),
                );
            }
            Err(error) => {
                let now = self.clock().now();
                // Whatever the sign-in was for: with a token, it was a refresh.
                let current = self.cache.load().filter(|old| now < old.lifetime.ends);
                if let Some(token) = &current {
                    token.postpone_check(now + error.retry_after.unwrap_or_default());
                }
                live.callbacks.announce(error.status());
                if let Some(token) = current {
                    live.callbacks.log(
                        LogLevel::Warn,
                        format_args!(
                            "no new token: {error}; the current one is valid for {} s",
                            token.left().as_secs()
                        ),
                    );
                }
            }
        }
    }
}

pub(crate) fn cancelled() -> Error {
    Error::new(
        Status::Cancelled,
        "the call was cancelled, or its client was freed",
    )
}
