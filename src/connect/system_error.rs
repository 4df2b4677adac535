//! Why the system says that something failed, in plain words.
#![forbid(unsafe_code)]

use std::io;

#[cfg(unix)]
use super::sys;

/// The system's reason without its number, which says less than the words.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset".into(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".into(),
        io::ErrorKind::HostUnreachable => "host unreachable".into(),
        io::ErrorKind::TimedOut => "no answer".into(),
        kind => {
            let text = error.to_string();
            let end = text.find(" (os error").unwrap_or(text.len());
            let number = error.raw_os_error().unwrap_or(0);
            readable(&text[..end], || format!("{kind} (system error {number})"))
        }
    }
}

/// Why the system's resolver found nothing.
pub(super) fn resolver_reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.strip_prefix("failed to lookup address information: ") {
        None => reason(error),
        Some(text) => readable(text, || {
            #[cfg(unix)]
            let code = sys::resolver_code(text);
            #[cfg(not(unix))]
            let code = None;
            code.unwrap_or("the system's resolver failed").into()
        }),
    }
}

/// `text`, which comes from the C library in the host's language, or `otherwise` if the host's character
/// set is not UTF-8 and the text is not ASCII.
fn readable(text: &str, otherwise: impl FnOnce() -> String) -> String {
    match text.contains(char::REPLACEMENT_CHARACTER) {
        true => otherwise(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_system_errors_have_plain_messages() {
        for (kind, message) in [
            (io::ErrorKind::TimedOut, "no answer"),
            (io::ErrorKind::HostUnreachable, "host unreachable"),
            (io::ErrorKind::NetworkUnreachable, "network unreachable"),
        ] {
            assert_eq!(reason(&kind.into()), message);
        }
        let other = io::Error::from_raw_os_error(24);
        assert!(!reason(&other).contains("os error"), "{}", reason(&other));
    }

    #[test]
    fn a_system_message_that_is_not_utf_8_is_replaced() {
        let garbled = |text| io::Error::other(format!("{text}\u{fffd}sim"));
        let text = reason(&garbled(""));
        assert_eq!(text, "other error (system error 0)");
        let text = resolver_reason(&garbled("failed to lookup address information: "));
        assert_eq!(text, "the system's resolver failed");
        let plain = io::Error::other("failed to lookup address information: no such name");
        assert_eq!(resolver_reason(&plain), "no such name");
    }
}
