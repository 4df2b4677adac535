//! Makes a text of the service safe for a message: one short line without invisible characters and
//! without a secret in any of its escaped forms.
#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use crate::secret::Secret;

/// The longest text of the service that reaches the caller.
const MAX_BYTES: usize = 512;
/// A text that still has more bytes in a row of a secret, after whole secrets were masked, is left
/// out.
const MAX_SECRET_BYTES: usize = 7;
/// Parts of a secret are looked for in its first letters: as many as the longest credential has. A
/// token may have 8192, for which the search would take a second.
const MAX_SEARCHED: usize = 1024;
/// A shorter word is no JSON Web Token.
const MIN_JWT_BYTES: usize = 16;
const MASK: &str = "***";

/// `text` without control and format characters, with secrets and JSON Web Tokens masked, cut to 512
/// bytes; `***` if more than 7 bytes in a row of a secret's first 1024 letters are left. `None` if
/// nothing is left.
pub(crate) fn sanitize(text: &str, secrets: &[&Secret]) -> Option<Box<str>> {
    // Characters are left out first, so that they cannot hide a secret. None of these buffers is
    // reallocated.
    let mut visible = Zeroizing::new(String::with_capacity(text.len()));
    visible.extend(text.chars().filter(is_visible));
    let mut masked = Zeroizing::new(String::with_capacity(MAX_BYTES + MASK.len()));
    let mut rest = visible.trim();
    while let Some(c) = rest.chars().next() {
        let found = secrets
            .iter()
            .filter_map(|secret| written(rest, letters(secret), usize::MAX));
        let (length, shown) = match found.map(|found| found.in_text).chain(jwt(rest)).max() {
            Some(length) => (length, MASK),
            None => (c.len_utf8(), &rest[..c.len_utf8()]),
        };
        if masked.len() + shown.len() > MAX_BYTES {
            break;
        }
        masked.push_str(shown);
        rest = &rest[length..];
    }
    let masked = masked.trim();
    let left = |secret: &&Secret| {
        masked
            .char_indices()
            .any(|(at, _)| has_part(&masked[at..], secret))
    };
    match secrets.iter().any(left) {
        true => Some(MASK.into()),
        false => (!masked.is_empty()).then(|| masked.into()),
    }
}

/// Not a control character, nor one of those that only change how others are shown.
fn is_visible(c: &char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}')
}

/// The visible letters of a secret, without spaces around them: a text may begin or end with it.
fn letters(secret: &Secret) -> impl Iterator<Item = char> + Clone {
    let is_around = |c: char| c.is_whitespace() || !is_visible(&c);
    let secret = secret.expose().trim_matches(is_around);
    secret.chars().filter(is_visible)
}

/// Whether `text` begins with a part of the secret that is too long to be shown.
fn has_part(text: &str, secret: &Secret) -> bool {
    let mut part = letters(secret).take(MAX_SEARCHED);
    loop {
        let shown = written(text, part.clone(), MAX_SECRET_BYTES + 1);
        if shown.is_some_and(|shown| shown.of_secret > MAX_SECRET_BYTES) {
            return true;
        }
        if part.next().is_none() {
            return false;
        }
    }
}

/// A secret, or its beginning, in a text.
struct Written {
    in_text: usize,
    of_secret: usize,
}

/// How many bytes of `text` are these letters, each as it is or escaped: all of them, or the first that
/// have `enough` bytes. `None` if `text` begins with something else, or there is no letter.
fn written(text: &str, mut letters: impl Iterator<Item = char>, enough: usize) -> Option<Written> {
    let first = letters.next()?;
    // All places that the letters can reach: a backslash may be one letter or a half of one.
    let mut ends: Vec<usize> = forms(text, first).collect();
    let mut of_secret = first.len_utf8();
    while !ends.is_empty() && of_secret < enough {
        let Some(letter) = letters.next() else { break };
        let next = ends
            .iter()
            .flat_map(|&at| forms(&text[at..], letter).map(move |n| at + n));
        let mut next: Vec<usize> = next.collect();
        next.sort_unstable();
        next.dedup();
        ends = next;
        of_secret += letter.len_utf8();
    }
    let in_text = ends.into_iter().max()?;
    Some(Written { in_text, of_secret })
}

/// The lengths of all forms of a letter that `text` begins with: itself, as in JSON (`\"`, `\u00e7`), as
/// in a URL (`%c3%a7`, `+`).
fn forms(text: &str, letter: char) -> impl Iterator<Item = usize> {
    let plain = text.starts_with(letter).then(|| letter.len_utf8());
    let escaped = text
        .strip_prefix('\\')
        .is_some_and(|rest| matches!(letter, '"' | '\\' | '/') && rest.starts_with(letter))
        .then_some(2);
    let mut units = [0; 2];
    let units = letter.encode_utf16(&mut units);
    let unicode = hex(text, "\\u", 4, units.iter().copied().map(u32::from));
    let mut bytes = [0; 4];
    let bytes = letter.encode_utf8(&mut bytes).as_bytes();
    let percent = hex(text, "%", 2, bytes.iter().copied().map(u32::from));
    let plus = (letter == ' ' && text.starts_with('+')).then_some(1);
    [plain, escaped, unicode, percent, plus]
        .into_iter()
        .flatten()
}

/// The length of these numbers in hexadecimal digits of either case, each after `prefix`, if `text`
/// begins with them.
fn hex(
    text: &str,
    prefix: &str,
    digits: usize,
    numbers: impl Iterator<Item = u32>,
) -> Option<usize> {
    let mut rest = text;
    for number in numbers {
        rest = rest.strip_prefix(prefix)?;
        let found = rest.get(..digits)?;
        if u32::from_str_radix(found, 16) != Ok(number) {
            return None;
        }
        rest = &rest[digits..];
    }
    Some(text.len() - rest.len())
}

/// The length of the JSON Web Token, whole or cut, that `text` begins with: `{"` in base64, and on.
fn jwt(text: &str) -> Option<usize> {
    if !text.starts_with("eyJ") {
        return None;
    }
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'=');
    let length = text.bytes().take_while(|&b| is_part(b)).count();
    (length >= MIN_JWT_BYTES).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sanitized(text: &str, secret: &str) -> String {
        let secret = Secret::new(secret);
        sanitize(text, &[&secret]).unwrap_or_default().into()
    }

    #[test]
    fn a_secret_is_masked_in_every_form_in_which_a_server_may_repeat_it() {
        let secret = r#"ab/"ç\ 🧾+%d"#;
        for form in [
            r#"ab/"ç\ 🧾+%d"#,
            r#"ab\/\"ç\\ 🧾+%d"#,
            r#"ab/\"\u00e7\\ \ud83e\uddfe+%d"#,
            r#"ab\/"\u00E7\\ \uD83E\uDDFE+%d"#,
            r"\u0061\u0062\u002f\u0022\u00e7\u005c\u0020\ud83e\uddfe\u002b\u0025\u0064",
            "ab%2F%22%C3%A7%5C%20%F0%9F%A7%BE%2B%25d",
            "ab%2f%22%c3%a7%5c+%f0%9f%a7%be%2b%25d",
            "%61%62/%22ç\\%20🧾+%25d",
        ] {
            assert_eq!(
                sanitized(&format!("no {form} here"), secret),
                "no *** here",
                "{form}"
            );
        }
    }

    #[test]
    fn backslashes_are_masked_as_they_are_and_doubled() {
        for text in [r"\\\", r"\\\\\\"] {
            assert_eq!(sanitized(text, r"\\\"), MASK);
        }
    }

    #[test]
    fn invisible_characters_and_outer_blanks_do_not_hide_a_secret() {
        for text in [
            "no hunter2 here",
            "no hun\u{200E}ter2 here",
            "no h\u{AD}unter\u{FEFF}2 here",
        ] {
            assert_eq!(sanitized(text, "hun\u{200E}ter2"), "no *** here");
        }
        assert_eq!(sanitized("nothing", "\u{200E}"), "nothing");
        assert_eq!(sanitized(" hunter2 is wrong", " hunter2"), "*** is wrong");
        assert_eq!(
            sanitized("this is wrong: hunter2 ", "hunter2 "),
            "this is wrong: ***"
        );
        assert_eq!(sanitized("all is wrong", " "), "all is wrong");
    }

    #[test]
    fn a_text_with_eight_bytes_of_a_secret_is_masked() {
        let secret = "correct horse";
        for text in [
            "your secret begins with correct h",
            "ends with ct horse",
            "has %72rect%20ho in it",
            r"has \u0072rect ho in it",
        ] {
            assert_eq!(sanitized(text, secret), MASK, "{text}");
        }
        for text in ["a correct!", "rrect h", "or: correct"] {
            assert_eq!(sanitized(text, secret), text);
        }
        assert_eq!(sanitized("ççç", "çççç"), "ççç");
        assert_eq!(sanitized("çççç", "ççççç"), MASK);
    }

    #[test]
    fn a_token_is_masked() {
        let token = Secret::new("eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.x_-1");
        let opaque = Secret::new("opaque/token");
        let text = format!(
            "{} for opaque\\/token, not {}",
            token.expose(),
            &token.expose()[..20]
        );
        let sanitized = sanitize(&text, &[&opaque]).unwrap();
        assert_eq!(&*sanitized, "*** for ***, not ***");
        assert_eq!(
            sanitize("eyJ is short", &[]).as_deref(),
            Some("eyJ is short")
        );
    }

    #[test]
    fn invisible_characters_are_removed() {
        let invisible = "\u{1b}\u{7f}\u{ad}\u{61c}\u{180e}\u{200b}\u{200d}\u{200f}\u{2028}\u{202e}\u{2060}\u{2069}\u{feff}\u{e0041}";
        let text: String = invisible.chars().flat_map(|c| ['a', c]).collect();
        assert_eq!(
            sanitized(&text, "secret"),
            "a".repeat(invisible.chars().count())
        );
        assert_eq!(sanitize(invisible, &[]), None);
        assert_eq!(sanitize(" ", &[]), None);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        for (unit, length) in [("x", 512), ("é", 512), ("日", 510), ("🧾", 512)] {
            assert_eq!(
                sanitized(&unit.repeat(300), "secret").len(),
                length.min(300 * unit.len())
            );
        }
        let masked = sanitized(&"ab".repeat(30_000), &"ab".repeat(300));
        assert_eq!(masked, MASK.repeat(100));
    }
}
