//! Parses the headers `Retry-After` and `RateLimit-Reset`, and checks the pause that results.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use clopos_auth::testing::clock::Instant;
use clopos_auth::testing::fuzz::{retry_hint, unix_seconds};
use clopos_auth::testing::pace::{FailureKind, Pace};
use clopos_fuzz::response;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let response = response(input);
    let hint = retry_hint(&response);

    let number = |text: &str| {
        let text = text.trim();
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
    };
    let largest = |texts: &[&str]| texts.iter().filter_map(|text| number(text)).max();
    let retry_after = largest(&response.retry_after);
    let reset = largest(&response.rate_limit_reset).filter(|_| response.http_status == 429);
    // A number counts as it is; a text without a digit is ignored.
    assert!(
        hint >= retry_after && hint >= reset,
        "{hint:?} {retry_after:?} {reset:?}"
    );
    let mut texts = response
        .retry_after
        .iter()
        .chain(&response.rate_limit_reset);
    if texts.all(|text| number(text).is_some() || !text.contains(|c: char| c.is_ascii_digit())) {
        assert_eq!(hint, retry_after.max(reset));
    }

    if let Some(seconds) = response.date.and_then(unix_seconds) {
        let time = UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
        assert_eq!(unix_seconds(&httpdate::fmt_http_date(time)), Some(seconds));
    }

    // No value of a server disables a till.
    let now = Instant::from_nanos(86_400_000_000_000);
    for kind in FailureKind::ALL {
        let mut pace = Pace::new(12);
        pace.sent(now);
        pace.failed(now, kind, hint, u32::MAX);
        assert!(pace.next(now) > now);
        assert!(pace.next(now).since(now) <= Duration::from_secs(750));
    }
});
