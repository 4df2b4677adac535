//! The time until the server permits the next request.
#![forbid(unsafe_code)]

use std::time::{Duration, UNIX_EPOCH};

use super::types::Head;

/// The time until the server permits the next request: the largest value of `Retry-After`
/// (seconds, or a date, if the response also has a `Date`) and, for a 429, of `RateLimit-Reset`, which
/// other responses may have as well.
pub(crate) fn retry_hint(head: &Head) -> Option<Duration> {
    let server_now = head.date.and_then(unix_seconds);
    let until = |date: &str| {
        let (until, now) = (unix_seconds(date)?, server_now?);
        Some(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
    };
    let retry_after = head.retry_after.iter();
    let retry_after =
        retry_after.filter_map(|&value| whole_seconds(value).or_else(|| until(value)));
    let resets = head
        .rate_limit_reset
        .iter()
        .filter(|_| head.http_status == 429);
    let resets = resets.filter_map(|&value| whole_seconds(value));
    retry_after.chain(resets).max().map(Duration::from_secs)
}

/// The largest number of a list, rounded up. `Retry-After` is specified as one integer, but
/// servers send fractions, and proxies join the values of two fields to a list.
fn whole_seconds(list: &str) -> Option<u64> {
    let seconds = |number: &str| {
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        // A number that is too large is a long time.
        let whole = whole.parse().unwrap_or(u64::MAX);
        Some(whole.saturating_add(u64::from(fraction.bytes().any(|b| b != b'0'))))
    };
    list.split(',').filter_map(seconds).max()
}

/// Parses an HTTP date.
pub(crate) fn unix_seconds(http_date: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(http_date.trim()).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Thu, 08 Jan 2026 05:05:32 GMT";

    #[test]
    fn the_longest_valid_value_of_retry_after_and_ratelimit_reset_counts() {
        type Values = &'static [&'static str];
        let table: [(u16, Values, Values, Option<u64>); 17] = [
            (429, &[], &[], None),
            (429, &["7"], &[], Some(7)),
            (429, &[], &["9"], Some(9)),
            (429, &["7"], &["9"], Some(9)),
            (429, &["Thu, 08 Jan 2026 05:06:02 GMT"], &["9"], Some(30)),
            (429, &["Thu, 08 Jan 1998 05:06:02 GMT"], &[], Some(0)),
            (429, &["99999999999999999999999"], &[], Some(u64::MAX)),
            (429, &["-5"], &["soon"], None),
            (503, &["7"], &["60"], Some(7)),
            (503, &[], &["60"], None),
            // The largest of several values counts, and a part of a second is rounded up.
            (429, &["5", "37"], &["9", "8"], Some(37)),
            (429, &["5, 37"], &["6,40"], Some(40)),
            (429, &["5", "Thu, 08 Jan 2026 05:06:02 GMT"], &[], Some(30)),
            (429, &["soon", "7"], &[], Some(7)),
            (429, &["37.5"], &["37.01"], Some(38)),
            (429, &["37.0"], &["37."], Some(37)),
            (429, &[".5", "1.x", "0x10", "soon, ", ""], &[","], None),
        ];
        for (http_status, retry_after, rate_limit_reset, seconds) in table {
            let head = Head {
                http_status,
                date: Some(DATE),
                retry_after: retry_after.to_vec(),
                rate_limit_reset: rate_limit_reset.to_vec(),
                ..Head::default()
            };
            let hint = retry_hint(&head);
            let case = format!("{retry_after:?} {rate_limit_reset:?}");
            assert_eq!(hint, seconds.map(Duration::from_secs), "{case}");
        }
    }

    /// The device's date may be wrong by decades.
    #[test]
    fn a_retry_after_date_is_ignored_without_the_servers_date() {
        let head = Head {
            http_status: 429,
            retry_after: vec!["Thu, 08 Jan 2026 05:06:02 GMT"],
            ..Head::default()
        };
        assert_eq!(retry_hint(&head), None);
    }
}
