//! The pure policies: when the next request may be sent (`Pace`), and when a token is refreshed and expires
//! (`freshness`).

use std::time::Duration;

use clopos_auth::testing::clock::Instant;
use clopos_auth::testing::freshness::{self, Spread};
use clopos_auth::testing::pace::{FailureKind, Pace};
use proptest::prelude::*;

const MINUTE: u64 = 60_000;
/// The default of `requests_per_minute`.
const LIMIT: u32 = 12;

/// When a token has proven itself, long ago.
const LONG_AGO: Instant = Instant::from_nanos(0);

/// A time on the lifetime clock of a device that started a day ago.
fn at(millis: u64) -> Instant {
    Instant::from_nanos((86_400_000 + millis) * 1_000_000)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The wait after a failure of a kind that has already happened `before` times, each time when the wait before it was over.
fn wait_after(kind: FailureKind, before: u32, hint: Option<Duration>, random: u32) -> Duration {
    let mut pace = Pace::new(LIMIT);
    let mut now = at(0);
    for _ in 0..before {
        pace.failed(now, kind, None, u32::MAX / 2);
        now = pace.next(now);
    }
    pace.failed(now, kind, hint, random);
    pace.next(now).since(now)
}

/// The shortest and the longest such wait. The smallest and the largest random number give them.
fn bounds(kind: FailureKind, before: u32, hint: Option<Duration>) -> [f64; 2] {
    [0, u32::MAX].map(|random| wait_after(kind, before, hint, random).as_secs_f64())
}

#[track_caller]
fn assert_bounds(kind: FailureKind, before: u32, hint: Option<Duration>, expected: [f64; 2]) {
    let measured = bounds(kind, before, hint);
    for (measured, expected) in measured.into_iter().zip(expected) {
        assert!(
            (measured - expected).abs() < 1e-6,
            "{kind:?}, {before} before, hint {hint:?}: {measured} s, not {expected} s"
        );
    }
}

// ---- Pace: failures. ----

#[test]
fn each_kind_of_failure_has_its_own_waits_that_grow_to_a_limit() {
    use FailureKind::*;
    let table = [
        (Service, 0, [0.25, 0.5]),
        (Service, 1, [1.0, 2.0]),
        (Service, 2, [4.0, 8.0]),
        (Service, 3, [16.0, 32.0]),
        (Service, 4, [30.0, 60.0]),
        (Service, 1000, [30.0, 60.0]),
        (Unreachable, 0, [0.25, 0.5]),
        (Unreachable, 1, [1.0, 2.0]),
        (Unreachable, 2, [2.5, 5.0]),
        (Unreachable, 1000, [2.5, 5.0]),
        (RateLimited, 0, [10.0, 12.5]),
        (RateLimited, 1, [20.0, 25.0]),
        (RateLimited, 2, [40.0, 50.0]),
        (RateLimited, 3, [60.0, 75.0]),
        (RateLimited, 1000, [60.0, 75.0]),
        (NeedsAction, 0, [5.0, 6.25]),
        (NeedsAction, 1, [10.0, 12.5]),
        (NeedsAction, 3, [40.0, 50.0]),
        (NeedsAction, 4, [60.0, 75.0]),
        (NeedsAction, 1000, [60.0, 75.0]),
        (Rejected, 0, [5.0, 6.25]),
        (Rejected, 1, [10.0, 12.5]),
        (Rejected, 5, [160.0, 200.0]),
        (Rejected, 6, [300.0, 375.0]),
        (Rejected, 1000, [300.0, 375.0]),
        (TokenRefused, 0, [5.0, 6.25]),
        (TokenRefused, 1, [10.0, 12.5]),
        (TokenRefused, 5, [160.0, 200.0]),
        (TokenRefused, 6, [225.0, 281.25]),
        (TokenRefused, 1000, [225.0, 281.25]),
    ];
    for (kind, before, expected) in table {
        assert_bounds(kind, before, None, expected);
    }
}

#[test]
fn a_wait_that_the_server_requests_is_kept_within_limits() {
    use FailureKind::*;
    let forever = u64::MAX;
    let table = [
        // Rate limits: the requested wait, from 1 s to ten minutes.
        (RateLimited, 0, [1.0, 1.25]),
        (RateLimited, 1, [1.0, 1.25]),
        (RateLimited, 7, [7.0, 8.75]),
        (RateLimited, 60, [60.0, 75.0]),
        (RateLimited, 600, [600.0, 750.0]),
        (RateLimited, 1_767_852_332, [600.0, 750.0]),
        (RateLimited, forever, [600.0, 750.0]),
        // Failures of the service: the longer of the requested wait and the backoff, up to a minute.
        (Service, 0, [0.25, 0.5]),
        (Service, 7, [7.0, 8.75]),
        (Service, 60, [60.0, 75.0]),
        (Service, 3600, [60.0, 75.0]),
        (Service, forever, [60.0, 75.0]),
        // Rejections: the longer of both, up to ten minutes.
        (Rejected, 0, [5.0, 6.25]),
        (Rejected, 120, [120.0, 150.0]),
        (Rejected, forever, [600.0, 750.0]),
        // For other failures a hint is ignored.
        (Unreachable, 7, [0.25, 0.5]),
        (NeedsAction, 3600, [5.0, 6.25]),
        (TokenRefused, 3600, [5.0, 6.25]),
    ];
    for (kind, hint, expected) in table {
        assert_bounds(kind, 0, Some(secs(hint)), expected);
    }
    assert_bounds(Service, 1000, Some(secs(7)), [30.0, 60.0]);
    assert_bounds(RateLimited, 1000, Some(secs(7)), [7.0, 8.75]);
}

#[test]
fn every_wait_is_randomised() {
    for kind in FailureKind::ALL {
        for hint in [None, Some(secs(30))] {
            let [least, most] = bounds(kind, 2, hint);
            assert!(most >= 1.25 * least, "{kind:?} {hint:?}");
        }
    }
}

#[test]
fn a_success_clears_everything_but_the_window_and_the_refused_tokens() {
    for kind in FailureKind::ALL {
        if kind == FailureKind::TokenRefused {
            continue;
        }
        let mut pace = Pace::new(2);
        pace.sent(at(0));
        for _ in 0..9 {
            pace.failed(at(0), kind, Some(secs(9)), u32::MAX);
        }
        assert!(pace.next(at(0)) > at(0));
        assert_eq!(
            pace.is_worth_waiting(at(0)),
            kind.is_transient(),
            "{kind:?}"
        );
        pace.succeeded(LONG_AGO);
        assert!(pace.next(at(0)) <= at(0), "{kind:?}");
        assert!(pace.is_worth_waiting(at(0)), "{kind:?}");

        pace.failed(at(1), kind, None, u32::MAX);
        let after = pace.next(at(0)).since(at(1)).as_secs_f64();
        assert_eq!(after, bounds(kind, 0, None)[1], "{kind:?}");
    }
    let mut pace = Pace::new(2);
    pace.sent(at(0));
    pace.sent(at(1));
    pace.succeeded(LONG_AGO);
    assert_eq!(pace.next(at(0)), at(MINUTE));
}

#[test]
fn waiting_is_worthwhile_unless_the_failure_needs_action() {
    assert!(Pace::new(LIMIT).is_worth_waiting(at(0)));
    for (kind, expected) in FailureKind::ALL
        .into_iter()
        .zip([true, true, true, false, false, false])
    {
        let mut pace = Pace::new(LIMIT);
        pace.failed(at(0), kind, None, u32::MAX / 2);
        assert_eq!(pace.is_worth_waiting(at(0)), expected, "{kind:?}");
    }
}

#[test]
fn failures_and_limits_of_the_service_grow_together_and_nothing_else_does() {
    use FailureKind::*;
    let kind = |kind| match kind {
        RateLimited => Service,
        other => other,
    };
    for first in FailureKind::ALL {
        for second in FailureKind::ALL {
            let mut pace = Pace::new(LIMIT);
            pace.failed(at(0), first, None, u32::MAX);
            let now = pace.next(at(0));
            pace.failed(now, second, None, u32::MAX);
            let before = u32::from(kind(first) == kind(second));
            let expected = bounds(second, before, None)[1];
            let measured = pace.next(now).since(now).as_secs_f64();
            assert_eq!(measured, expected, "{first:?}, then {second:?}");
        }
    }
}

// ---- Pace: refused tokens. ----

/// A sign-in at `issued`, whose token is refused after `age`. Returns the wait before the next sign-in.
fn refused(pace: &mut Pace, issued: u64, age: u64) -> Option<f64> {
    let (now, proven_at) = (at(issued + age), at(issued + MINUTE));
    assert!(pace.next(at(issued)) <= at(issued), "{issued}: not yet");
    pace.sent(at(issued));
    pace.succeeded(proven_at);
    let wait = pace.token_refused(now, proven_at, 0)?;
    assert_eq!(pace.next(now), now + wait);
    assert!(!pace.is_worth_waiting(now));
    Some(wait.as_secs_f64())
}

#[test]
fn sign_ins_wait_longer_for_each_refused_token_until_one_has_proven_itself() {
    let mut pace = Pace::new(LIMIT);
    // When the token is issued and its age when it is refused, in milliseconds; the wait in seconds.
    let table = [
        (0, 0, Some(5.0)),
        // The wait of 10 s is extended, so that there is no third sign-in within a minute.
        (5_000, 1_000, Some(54.0)),
        (60_000, 0, Some(20.0)),
        (80_000, 59_999, Some(40.0)),
        (200_000, 0, Some(80.0)),
        (300_000, 0, Some(160.0)),
        (500_000, 0, Some(225.0)),
        (800_000, 0, Some(225.0)),
        // Refused after it has proven itself: it was revoked.
        (1_100_000, MINUTE, None),
        (1_200_000, 0, Some(5.0)),
        (1_300_000, 0, Some(10.0)),
    ];
    for (issued, age, wait) in table {
        assert_eq!(refused(&mut pace, issued, age), wait, "{issued}");
    }
    // This token was not refused, so it has proven itself.
    pace.sent(at(1_400_000));
    pace.succeeded(at(1_460_000));
    assert_eq!(refused(&mut pace, 1_460_000, 0), Some(5.0));
    // This token was replaced before its minute was over.
    pace.sent(at(1_600_000));
    pace.succeeded(at(1_660_000));
    assert_eq!(refused(&mut pace, 1_659_999, 0), Some(10.0));
}

#[test]
fn after_a_proven_token_requests_are_limited_as_before() {
    let mut pace = Pace::new(LIMIT);
    refused(&mut pace, 0, 0);
    pace.sent(at(5_000));
    pace.succeeded(at(65_000));
    for request in 0..u64::from(LIMIT) {
        assert!(pace.next(at(65_000 + request)) <= at(65_000 + request));
        pace.sent(at(65_000 + request));
        pace.succeeded(at(125_000));
    }
    assert_eq!(pace.next(at(0)), at(65_000 + MINUTE));
}

#[test]
fn before_the_next_token_has_proven_itself_requests_are_refused_with_the_reason() {
    let mut pace = Pace::new(LIMIT);
    refused(&mut pace, 0, 0);
    // A token that is valid for 20 s has proven itself after ten.
    pace.sent(at(5_000));
    pace.succeeded(at(15_000));
    for now in [5_000, 14_999] {
        assert_eq!(pace.next(at(now)), at(MINUTE));
        assert_eq!(pace.failure(at(now)), Some(FailureKind::TokenRefused));
        assert!(!pace.is_worth_waiting(at(now)));
    }
    assert!(pace.next(at(15_000)) <= at(15_000));
    assert_eq!(pace.failure(at(15_000)), None);
}

#[test]
fn a_refused_token_shortens_no_wait_that_the_service_requested() {
    let mut pace = Pace::new(LIMIT);
    pace.succeeded(at(MINUTE));
    pace.failed(at(0), FailureKind::RateLimited, Some(secs(300)), 0);
    let wait = pace.token_refused(at(1000), at(MINUTE), 0);
    assert_eq!(wait, Some(secs(299)));
    assert_eq!(pace.next(at(0)), at(300_000));
}

#[test]
fn a_failure_shortens_no_wait_after_a_refused_token() {
    let wait = wait_after(FailureKind::TokenRefused, 0, None, u32::MAX);
    for kind in FailureKind::ALL {
        let mut pace = Pace::new(LIMIT);
        pace.sent(at(0));
        pace.succeeded(at(MINUTE));
        pace.sent(at(1000)); // The token is refused before this one is answered.
        pace.token_refused(at(1001), at(MINUTE), u32::MAX);
        pace.failed(at(1002), kind, None, 0);
        assert!(pace.next(at(1002)) >= at(1001) + wait, "{kind:?}");
    }
}

// ---- Pace: the limit of requests per minute. ----

#[test]
fn at_the_limit_the_next_request_waits_until_the_oldest_is_a_minute_old() {
    for limit in [1, 2, 12, 60] {
        let mut pace = Pace::new(limit);
        for request in 0..u64::from(limit) {
            assert!(pace.next(at(0)) <= at(request), "{limit}");
            pace.sent(at(request));
            pace.succeeded(LONG_AGO);
        }
        assert_eq!(pace.next(at(0)), at(MINUTE), "{limit}");
        pace.sent(at(MINUTE));
        let second_oldest = if limit == 1 { MINUTE } else { 1 };
        assert_eq!(pace.next(at(0)), at(second_oldest + MINUTE), "{limit}");
    }
}

#[test]
fn a_request_that_the_service_never_saw_does_not_use_up_the_limit() {
    let mut pace = Pace::new(2);
    for second in 0..20 {
        let now = at(second * 10_000);
        assert!(pace.next(at(0)) <= now);
        pace.sent(now);
        pace.failed(now, FailureKind::Unreachable, None, u32::MAX);
    }
}

#[test]
fn the_longer_of_backoff_and_window_counts() {
    let mut pace = Pace::new(1);
    pace.sent(at(0));
    pace.failed(at(100), FailureKind::Service, None, u32::MAX);
    assert_eq!(pace.next(at(0)), at(MINUTE));
    pace.failed(at(100), FailureKind::RateLimited, Some(secs(300)), 0);
    assert_eq!(pace.next(at(0)), at(300_100));
}

#[test]
fn a_limit_of_zero_counts_as_one() {
    let mut pace = Pace::new(0);
    assert!(pace.next(at(0)) <= at(0));
    pace.sent(at(0));
    assert_eq!(pace.next(at(0)), at(MINUTE));
}

// ---- Pace: calls without a pause. ----

/// Calls for ten minutes without a pause, with an immediate failure of `kind` for every request. Returns the
/// requests in the first and in the tenth minute.
fn requests_without_pause(kind: FailureKind, hint: Option<Duration>, random: u32) -> [u32; 2] {
    let mut pace = Pace::new(LIMIT);
    let mut requests = [0; 10];
    for now in 0..10 * MINUTE {
        if pace.next(at(now)) > at(now) {
            continue;
        }
        requests[(now / MINUTE) as usize] += 1;
        pace.sent(at(now));
        pace.failed(at(now), kind, hint, random);
    }
    [requests[0], requests[9]]
}

#[test]
fn wrong_credentials_allow_four_requests_in_the_first_minute_and_one_in_the_tenth_at_most() {
    for random in [0, u32::MAX / 2, u32::MAX] {
        let [first, tenth] = requests_without_pause(FailureKind::Rejected, None, random);
        assert!((1..=4).contains(&first), "{first}");
        assert!(tenth <= 1, "{tenth}");
    }
}

#[test]
fn a_failing_service_gets_six_requests_in_the_first_minute_and_two_in_the_tenth_at_most() {
    for random in [0, u32::MAX / 2, u32::MAX] {
        for hint in [None, Some(Duration::ZERO), Some(secs(1))] {
            let [first, tenth] = requests_without_pause(FailureKind::Service, hint, random);
            assert!((1..=6).contains(&first), "{first}");
            assert!(tenth <= 2, "{tenth}");
        }
    }
}

// ---- Sleep, start, and the end of the clock. ----

#[test]
fn a_device_that_slept_may_send_immediately() {
    let mut pace = Pace::new(1);
    pace.sent(at(0));
    pace.failed(at(0), FailureKind::Rejected, Some(Duration::MAX), u32::MAX);
    assert!(pace.next(at(0)) > at(9 * MINUTE));
    assert!(pace.next(at(0)) <= at(480 * MINUTE));
}

#[test]
fn a_device_that_has_just_started_may_send_immediately() {
    assert_eq!(Pace::new(1).next(at(0)), Instant::from_nanos(0));
}

#[test]
fn the_end_of_the_clock_causes_no_overflow() {
    let end = Instant::NEVER;
    for kind in FailureKind::ALL {
        let mut pace = Pace::new(1);
        pace.sent(end);
        pace.failed(end, kind, Some(Duration::MAX), u32::MAX);
        assert_eq!(pace.next(at(0)), end);
    }
    let lifetime = freshness::plan(end, secs(3600), Spread::Wide, u32::MAX / 2);
    assert_eq!([lifetime.refresh_at, lifetime.ends], [end, end]);
}

// ---- Freshness. ----

#[test]
fn each_lifetime_has_its_times_for_proof_refresh_staleness_and_expiry() {
    const DAY: u64 = 86_400_000;
    // Lifetime; earliest and latest refresh with the narrow and the wide spread; fresh until. In milliseconds.
    let table = [
        (1_000, [700, 800], [50, 800], 900),
        (30_000, [21_000, 24_000], [1_500, 24_000], 27_000),
        (600_000, [420_000, 480_000], [30_000, 480_000], 540_000),
        (
            3_600_000,
            [3_150_000, 3_300_000],
            [75_000, 3_300_000],
            3_540_000,
        ),
        (
            30 * DAY,
            [30 * DAY - 450_000, 30 * DAY - 300_000],
            [75_000, 30 * DAY - 300_000],
            30 * DAY - 60_000,
        ),
    ];
    for (life, narrow, wide, fresh_until) in table {
        for (spread, [earliest, latest]) in [(Spread::Narrow, narrow), (Spread::Wide, wide)] {
            for (random, refresh_at) in [(0, latest), (u32::MAX, earliest)] {
                let expected = freshness::Lifetime {
                    proven_at: at((life / 2).min(MINUTE)),
                    refresh_at: at(refresh_at),
                    fresh_until: at(fresh_until),
                    ends: at(life),
                };
                let planned = freshness::plan(at(0), Duration::from_millis(life), spread, random);
                assert_eq!(planned, expected, "{life} ms, {spread:?}, {random}");
            }
        }
    }
}

#[test]
fn a_token_without_a_lifetime_has_expired_from_the_start() {
    let lifetime = freshness::plan(at(0), Duration::ZERO, Spread::Wide, u32::MAX / 2);
    assert_eq!(lifetime.refresh_at, at(0));
    assert_eq!(lifetime.fresh_until, at(0));
    assert_eq!(lifetime.ends, at(0));
}

// ---- Properties for random inputs. ----

fn any_kind() -> impl Strategy<Value = FailureKind> {
    prop::sample::select(FailureKind::ALL.to_vec())
}

fn any_duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000_u32, 0..64_u32)
        .prop_map(|(secs, nanos, shift)| Duration::new(secs >> shift, nanos))
}

proptest! {
    #[test]
    fn a_token_is_due_for_refresh_then_stale_then_expired(
        sent in any::<u64>(),
        expires_in in any_duration(),
        spread in prop::sample::select(vec![Spread::Narrow, Spread::Wide]),
        random in any::<u32>(),
    ) {
        let sent = Instant::from_nanos(sent);
        let lifetime = freshness::plan(sent, expires_in, spread, random);
        prop_assert!(sent <= lifetime.refresh_at);
        prop_assert!(lifetime.refresh_at <= lifetime.fresh_until);
        prop_assert!(lifetime.fresh_until <= lifetime.ends);
        prop_assert_eq!(lifetime.ends, sent + expires_in);
    }

    #[test]
    fn no_failure_delays_a_client_for_more_than_750_s(
        limit in 1..=60_u32,
        now in any::<u64>(),
        failures in prop::collection::vec(
            (any_kind(), prop::option::of(any_duration()), any::<u32>()),
            1..50,
        ),
    ) {
        let now = Instant::from_nanos(now);
        let mut pace = Pace::new(limit);
        for (kind, hint, random) in failures {
            pace.sent(now);
            pace.failed(now, kind, hint, random);
            prop_assert!(pace.next(now) > now || now == Instant::NEVER);
            prop_assert!(pace.next(now).since(now) <= secs(750));
        }
    }

    #[test]
    fn no_sixty_seconds_have_more_requests_than_the_limit(
        limit in 1..=60_u32,
        results in prop::collection::vec(
            (prop::option::of(any_kind()), prop::option::of(0..120_u64), any::<u32>(), 0..3000_u64),
            1..300,
        ),
    ) {
        let mut pace = Pace::new(limit);
        let mut now = at(0);
        let mut counted = Vec::new();
        for (failure, hint, random, latency) in results {
            now = now.max(pace.next(now));
            pace.sent(now);
            // A request that did not reach the service does not count.
            if failure != Some(FailureKind::Unreachable) {
                counted.push(now);
            }
            now = now + Duration::from_millis(latency);
            match failure {
                Some(kind) => pace.failed(now, kind, hint.map(secs), random),
                None => pace.succeeded(LONG_AGO),
            }
        }
        for window in counted.windows(limit as usize + 1) {
            prop_assert!(window[limit as usize].since(window[0]) >= secs(60));
        }
    }

    #[test]
    fn a_success_ends_every_earlier_wait(
        limit in 2..=60_u32,
        failures in prop::collection::vec(
            (any_kind(), prop::option::of(any_duration()), any::<u32>()),
            0..50,
        ),
    ) {
        let mut pace = Pace::new(limit);
        for (kind, hint, random) in failures {
            pace.failed(at(0), kind, hint, random);
        }
        pace.sent(at(0));
        pace.succeeded(at(MINUTE));
        prop_assert!(pace.next(at(0)) <= at(0));
        prop_assert!(pace.is_worth_waiting(at(MINUTE)));
    }

    #[test]
    fn a_wait_that_the_server_requests_is_never_shortened_below_its_limit(
        kind in prop::sample::select(vec![FailureKind::RateLimited, FailureKind::Service, FailureKind::Rejected]),
        before in 0..20_u32,
        hint in any_duration(),
        random in any::<u32>(),
    ) {
        let limit = if kind == FailureKind::Service { secs(60) } else { secs(600) };
        prop_assert!(wait_after(kind, before, Some(hint), random) >= hint.min(limit));
    }

    #[test]
    fn more_failures_of_one_kind_never_shorten_the_wait(
        kind in any_kind(),
        before in 0..40_u32,
        random in any::<u32>(),
    ) {
        prop_assert!(wait_after(kind, before, None, random) <= wait_after(kind, before + 1, None, random));
    }

    #[test]
    fn a_token_is_fresh_for_nine_tenths_of_its_lifetime_and_its_refresh_has_time_left(
        expires_in in 1..=864_000_u64,
        spread in prop::sample::select(vec![Spread::Narrow, Spread::Wide]),
        random in any::<u32>(),
    ) {
        let life = secs(expires_in);
        let lifetime = freshness::plan(at(0), life, spread, random);
        prop_assert!(lifetime.fresh_until.since(at(0)) >= life * 9 / 10);
        prop_assert!(lifetime.ends.since(lifetime.refresh_at) >= secs(300).min(life / 5));
        if spread == Spread::Narrow {
            // A token that was refreshed in time is not refreshed more often than necessary.
            prop_assert!(lifetime.refresh_at.since(at(0)) >= life * 7 / 10);
        }
    }

    #[test]
    fn a_larger_random_number_never_delays_the_refresh(
        expires_in in any_duration(),
        spread in prop::sample::select(vec![Spread::Narrow, Spread::Wide]),
        numbers in (any::<u32>(), any::<u32>()),
    ) {
        let refresh_at = |random| freshness::plan(at(0), expires_in, spread, random).refresh_at;
        let (less, more) = (numbers.0.min(numbers.1), numbers.0.max(numbers.1));
        prop_assert!(refresh_at(more) <= refresh_at(less));
    }
}
