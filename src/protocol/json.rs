//! Reads values of JSON fields, without copies that stay in memory and without floating point.
#![forbid(unsafe_code)]

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// A JSON number that is whole, such as `60`, `60.0` or `6e1`. Without floating point, because a
/// host may have unmasked its exceptions.
pub(super) fn whole_number(text: &str) -> Option<i64> {
    serde_json::from_str::<&RawValue>(text).ok()?;
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits: i64 = format!("{whole}{fraction}").parse().ok()?;
    let shift = exponent
        .parse::<i32>()
        .ok()?
        .checked_sub(fraction.len() as i32)?;
    let factor = 10_i64.checked_pow(shift.unsigned_abs())?;
    match shift {
        0.. => digits.checked_mul(factor),
        _ => (digits % factor == 0).then_some(digits / factor),
    }
}

pub(super) fn is_text(raw: Option<&RawValue>) -> bool {
    raw.is_some_and(|raw| raw.get().starts_with('"'))
}

/// The text of a JSON string if it is 1 to `max` visible ASCII characters.
pub(super) fn header_text(raw: &RawValue, max: usize) -> Option<Secret> {
    let text = unescape(raw)?;
    let fits = (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| Secret::new(&text))
}

/// The text of a JSON string, `None` for any other value. In memory that is wiped and not
/// reallocated: serde_json would leave a copy of an escaped token or secret.
pub(super) fn unescape(raw: &RawValue) -> Option<Zeroizing<String>> {
    let quoted = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    // Every escape is longer than its character.
    let mut text = Zeroizing::new(String::with_capacity(quoted.len()));
    let mut rest = quoted;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut after = escape.chars();
        let c = match after.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (c, length) = unicode_escape(escape)?;
                after = escape[length..].chars();
                c
            }
            // A quote, a backslash or a slash: serde_json has checked it.
            c => c,
        };
        text.push(c);
        rest = after.as_str();
    }
    text.push_str(rest);
    Some(text)
}

/// What `u` and four digits stand for, or such a pair (`ud83e\udd16`), and their length. The half of a
/// pair is U+FFFD.
fn unicode_escape(text: &str) -> Option<(char, usize)> {
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix('u')?.get(..4)?, 16).ok();
    let first = unit(text)?;
    let second = text[5..].strip_prefix('\\').and_then(unit);
    let mut pair = char::decode_utf16([first].into_iter().chain(second));
    match pair.next()? {
        Ok(c) => Some((c, if c.len_utf16() == 2 { 11 } else { 5 })),
        Err(_) => Some((char::REPLACEMENT_CHARACTER, 5)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_escape_of_json_is_read() {
        let raw = |text: &str| serde_json::from_str::<&RawValue>(text).unwrap().to_owned();
        for text in [
            r#""""#,
            r#""plain ç 🧾""#,
            r#""\b\f\n\r\t\"\\\/ \u00e7\u00C7 \ud83e\uddfe.""#,
        ] {
            let expected: String = serde_json::from_str(text).unwrap();
            assert_eq!(*unescape(&raw(text)).unwrap(), expected);
        }
        for (half, expected) in [
            (r#""\ud83e""#, "\u{fffd}"),
            (r#""\uddfe\ud83e\u0041""#, "\u{fffd}\u{fffd}A"),
            (r#""\ud83e\n""#, "\u{fffd}\n"),
        ] {
            assert_eq!(*unescape(&raw(half)).unwrap(), expected);
        }
        for other in ["5", "null", "{}", "[]"] {
            assert_eq!(unescape(&raw(other)), None);
        }
    }
}
