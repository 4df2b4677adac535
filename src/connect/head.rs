//! Converts the head of a response to what ureq's parser accepts. HTTP allows more: responses with
//! a status of 1xx before it, and a field that continues in the next line.
#![forbid(unsafe_code)]

/// What to do with the bytes that have arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Its end has not arrived.
    Incomplete,
    /// An interim response of so many bytes, to be skipped (RFC 9110, 15.2). 101 is not one: this
    /// library does not ask to switch protocols.
    Interim(usize),
    /// The head of the response, with each of its fields in one line (RFC 9112, 5.2).
    Complete,
}

/// Looks at `input`, the beginning of a response. The parser may see an incomplete head as well: it is
/// shown the whole again when more has arrived.
pub(super) fn tidy(input: &mut [u8]) -> Head {
    let length = length(input);
    let (head, _) = input.split_at_mut(length.unwrap_or(input.len()));
    unfold(head);
    match length {
        None => Head::Incomplete,
        Some(length) if is_interim(head) => Head::Interim(length),
        Some(_) => Head::Complete,
    }
}

fn is_interim(head: &[u8]) -> bool {
    let status = head
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(2..5));
    status.is_some_and(|status| {
        status[0] == b'1' && status.iter().all(u8::is_ascii_digit) && status != b"101"
    })
}

/// Replaces the end of a line by spaces if the next line begins with a space or a tab.
fn unfold(head: &mut [u8]) {
    for end in 0..head.len().saturating_sub(1) {
        if head[end] == b'\n' && matches!(head[end + 1], b' ' | b'\t') {
            head[end] = b' ';
            if end > 0 && head[end - 1] == b'\r' {
                head[end - 1] = b' ';
            }
        }
    }
}

/// The length of a head with the empty line that ends it. Like the parser, takes a line feed alone for
/// the end of a line.
fn length(input: &[u8]) -> Option<usize> {
    let mut start = 0;
    for line in input.split_inclusive(|&b| b == b'\n') {
        start += line.len();
        // Not an empty line in front of the response, which the parser skips.
        if matches!(line, b"\n" | b"\r\n") && start > line.len() {
            return Some(start);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

    #[test]
    fn interim_responses_are_recognised_whatever_they_contain() {
        for interim in [
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 100 Continue\r\nServer: a\r\nDate: b\r\n\r\n",
            "HTTP/1.1 100\r\n\r\n",
            "HTTP/1.0 199 Any\n\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>;\r\n rel=b\r\n\r\n",
        ] {
            let mut input = format!("{interim}{FINAL}").into_bytes();
            assert_eq!(tidy(&mut input), Head::Interim(interim.len()), "{interim}");
            assert_eq!(tidy(&mut input[interim.len()..]), Head::Complete);
            for length in 0..interim.len() {
                assert_eq!(tidy(&mut input[..length]), Head::Incomplete, "{interim}");
            }
            assert!(input.ends_with(FINAL.as_bytes()));
        }
    }

    #[test]
    fn a_folded_field_becomes_one_line_of_the_same_length() {
        let table = [
            (
                "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\tdé\r\nE: f\r\n\r\n{\r\n }",
                "HTTP/1.1 200 OK\r\nA: b   c  \tdé\r\nE: f\r\n\r\n{\r\n }",
            ),
            (
                "HTTP/1.1 200 OK\nA: b\n c\n\n",
                "HTTP/1.1 200 OK\nA: b  c\n\n",
            ),
            (FINAL, FINAL),
        ];
        for (given, expected) in table {
            let mut input = given.to_owned().into_bytes();
            assert_eq!(tidy(&mut input), Head::Complete);
            assert_eq!(str::from_utf8(&input), Ok(expected));
        }
    }

    #[test]
    fn bytes_that_are_no_response_head_are_unchanged() {
        for (given, expected) in [
            ("", Head::Incomplete),
            ("\r\n", Head::Incomplete),
            ("\r\n\r\n", Head::Complete),
            ("HTTP/1.\r\n\r\n", Head::Complete),
            ("HTTP/1.1 1\r\n\r\n", Head::Complete),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Head::Complete),
            ("SSH-2.0-100\r\n\r\n", Head::Complete),
        ] {
            let mut input = given.to_owned().into_bytes();
            assert_eq!(tidy(&mut input), expected, "{given}");
            assert_eq!(input, given.as_bytes());
        }
    }
}
