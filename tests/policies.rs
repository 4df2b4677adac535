//! The pure policies, row by row: when the next request may leave, and when a token is refreshed.

use std::time::Duration;

use clopos_auth::testing::clock::Instant;
use clopos_auth::testing::freshness::{self, Spread};
use clopos_auth::testing::pace::{FailureKind, Pace};
use proptest::prelude::*;

const KINDS: [FailureKind; 6] = [
    FailureKind::Service,
    FailureKind::Unreachable,
    FailureKind::RateLimited,
    FailureKind::NeedsAction,
    FailureKind::Rejected,
    FailureKind::TokenRefused,
];

const MINUTE: u64 = 60_000;
/// The default of `requests_per_minute`.
const LIMIT: u32 = 12;

/// A token that proved itself long ago.
const OLD: Instant = Instant::from_nanos(0);

/// A point on the lifetime clock of a device that has been up for a day.
fn at(millis: u64) -> Instant {
    Instant::from_nanos((86_400_000 + millis) * 1_000_000)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The wait after a failure of a kind that came `before` times already, for the least and the largest random
/// number.
fn bounds(kind: FailureKind, before: u32, hint: Option<Duration>) -> [f64; 2] {
    [0, u32::MAX].map(|random| {
        let mut pace = Pace::new(LIMIT);
        for _ in 0..before {
            pace.failed(at(0), kind, None, u32::MAX / 2);
        }
        pace.failed(at(0), kind, hint, random);
        pace.next(at(0)).since(at(0)).as_secs_f64()
    })
}

#[track_caller]
fn assert_bounds(kind: FailureKind, before: u32, hint: Option<Duration>, expected: [f64; 2]) {
    let measured = bounds(kind, before, hint);
    for (measured, expected) in measured.into_iter().zip(expected) {
        assert!(
            (measured - expected).abs() < 1e-6,
            "{kind:?}, {before} before, asked for {hint:?}: {measured} s, not {expected} s"
        );
    }
}

// ---- The pace: one failure after the other. ----

#[test]
fn each_kind_of_failure_has_its_own_waits_that_grow_to_a_cap() {
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
fn what_the_server_asks_for_is_never_cut_short_and_never_absurd() {
    use FailureKind::*;
    let forever = u64::MAX;
    let table = [
        // A limit: the server knows best, within 1 s and ten minutes.
        (RateLimited, 0, [1.0, 1.25]),
        (RateLimited, 1, [1.0, 1.25]),
        (RateLimited, 7, [7.0, 8.75]),
        (RateLimited, 60, [60.0, 75.0]),
        (RateLimited, 600, [600.0, 750.0]),
        (RateLimited, 1_767_852_332, [600.0, 750.0]),
        (RateLimited, forever, [600.0, 750.0]),
        // A failure: the larger of that and the backoff, within a minute.
        (Service, 0, [0.25, 0.5]),
        (Service, 7, [7.0, 8.75]),
        (Service, 60, [60.0, 75.0]),
        (Service, 3600, [60.0, 75.0]),
        (Service, forever, [60.0, 75.0]),
        // A lock-out.
        (Rejected, 0, [5.0, 6.25]),
        (Rejected, 120, [120.0, 150.0]),
        (Rejected, forever, [600.0, 750.0]),
        // Nobody who knows said it.
        (Unreachable, 7, [0.25, 0.5]),
        (NeedsAction, 3600, [5.0, 6.25]),
        (TokenRefused, 3600, [5.0, 6.25]),
    ];
    for (kind, asked, expected) in table {
        assert_bounds(kind, 0, Some(secs(asked)), expected);
    }
    assert_bounds(Service, 1000, Some(secs(7)), [30.0, 60.0]);
    assert_bounds(RateLimited, 1000, Some(secs(7)), [7.0, 8.75]);
}

#[test]
fn no_wait_is_the_same_for_everybody() {
    for kind in KINDS {
        for hint in [None, Some(secs(30))] {
            let [least, most] = bounds(kind, 2, hint);
            assert!(most >= 1.25 * least, "{kind:?} {hint:?}");
        }
    }
}

#[test]
fn a_success_clears_everything_but_the_window_and_the_refused_tokens() {
    for kind in KINDS {
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
        pace.succeeded(OLD);
        assert!(pace.next(at(0)) <= at(0), "{kind:?}");
        assert!(pace.is_worth_waiting(at(0)), "{kind:?}");

        pace.failed(at(1), kind, None, u32::MAX);
        let after = pace.next(at(0)).since(at(1)).as_secs_f64();
        assert_eq!(after, bounds(kind, 0, None)[1], "{kind:?}");
    }
    let mut pace = Pace::new(2);
    pace.sent(at(0));
    pace.sent(at(1));
    pace.succeeded(OLD);
    assert_eq!(pace.next(at(0)), at(MINUTE));
}

#[test]
fn waiting_is_worth_it_unless_somebody_has_to_mend_something() {
    assert!(Pace::new(LIMIT).is_worth_waiting(at(0)));
    for (kind, expected) in KINDS
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
    for first in KINDS {
        for second in KINDS {
            let mut pace = Pace::new(LIMIT);
            pace.failed(at(0), first, None, u32::MAX);
            pace.failed(at(0), second, None, u32::MAX);
            let before = u32::from(kind(first) == kind(second));
            let expected = bounds(second, before, None)[1];
            let measured = pace.next(at(0)).since(at(0)).as_secs_f64();
            assert_eq!(measured, expected, "{first:?}, then {second:?}");
        }
    }
}

// ---- The pace: tokens that are refused. ----

/// A sign-in at `issued`, whose token is refused `lived` later. How long the next one has to wait.
fn refused(pace: &mut Pace, issued: u64, lived: u64) -> Option<f64> {
    let (now, proven_at) = (at(issued + lived), at(issued + MINUTE));
    assert!(pace.next(at(issued)) <= at(issued), "{issued}: not yet");
    pace.sent(at(issued));
    pace.succeeded(proven_at);
    let wait = pace.token_refused(now, proven_at, 0)?;
    assert_eq!(pace.next(now), now + wait);
    assert!(!pace.is_worth_waiting(now));
    Some(wait.as_secs_f64())
}

#[test]
fn sign_ins_wait_longer_for_each_token_that_is_refused_within_a_minute_until_one_has_lived() {
    let mut pace = Pace::new(LIMIT);
    // When it is issued and how long it lives, in milliseconds; how long the next one waits, in seconds.
    let table = [
        (0, 0, Some(5.0)),
        // The second: ten seconds, but no third one in the same minute.
        (5_000, 1_000, Some(54.0)),
        (60_000, 0, Some(20.0)),
        (80_000, 59_999, Some(40.0)),
        (200_000, 0, Some(80.0)),
        (300_000, 0, Some(160.0)),
        (500_000, 0, Some(225.0)),
        (800_000, 0, Some(225.0)),
        // This one has lived: it was revoked.
        (1_100_000, MINUTE, None),
        (1_200_000, 0, Some(5.0)),
        (1_300_000, 0, Some(10.0)),
    ];
    for (issued, lived, wait) in table {
        assert_eq!(refused(&mut pace, issued, lived), wait, "{issued}");
    }
    // This one was not refused, so it has lived, too.
    pace.sent(at(1_400_000));
    pace.succeeded(at(1_460_000));
    assert_eq!(refused(&mut pace, 1_460_000, 0), Some(5.0));
    // This one was replaced before its minute was over.
    pace.sent(at(1_600_000));
    pace.succeeded(at(1_660_000));
    assert_eq!(refused(&mut pace, 1_659_999, 0), Some(10.0));
}

#[test]
fn a_client_whose_last_token_has_lived_may_send_as_often_as_ever() {
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
fn a_client_whose_next_token_has_not_lived_yet_says_why_it_may_not_send() {
    let mut pace = Pace::new(LIMIT);
    refused(&mut pace, 0, 0);
    // A token of 20 s has lived after ten of them.
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
fn a_refused_token_shortens_no_wait_that_the_service_asked_for() {
    let mut pace = Pace::new(LIMIT);
    pace.succeeded(at(MINUTE));
    pace.failed(at(0), FailureKind::RateLimited, Some(secs(300)), 0);
    let wait = pace.token_refused(at(1000), at(MINUTE), 0);
    assert_eq!(wait, Some(secs(299)));
    assert_eq!(pace.next(at(0)), at(300_000));
}

// ---- The pace: the window. ----

#[test]
fn the_limit_opens_again_when_the_oldest_request_is_a_minute_old() {
    for limit in [1, 2, 12, 60] {
        let mut pace = Pace::new(limit);
        for request in 0..u64::from(limit) {
            assert!(pace.next(at(0)) <= at(request), "{limit}");
            pace.sent(at(request));
            pace.succeeded(OLD);
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
fn a_limit_of_zero_is_one_and_not_an_endless_loop() {
    let mut pace = Pace::new(0);
    assert!(pace.next(at(0)) <= at(0));
    pace.sent(at(0));
    assert_eq!(pace.next(at(0)), at(MINUTE));
}

// ---- The pace: hostile callers. ----

/// The requests in the first and in the tenth minute of callers who ask without a pause, when every
/// answer is `kind` and comes at once.
fn hammered(kind: Option<FailureKind>, hint: Option<Duration>, random: u32) -> [u32; 2] {
    let mut pace = Pace::new(LIMIT);
    let mut requests = [0; 10];
    for now in 0..10 * MINUTE {
        if pace.next(at(now)) > at(now) {
            continue;
        }
        requests[(now / MINUTE) as usize] += 1;
        pace.sent(at(now));
        match kind {
            Some(kind) => pace.failed(at(now), kind, hint, random),
            None => pace.succeeded(OLD),
        }
    }
    [requests[0], requests[9]]
}

#[test]
fn a_hostile_caller_sends_at_most_eight_requests_a_minute_with_wrong_credentials() {
    for random in [0, u32::MAX / 2, u32::MAX] {
        let [first, tenth] = hammered(Some(FailureKind::Rejected), None, random);
        assert!((1..=4).contains(&first), "{first}");
        assert!(tenth <= 1, "{tenth}");
    }
}

#[test]
fn a_hostile_caller_sends_at_most_twelve_requests_a_minute_to_a_failing_service() {
    for random in [0, u32::MAX / 2, u32::MAX] {
        for hint in [None, Some(Duration::ZERO), Some(secs(1))] {
            let [first, tenth] = hammered(Some(FailureKind::Service), hint, random);
            assert!((1..=6).contains(&first), "{first}");
            assert!(tenth <= 2, "{tenth}");
        }
    }
}

#[test]
fn a_hostile_caller_never_sends_more_than_the_limit_of_requests_that_the_service_sees() {
    for kind in [
        None,
        Some(FailureKind::Service),
        Some(FailureKind::RateLimited),
        Some(FailureKind::NeedsAction),
        Some(FailureKind::Rejected),
    ] {
        for hint in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            let requests = hammered(kind, hint, 0);
            assert!(requests.iter().all(|&n| n <= LIMIT), "{kind:?} {hint:?}");
        }
    }
    assert_eq!(hammered(None, None, 0), [LIMIT, LIMIT]);
}

// ---- Clocks that jump. ----

#[test]
fn a_device_that_slept_may_send_at_once() {
    let mut pace = Pace::new(1);
    pace.sent(at(0));
    pace.failed(at(0), FailureKind::Rejected, Some(Duration::MAX), u32::MAX);
    assert!(pace.next(at(0)) > at(9 * MINUTE));
    assert!(pace.next(at(0)) <= at(480 * MINUTE));
}

#[test]
fn a_device_that_has_just_started_may_send_at_once() {
    assert_eq!(Pace::new(1).next(at(0)), Instant::from_nanos(0));
}

#[test]
fn the_end_of_the_clock_is_not_a_panic() {
    let end = Instant::NEVER;
    for kind in KINDS {
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
fn short_and_long_tokens_prove_themselves_first_and_are_refreshed_before_their_margin() {
    const DAY: u64 = 86_400_000;
    // Life, the refresh at the earliest and at the latest by origin, fresh until: milliseconds.
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
    for (life, refreshed, scrambled, fresh_until) in table {
        for (origin, [earliest, latest]) in [(Spread::Narrow, refreshed), (Spread::Wide, scrambled)]
        {
            for (random, refresh_at) in [(0, latest), (u32::MAX, earliest)] {
                let expected = freshness::Lifetime {
                    proven_at: at((life / 2).min(MINUTE)),
                    refresh_at: at(refresh_at),
                    fresh_until: at(fresh_until),
                    ends: at(life),
                };
                let planned = freshness::plan(at(0), Duration::from_millis(life), origin, random);
                assert_eq!(planned, expected, "{life} ms, {origin:?}, {random}");
            }
        }
    }
}

#[test]
fn a_token_that_lives_for_no_time_is_dead_from_the_start() {
    let lifetime = freshness::plan(at(0), Duration::ZERO, Spread::Wide, u32::MAX / 2);
    assert_eq!(lifetime.refresh_at, at(0));
    assert_eq!(lifetime.fresh_until, at(0));
    assert_eq!(lifetime.ends, at(0));
}

// ---- Whatever comes. ----

fn any_trouble() -> impl Strategy<Value = FailureKind> {
    prop::sample::select(KINDS.to_vec())
}

fn any_duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000_u32, 0..64_u32)
        .prop_map(|(secs, nanos, shift)| Duration::new(secs >> shift, nanos))
}

proptest! {
    #[test]
    fn a_token_is_always_refreshed_first_then_stale_then_dead(
        sent in any::<u64>(),
        expires_in in any_duration(),
        origin in prop::sample::select(vec![Spread::Narrow, Spread::Wide]),
        random in any::<u32>(),
    ) {
        let sent = Instant::from_nanos(sent);
        let lifetime = freshness::plan(sent, expires_in, origin, random);
        prop_assert!(sent <= lifetime.refresh_at);
        prop_assert!(lifetime.refresh_at <= lifetime.fresh_until);
        prop_assert!(lifetime.fresh_until <= lifetime.ends);
        prop_assert_eq!(lifetime.ends, sent + expires_in);
    }

    #[test]
    fn no_failure_keeps_a_client_away_for_more_than_thirteen_minutes(
        limit in 1..=60_u32,
        now in any::<u64>(),
        failures in prop::collection::vec(
            (any_trouble(), prop::option::of(any_duration()), any::<u32>()),
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
    fn whatever_is_answered_no_sixty_seconds_see_more_requests_than_the_limit(
        limit in 1..=60_u32,
        answers in prop::collection::vec(
            (prop::option::of(any_trouble()), prop::option::of(0..120_u64), any::<u32>(), 0..3000_u64),
            1..300,
        ),
    ) {
        let mut pace = Pace::new(limit);
        let mut now = at(0);
        let mut seen = Vec::new();
        for (answer, hint, random, latency) in answers {
            now = now.max(pace.next(now));
            pace.sent(now);
            if answer != Some(FailureKind::Unreachable) {
                seen.push(now);
            }
            now = now + Duration::from_millis(latency);
            match answer {
                Some(kind) => pace.failed(now, kind, hint.map(secs), random),
                None => pace.succeeded(OLD),
            }
        }
        for window in seen.windows(limit as usize + 1) {
            prop_assert!(window[limit as usize].since(window[0]) >= secs(60));
        }
    }

    #[test]
    fn a_success_opens_the_way_again_whatever_came_before(
        limit in 2..=60_u32,
        failures in prop::collection::vec(
            (any_trouble(), prop::option::of(any_duration()), any::<u32>()),
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
    fn a_wait_that_the_server_asks_for_is_kept_up_to_its_cap(
        kind in prop::sample::select(vec![FailureKind::RateLimited, FailureKind::Service, FailureKind::Rejected]),
        before in 0..20_u32,
        asked in any_duration(),
        random in any::<u32>(),
    ) {
        let cap = if kind == FailureKind::Service { secs(60) } else { secs(600) };
        let mut pace = Pace::new(LIMIT);
        for _ in 0..before {
            pace.failed(at(0), kind, None, u32::MAX / 2);
        }
        pace.failed(at(0), kind, Some(asked), random);
        prop_assert!(pace.next(at(0)).since(at(0)) >= asked.min(cap));
    }

    #[test]
    fn more_of_the_same_trouble_never_shortens_the_wait(
        kind in any_trouble(),
        before in 0..40_u32,
        random in any::<u32>(),
    ) {
        let wait = |before| {
            let mut pace = Pace::new(LIMIT);
            for _ in 0..before {
                pace.failed(at(0), kind, None, random);
            }
            pace.failed(at(0), kind, None, random);
            pace.next(at(0))
        };
        prop_assert!(wait(before) <= wait(before + 1));
    }

    #[test]
    fn a_token_is_served_for_nine_tenths_of_its_life_and_refreshed_with_time_to_spare(
        expires_in in 1..=864_000_u64,
        origin in prop::sample::select(vec![Spread::Narrow, Spread::Wide]),
        random in any::<u32>(),
    ) {
        let life = secs(expires_in);
        let lifetime = freshness::plan(at(0), life, origin, random);
        prop_assert!(lifetime.fresh_until.since(at(0)) >= life * 9 / 10);
        prop_assert!(lifetime.ends.since(lifetime.refresh_at) >= secs(300).min(life / 5));
        if origin == Spread::Narrow {
            // One that was refreshed in time is not refreshed more often than needed.
            prop_assert!(lifetime.refresh_at.since(at(0)) >= life * 7 / 10);
        }
    }

    #[test]
    fn a_larger_draw_never_refreshes_later(
        expires_in in any_duration(),
        origin in prop::sample::select(vec![Spread::Narrow, Spread::Wide]),
        draws in (any::<u32>(), any::<u32>()),
    ) {
        let refresh_at = |random| freshness::plan(at(0), expires_in, origin, random).refresh_at;
        let (less, more) = (draws.0.min(draws.1), draws.0.max(draws.1));
        prop_assert!(refresh_at(more) <= refresh_at(less));
    }
}
