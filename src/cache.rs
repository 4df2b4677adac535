//! The token cache: one slot, replaced atomically, read without a lock.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};

use crate::clock::{Clock, ClockOffset, CoarseTime, Instant};
use crate::freshness::Lifetime;
use crate::process;
use crate::protocol::Grant;

/// A token with its life, and the clock that it is counted on.
#[derive(Debug)]
pub(crate) struct CachedToken {
    pub grant: Grant,
    pub lifetime: Lifetime,
    clock: Clock,
    offset: Option<ClockOffset>,
    /// No check for a refresh or the expiry is needed before, in nanoseconds of the lifetime clock.
    next_check: AtomicU64,
    /// Of the process that obtained it: a forked child does not use its parent's.
    fork_count: u64,
    /// The client that obtained it, see [`ClientCache`].
    owner: u64,
    /// No other token of this process has this number, and none has 0.
    serial: u64,
}

impl CachedToken {
    pub fn new(grant: Grant, lifetime: Lifetime, clock: Clock, owner: u64) -> CachedToken {
        static SERIALS: AtomicU64 = AtomicU64::new(1);
        let next_check = lifetime.refresh_at.min(lifetime.fresh_until);
        CachedToken {
            grant,
            lifetime,
            offset: clock.offset(),
            clock,
            next_check: AtomicU64::new(next_check.as_nanos()),
            fork_count: process::fork_count(),
            owner,
            serial: SERIALS.fetch_add(1, Ordering::Relaxed),
        }
    }

    #[inline]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The time on its clock; `time` was read just now.
    #[inline]
    fn now(&self, time: CoarseTime) -> Instant {
        let now = self.offset.and_then(|offset| offset.instant(time));
        now.unwrap_or_else(|| self.clock.now())
    }

    /// How much of its life is left.
    pub fn left(&self) -> Duration {
        self.lifetime.ends.since(self.clock.now())
    }

    /// Whether a caller has to check for a refresh or the expiry.
    #[inline]
    pub fn needs_check(&self, now: Instant) -> bool {
        now.as_nanos() >= self.next_check.load(Ordering::Relaxed)
    }

    /// A refresh is running, or has to wait: no check is needed before `until`. Never moves the check before
    /// the planned refresh.
    pub fn postpone_check(&self, until: Instant) {
        let Lifetime {
            refresh_at,
            fresh_until,
            ..
        } = self.lifetime;
        let until = until.max(refresh_at).min(fresh_until);
        self.next_check.store(until.as_nanos(), Ordering::Relaxed);
    }
}

/// Where the current token is kept.
#[derive(Debug, Default)]
pub(crate) struct TokenCache(ArcSwapOption<CachedToken>);

impl TokenCache {
    /// The hot path: reads the token, if it is fresh and needs no check. The caller reads the time first: after the
    /// token is loaded, that read would have to wait for the load.
    #[inline(always)]
    pub fn read<R>(
        &self,
        time: CoarseTime,
        read: impl FnOnce(&CachedToken, Duration) -> R,
    ) -> Option<R> {
        self.read_at(|token| token.now(time), read)
    }

    #[inline(always)]
    fn read_at<R>(
        &self,
        now: impl FnOnce(&CachedToken) -> Instant,
        read: impl FnOnce(&CachedToken, Duration) -> R,
    ) -> Option<R> {
        let guard = self.0.load();
        let token = guard.as_deref()?;
        let now = now(token);
        if token.needs_check(now) || token.fork_count != process::fork_count() {
            return None;
        }
        Some(read(token, token.lifetime.ends.since(now)))
    }
}

/// A client's own side of a cache. The cache outlives the client and serves the next one, while calls of the
/// first may still be running: each client sees and drops only its own token.
#[derive(Debug)]
pub(crate) struct ClientCache {
    cache: Arc<TokenCache>,
    owner: u64,
}

impl ClientCache {
    pub fn new(cache: Arc<TokenCache>) -> ClientCache {
        static OWNERS: AtomicU64 = AtomicU64::new(0);
        let owner = OWNERS.fetch_add(1, Ordering::Relaxed);
        ClientCache { cache, owner }
    }

    /// Goes into every token of this client.
    pub fn owner(&self) -> u64 {
        self.owner
    }

    /// The token of this client in this process, however old.
    pub fn load(&self) -> Option<Arc<CachedToken>> {
        let token = Guard::into_inner(self.cache.0.load())?;
        let is_own = token.owner == self.owner && token.fork_count == process::fork_count();
        is_own.then_some(token)
    }

    /// Only while the client is open: afterwards the cache may be another's.
    pub fn store(&self, token: Arc<CachedToken>) {
        self.cache.0.store(Some(token));
    }

    /// Drops the token of this client, also one that a forked child has from its parent.
    pub fn clear(&self) {
        self.take(|_| true);
    }

    /// Takes the token of this client in this process out only if it is still the one with this value.
    pub fn take_if(&self, is_rejected: impl Fn(&Grant) -> bool) -> Option<Arc<CachedToken>> {
        self.take(|token| token.fork_count == process::fork_count() && is_rejected(&token.grant))
    }

    fn take(&self, is_meant: impl Fn(&CachedToken) -> bool) -> Option<Arc<CachedToken>> {
        let current = Guard::into_inner(self.cache.0.load())?;
        if current.owner != self.owner || !is_meant(&current) {
            return None;
        }
        let before = self.cache.0.compare_and_swap(&current, None);
        let was_current = before
            .as_ref()
            .is_some_and(|before| Arc::ptr_eq(before, &current));
        was_current.then_some(current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    /// Due for a refresh at 50, fresh until 90, expired at 100.
    fn token(cache: &ClientCache, value: &str) -> Arc<CachedToken> {
        let grant = Grant {
            token: Secret::new(value),
            token_type: "Bearer".into(),
            expires_in: Duration::from_secs(100),
            expires_at: 1_793_939_000,
            http_status: 200,
        };
        let lifetime = Lifetime {
            proven_at: at(50),
            refresh_at: at(50),
            fresh_until: at(90),
            ends: at(100),
        };
        Arc::new(CachedToken::new(
            grant,
            lifetime,
            Clock::System,
            cache.owner(),
        ))
    }

    fn read(cache: &ClientCache, seconds: u64) -> Option<(String, u64)> {
        cache.cache.read_at(
            |_| at(seconds),
            |token, left| (token.grant.token.expose().to_owned(), left.as_secs()),
        )
    }

    #[test]
    fn the_hot_path_returns_a_token_until_a_check_is_needed() {
        let cache = ClientCache::new(Arc::default());
        assert_eq!(read(&cache, 0), None);
        cache.store(token(&cache, "a"));
        assert_eq!(read(&cache, 10), Some(("a".into(), 90)));
        assert_eq!(read(&cache, 49), Some(("a".into(), 51)));
        assert_eq!(read(&cache, 50), None);
        cache.clear();
        assert_eq!(read(&cache, 10), None);
    }

    #[test]
    fn a_check_can_be_postponed_but_not_past_the_margin_nor_before_its_time() {
        let cache = ClientCache::new(Arc::default());
        let token = token(&cache, "a");
        token.postpone_check(Instant::NEVER);
        assert!(!token.needs_check(at(89)));
        assert!(token.needs_check(at(90)));
        token.postpone_check(at(70));
        assert!(!token.needs_check(at(69)));
        assert!(token.needs_check(at(70)));
        token.postpone_check(at(10));
        assert!(!token.needs_check(at(49)));
        assert!(token.needs_check(at(50)));
    }

    #[test]
    fn only_the_refused_token_is_dropped() {
        let cache = ClientCache::new(Arc::default());
        let is = |value: &'static str| move |grant: &Grant| grant.token.expose() == value;
        assert!(cache.take_if(is("a")).is_none());
        cache.store(token(&cache, "a"));
        assert!(cache.take_if(is("b")).is_none());
        assert!(cache.load().is_some());
        assert!(cache.take_if(is("a")).is_some());
        assert!(cache.take_if(is("a")).is_none());
        assert!(cache.load().is_none());
    }

    #[test]
    fn a_token_stored_while_the_old_one_is_dropped_stays() {
        let cache = ClientCache::new(Arc::default());
        cache.store(token(&cache, "a"));
        let taken = cache.take_if(|grant| {
            cache.store(token(&cache, "b"));
            grant.token.expose() == "a"
        });
        assert!(taken.is_none());
        assert_eq!(read(&cache, 10), Some(("b".into(), 90)));
    }

    #[test]
    fn a_token_of_another_process_is_not_returned_and_only_clear_drops_it() {
        let cache = ClientCache::new(Arc::default());
        let mut parents = Arc::into_inner(token(&cache, "a")).expect("the only one");
        parents.fork_count += 1;
        cache.store(Arc::new(parents));
        assert_eq!(read(&cache, 10), None);
        assert!(cache.load().is_none());
        assert!(cache.take_if(|_| true).is_none());
        assert!(cache.cache.0.load().is_some());
        cache.clear();
        assert!(cache.cache.0.load().is_none());
    }

    #[test]
    fn a_client_neither_sees_nor_drops_the_token_of_another_client_in_the_same_slot() {
        let shared = Arc::new(TokenCache::default());
        let (old, new) = (ClientCache::new(shared.clone()), ClientCache::new(shared));
        new.store(token(&new, "a"));
        assert!(old.load().is_none());
        assert!(old.take_if(|_| true).is_none());
        old.clear();
        assert!(new.load().is_some());
        assert!(new.take_if(|_| true).is_some());
    }
}
