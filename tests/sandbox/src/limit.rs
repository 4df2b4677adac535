//! Requests a minute for each client IP. Takes the time as an argument and reads no clock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);

/// Counts requests in fixed windows of a minute that begin with a client's first request.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    windows: HashMap<IpAddr, (Instant, u32)>,
}

/// The limiter's decision about a request, and the values of the `RateLimit-*` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub allowed: bool,
    pub limit: u32,
    pub remaining: u32,
    /// Whole seconds until the window ends, rounded up.
    pub reset: u64,
}

impl Limiter {
    /// Counts a request. `None` when there is no limit.
    pub(crate) fn count(&mut self, client: IpAddr, now: Instant, limit: u32) -> Option<Verdict> {
        if limit == 0 {
            return None;
        }
        let (start, used) = self.windows.entry(client).or_insert((now, 0));
        if now.duration_since(*start) >= WINDOW {
            (*start, *used) = (now, 0);
        }
        let allowed = *used < limit;
        *used += u32::from(allowed);
        let left = WINDOW.saturating_sub(now.duration_since(*start));
        Some(Verdict {
            allowed,
            limit,
            remaining: limit.saturating_sub(*used),
            reset: left.as_secs() + u64::from(left.subsec_nanos() > 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_client_has_its_limit_each_minute_and_is_told_when_the_next_begins() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        let mut at = |seconds| {
            let now = start + Duration::from_secs(seconds);
            let verdict = limiter.count(CLIENT, now, 2).expect("a limit");
            (verdict.allowed, verdict.remaining, verdict.reset)
        };
        assert_eq!(at(0), (true, 1, 60));
        assert_eq!(at(10), (true, 0, 50));
        assert_eq!(at(59), (false, 0, 1));
        assert_eq!(at(60), (true, 1, 60));
    }

    #[test]
    fn zero_means_no_limit() {
        assert_eq!(Limiter::default().count(CLIENT, Instant::now(), 0), None);
    }

    #[test]
    fn clients_do_not_share_a_limit() {
        let mut limiter = Limiter::default();
        let other = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
        let now = Instant::now();
        assert!(
            limiter
                .count(CLIENT, now, 1)
                .is_some_and(|verdict| verdict.allowed)
        );
        assert!(
            limiter
                .count(other, now, 1)
                .is_some_and(|verdict| verdict.allowed)
        );
        assert!(
            limiter
                .count(CLIENT, now, 1)
                .is_some_and(|verdict| !verdict.allowed)
        );
    }
}
