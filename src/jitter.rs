//! Random numbers that spread load. They decide nothing else, so they may be predictable. Made
//! without the system's random numbers, which can fail or block, and without floating point,
//! because a host may have unmasked its exceptions.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Clock;

/// Uniform in the range of its type. Differs between devices that start at the same moment: it
/// depends on the nanoseconds of two clocks and on the addresses of this process.
pub(crate) fn draw() -> u32 {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    let on_the_stack = 0_u8;
    let differences = [
        DRAWN.fetch_add(1, Ordering::Relaxed),
        Clock::System.now().as_nanos(),
        wall,
        (&raw const DRAWN).addr() as u64,
        (&raw const on_the_stack).addr() as u64,
        std::process::id().into(),
    ];
    let mixed = differences
        .into_iter()
        .fold(0, |state, difference| mix(state ^ difference));
    (mixed >> 32) as u32
}

/// The step of SplitMix64: every bit of the result depends on every bit of `z`.
fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A random part of `whole`: nothing of it for 0, all of it for `u32::MAX`.
pub(crate) fn part(whole: Duration, random: u32) -> Duration {
    let nanos = whole.as_nanos() * u128::from(random) / u128::from(u32::MAX);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_fill_their_range_evenly() {
        let mut counts = [0_u32; 16];
        for _ in 0..16_000 {
            counts[(draw() >> 28) as usize] += 1;
        }
        // 1000 each, plus or minus six standard deviations.
        assert!(
            counts.iter().all(|count| (820..=1180).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_part_is_between_zero_and_the_whole() {
        for whole in [Duration::ZERO, Duration::from_secs(60), Duration::MAX] {
            assert_eq!(part(whole, 0), Duration::ZERO);
            assert!(part(whole, u32::MAX / 2) <= whole);
        }
        let minute = Duration::from_secs(60);
        assert_eq!(part(minute, u32::MAX), minute);
        assert_eq!(part(minute, u32::MAX / 4).as_secs(), 14);
    }
}
