//! Two clocks: one for all timing, one for certificates and messages.
//!
//! The *lifetime clock* decides everything: when a token expires, when the next request may be sent, when
//! a call gives up. It counts the time that the device sleeps and ignores every change of the date.
//! The *wall clock* is compared with certificates and shown to people; it decides no life and no wait.
//!
//! | platform | lifetime clock |
//! |---|---|
//! | Linux, Android | `CLOCK_BOOTTIME` |
//! | Windows | `GetTickCount64` (counts sleep, ticks every 10 to 16 ms) |
//! | macOS, iOS | `CLOCK_MONOTONIC` (there it counts sleep) |
//! | other Unix | `CLOCK_MONOTONIC` (whether it counts sleep is up to the system) |
//!
//! Reading it would be most of the cost of a cached token, so that is timed by a coarse clock, see
//! `ClockOffset`.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::Add;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point on the lifetime clock: nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// Later than any time that a clock will show.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// The point `nanos` nanoseconds after the clock's start.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` until `self`, zero if it is the other way round.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at [`Instant::NEVER`].
    fn add(self, duration: Duration) -> Instant {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}

/// A source of time that a test controls.
pub trait TimeSource: Send + Sync {
    /// The lifetime clock.
    fn now(&self) -> Instant;

    /// The wall clock, in seconds since 1970 (negative before).
    fn unix_seconds(&self) -> i64;
}

/// The clocks that a client lives by.
#[derive(Clone, Default)]
pub enum Clock {
    /// The device's.
    #[default]
    System,
    /// A test's.
    Injected(Arc<dyn TimeSource>),
}

impl Clock {
    /// The lifetime clock.
    #[inline]
    pub fn now(&self) -> Instant {
        match self {
            Clock::System => system_now(),
            Clock::Injected(source) => source.now(),
        }
    }

    /// For coarse times that are read later. `None`: there is no coarse clock.
    pub(crate) fn offset(&self) -> Option<ClockOffset> {
        match self {
            Clock::System => ClockOffset::new(CoarseTime::now(), self.now()),
            Clock::Injected(_) => None,
        }
    }

    /// The wall clock, in seconds since 1970 (negative before).
    pub fn unix_seconds(&self) -> i64 {
        match self {
            Clock::System => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
            },
            Clock::Injected(source) => source.unix_seconds(),
        }
    }

    /// How long a thread that waits for `wait` may block before it reads this clock again. Blocking does not
    /// count the time that the device sleeps, and an injected clock can jump.
    pub(crate) fn max_block(&self, wait: Duration) -> Duration {
        match self {
            Clock::System => wait.min(Duration::from_secs(1)),
            Clock::Injected(_) => wait.min(Duration::from_millis(1)),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Clock::System => "System",
            Clock::Injected(_) => "Injected",
        })
    }
}

#[cfg(unix)]
#[inline]
fn system_now() -> Instant {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const LIFETIME_CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const LIFETIME_CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

    // 0 only for a clock that the system does not have, and every system that Rust's standard library
    // runs on has this one.
    Instant(nanoseconds(LIFETIME_CLOCK))
}

/// What a clock shows; 0 if there is no such clock.
#[cfg(unix)]
#[inline]
fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid, writable timespec for the duration of the call. A failure leaves it.
    unsafe { libc::clock_gettime(clock, &mut time) };
    (time.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.tv_nsec as u64)
}

#[cfg(windows)]
#[inline]
fn system_now() -> Instant {
    #[link(name = "kernel32")]
    unsafe extern "system" {
        safe fn GetTickCount64() -> u64;
    }
    Instant(GetTickCount64().saturating_mul(1_000_000))
}

/// Two clocks that Linux sets at each tick of its timer. They are read in a third of the time that the
/// lifetime clock needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoarseTime {
    /// Does not count sleep. 0 where there is no such clock.
    monotonic: u64,
    wall: u64,
}

impl CoarseTime {
    #[inline]
    pub fn now() -> CoarseTime {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let (monotonic, wall) = (
            nanoseconds(libc::CLOCK_MONOTONIC_COARSE),
            nanoseconds(libc::CLOCK_REALTIME_COARSE),
        );
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let (monotonic, wall) = (0, 0);
        CoarseTime { monotonic, wall }
    }

    #[inline]
    fn wall_ahead(self) -> u64 {
        self.wall.wrapping_sub(self.monotonic)
    }
}

/// The offset between the coarse clocks and the lifetime clock. Valid while wall minus monotonic time is
/// unchanged, to the nanosecond: both a sleep and a change of the date alter that difference. (After a sleep
/// Linux moves the wall clock forward, as it does the lifetime clock, but not the monotonic one.) When it is
/// not valid, and if there are no coarse clocks, the lifetime clock itself has to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockOffset {
    wall_ahead: u64,
    lifetime_ahead: u64,
}

impl ClockOffset {
    /// The longest time from one tick to the next (there are 100 to 1000 in a second).
    const TICK: Duration = Duration::from_millis(10);

    fn new(time: CoarseTime, now: Instant) -> Option<ClockOffset> {
        // Coarse time lags by up to a tick. With one added it is up to two ticks fast, and never slow.
        let Instant(now) = now + ClockOffset::TICK;
        (time.monotonic != 0).then_some(ClockOffset {
            wall_ahead: time.wall_ahead(),
            lifetime_ahead: now.wrapping_sub(time.monotonic),
        })
    }

    /// What the lifetime clock shows, or up to two ticks more. (A tick may be late; margins are in seconds.)
    /// `None`: it has to be read.
    #[inline]
    pub fn instant(self, time: CoarseTime) -> Option<Instant> {
        let is_usable = time.monotonic != 0 && time.wall_ahead() == self.wall_ahead;
        is_usable.then(|| Instant(time.monotonic.wrapping_add(self.lifetime_ahead)))
    }
}

/// A Unix time as `2026-11-24 03:04:05 UTC`, for messages to people.
pub(crate) fn utc(unix_seconds: i64) -> String {
    // Howard Hinnant's civil_from_days, with the year starting in March.
    let days = unix_seconds.div_euclid(86_400);
    let second = unix_seconds.rem_euclid(86_400);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use std::io::Write;

    #[test]
    fn the_lifetime_clock_moves_forward() {
        let before = Clock::System.now();
        let after = Clock::System.now();
        assert!(after >= before);
        assert!(before > Instant::from_nanos(0));
    }

    const TICKS: CoarseTime = CoarseTime {
        monotonic: 5_000,
        wall: 90_000,
    };

    fn later(monotonic: u64, wall: i64) -> Option<Instant> {
        let offset = ClockOffset::new(TICKS, Instant(7_000)).expect("the system has coarse clocks");
        let instant = offset.instant(CoarseTime {
            monotonic: TICKS.monotonic + monotonic,
            wall: TICKS.wall.wrapping_add_signed(wall),
        });
        instant.map(|Instant(nanos)| Instant(nanos - ClockOffset::TICK.as_nanos() as u64))
    }

    #[test]
    fn the_offset_turns_coarse_time_into_lifetime() {
        assert_eq!(later(0, 0), Some(Instant(7_000)));
        assert_eq!(later(300, 300), Some(Instant(7_300)));
    }

    #[test]
    fn after_sleep_or_a_date_change_the_offset_is_not_used() {
        for step in [-80_000, -1, 1, 3_600_000_000_000] {
            assert_eq!(later(300, 300 + step), None);
        }
    }

    #[test]
    fn without_coarse_clocks_there_is_no_offset() {
        let none = CoarseTime {
            monotonic: 0,
            wall: 0,
        };
        assert!(ClockOffset::new(none, Instant(7_000)).is_none());
        let same = CoarseTime {
            monotonic: 5_000,
            wall: 5_000,
        };
        let offset = ClockOffset::new(same, Instant(7_000)).expect("the system has coarse clocks");
        assert_eq!(offset.instant(none), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_coarse_clocks_agree_with_the_lifetime_clock() {
        // On a busy machine a tick may be late.
        const LATE: Duration = Duration::from_millis(200);
        let offset = Clock::System
            .offset()
            .expect("the system has coarse clocks");
        let mut taken = 0;
        for _ in 0..10_000 {
            let before = Clock::System.now();
            // None if a tick came between the readings of the two coarse clocks.
            if let Some(instant) = offset.instant(CoarseTime::now()) {
                let after = Clock::System.now();
                assert!(before < instant + LATE, "{before:?} {instant:?}");
                assert!(instant < after + LATE, "{instant:?} {after:?}");
                taken += 1;
            }
        }
        assert!(taken > 0);
    }

    /// The date moves by a nanosecond, and back.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_offset_is_not_used_after_a_real_date_change() {
        fn set_date(forward: bool) -> bool {
            // SAFETY: all zeros is a valid timex, and the kernel reads and writes just that.
            unsafe {
                let mut step: libc::timex = std::mem::zeroed();
                step.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
                step.time.tv_sec = if forward { 0 } else { -1 };
                step.time.tv_usec = if forward { 1 } else { 999_999_999 };
                libc::adjtimex(&mut step) >= 0
            }
        }
        let is_valid =
            |offset: ClockOffset| (0..3).any(|_| offset.instant(CoarseTime::now()).is_some());
        let offset = Clock::System
            .offset()
            .expect("the system has coarse clocks");
        assert!(is_valid(offset));
        if !set_date(true) {
            // Written directly, because the test's output is captured.
            let _ = writeln!(std::io::stdout(), "SKIPPED: setting the date needs root");
            return;
        }
        let was_valid = is_valid(offset);
        assert!(set_date(false));
        assert!(!was_valid);
        assert!(is_valid(offset));
    }

    #[test]
    fn an_injected_clock_is_used_as_it_is_and_has_no_offset() {
        struct Stopped;
        impl TimeSource for Stopped {
            fn now(&self) -> Instant {
                Instant::from_nanos(1)
            }

            fn unix_seconds(&self) -> i64 {
                -1
            }
        }
        let stopped = Clock::Injected(Arc::new(Stopped));
        assert!(stopped.offset().is_none());
        assert_eq!(
            format!("{:?} {stopped:?}", Clock::System),
            "System Injected"
        );
        assert_eq!(stopped.now(), Instant::from_nanos(1));
        assert_eq!(stopped.unix_seconds(), -1);
    }

    #[test]
    fn adding_to_an_instant_never_wraps() {
        assert_eq!(Instant::from_nanos(5) + Duration::MAX, Instant::NEVER);
        assert_eq!(Instant::from_nanos(5).since(Instant::NEVER), Duration::ZERO);
    }

    #[test]
    fn a_wait_blocks_for_a_second_at_most_before_the_clock_is_read_again() {
        let max_block_ms = |ms| {
            Clock::System
                .max_block(Duration::from_millis(ms))
                .as_millis()
        };
        assert_eq!(
            [max_block_ms(30_000), max_block_ms(1_000), max_block_ms(20),],
            [1_000, 1_000, 20]
        );
    }

    #[test]
    fn dates_are_written_as_year_month_day_and_time_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_767_852_332, "2026-01-08 06:05:32 UTC"),
            (4_102_444_799, "2099-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}
