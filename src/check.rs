//! Checks of arguments. The errors name the argument and never repeat a text.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::Error;

/// Fails if a text is empty, longer than `max_bytes`, or has a control character.
pub(crate) fn text(name: &str, text: &str, max_bytes: usize) -> Result<(), Error> {
    let problem = if text.is_empty() {
        "is empty".into()
    } else if text.len() > max_bytes {
        format!("has {} bytes; the maximum is {max_bytes}", text.len())
    } else if text.chars().any(char::is_control) {
        "contains a control character (for example a trailing line break)".into()
    } else {
        return Ok(());
    };
    Err(Error::invalid_argument(format!("{name} {problem}")))
}

/// Fails if a number is outside of its range.
pub(crate) fn number(name: &str, value: u32, min: u32, max: u32) -> Result<u32, Error> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(Error::invalid_argument(format!(
        "{name} is {value}; it must be {min} to {max}"
    )))
}

/// Fails if a time is outside of its range of milliseconds.
pub(crate) fn milliseconds(
    name: &str,
    value: Duration,
    min_ms: u32,
    max_ms: u32,
) -> Result<Duration, Error> {
    let ms = u32::try_from(value.as_millis()).unwrap_or(u32::MAX);
    number(name, ms, min_ms, max_ms)?;
    Ok(value)
}
