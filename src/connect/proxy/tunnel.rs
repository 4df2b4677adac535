//! Passing a proxy with CONNECT.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::net::IpAddr;

use httparse::{EMPTY_HEADER, Header, ParserConfig, Response};
use ureq::http::StatusCode;
use ureq_proto::client::MAX_RESPONSE_HEADERS;

use super::super::deadline::Deadline;
use super::super::socket::Socket;
use super::super::system_error;
use super::url::ProxyUrl;
use crate::endpoint::Endpoint;
use crate::secret::Secret;
use crate::wiped::WipedBuffer;
use crate::{Error, Status};

/// The maximum size of a proxy's responses.
const MAX_HEAD_BYTES: usize = 16 * 1024;

const NOT_A_PROXY: &str = "did not respond as an HTTP proxy";

/// Asks the proxy at the other end of `socket` for a tunnel to `target`.
pub(crate) fn tunnel(
    proxy: &ProxyUrl,
    socket: &mut Socket,
    target: &Endpoint,
    user_agent: &str,
    deadline: &Deadline,
) -> Result<(), ureq::Error> {
    let address = socket.address;
    let failure = |problem: &str| error(proxy, Some(address), problem);
    let broken = |error| match error {
        ureq::Error::Timeout(_) => {
            failure(&format!("did not answer within {}", deadline.allowed()))
        }
        ureq::Error::Io(error) => failure(&format!(
            "broke the connection: {}",
            system_error::reason(&error)
        )),
        _ => failure("broke the connection"),
    };
    let request = request(proxy, target, user_agent).map_err(|error| broken(error.into()))?;
    socket
        .write_all(request.bytes(), deadline)
        .map_err(broken)?;

    let mut received = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let amount = socket.read(&mut chunk, deadline).map_err(broken)?;
        if amount == 0 {
            return Err(failure("closed the connection without an answer").into());
        }
        received.extend_from_slice(&chunk[..amount]);
        while let Some(head) = parse(&received).map_err(|_| failure(NOT_A_PROXY))? {
            match head.code {
                // An interim response is followed by the final one.
                100..200 => drop(received.drain(..head.length)),
                200..300 if head.length == received.len() => return Ok(()),
                300..600 => return Err(refusal(proxy, head.code, &head.offered, target).into()),
                // In TLS and in HTTP the server does not send first.
                _ => return Err(failure(NOT_A_PROXY).into()),
            }
        }
        if received.len() > MAX_HEAD_BYTES {
            return Err(failure(NOT_A_PROXY).into());
        }
    }
}

/// The request for a tunnel.
fn request(proxy: &ProxyUrl, target: &Endpoint, user_agent: &str) -> io::Result<WipedBuffer> {
    let secret = proxy.credentials.as_ref().map_or("", Secret::expose);
    let mut request = WipedBuffer::with_capacity(512);
    write!(request, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n")?;
    write!(request, "User-Agent: {user_agent}\r\n")?;
    if proxy.credentials.is_some() {
        write!(request, "Proxy-Authorization: Basic {secret}\r\n")?;
    }
    request.write_all(b"\r\n")?;
    Ok(request)
}

fn error(proxy: &ProxyUrl, address: Option<IpAddr>, problem: &str) -> Error {
    let proxy = proxy.endpoint.at(address);
    Error::new(Status::Proxy, format!("the proxy {proxy} {problem}"))
}

fn refusal(proxy: &ProxyUrl, code: u16, offered: &[String], target: &Endpoint) -> Error {
    let reason = StatusCode::from_u16(code)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or("");
    let speaks_basic = offered.iter().any(|s| s.eq_ignore_ascii_case("basic"));
    let hint = match code {
        407 if !offered.is_empty() && !speaks_basic => &*format!(
            ": it asks for a login by {}, and this library speaks only Basic",
            offered.join(" or ")
        ),
        // 401 is what tinyproxy answers to a wrong password.
        401 | 407 if proxy.credentials.is_some() => {
            ": it does not accept the user name and password"
        }
        407 => ": it asks for a user name and password",
        403 => ": it does not allow this host",
        429 => ": it got too many requests",
        500 | 502..=504 => ": it could not reach this host",
        _ => "",
    };
    let problem = format!("refused to connect to {target} ({code} {reason}){hint}");
    Error {
        http_status: Some(code),
        ..error(proxy, None, &problem)
    }
}

/// The head of a response.
struct Head {
    length: usize,
    code: u16,
    /// The authentication schemes that the proxy offers.
    offered: Vec<String>,
}

/// The head that `bytes` begin with, `None` until it has arrived whole.
fn parse(bytes: &[u8]) -> Result<Option<Head>, httparse::Error> {
    let mut fields = [EMPTY_HEADER; MAX_RESPONSE_HEADERS];
    let mut response = Response::new(&mut fields);
    let mut parser = ParserConfig::default();
    parser
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true);
    match parser.parse_response(&mut response, bytes)? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(length) => Ok(Some(Head {
            length,
            code: response.code.unwrap_or_default(),
            offered: offered_schemes(response.headers),
        })),
    }
}

/// The authentication schemes that the fields `Proxy-Authenticate` begin with. They come from the
/// network: only characters of a scheme's name are kept.
fn offered_schemes(fields: &[Header]) -> Vec<String> {
    const LISTED: usize = 4;
    let mut schemes: Vec<String> = Vec::new();
    let fields = fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("proxy-authenticate"));
    // Several may be in one field, with parameters (`realm="..."`) between them.
    for part in fields.flat_map(|field| field.value.split(|&byte| byte == b',')) {
        let scheme = part.trim_ascii().split(u8::is_ascii_whitespace).next();
        let scheme = str::from_utf8(scheme.unwrap_or_default()).unwrap_or_default();
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let is_name = (1..20).contains(&scheme.len()) && scheme.chars().all(allowed);
        if is_name && schemes.len() < LISTED && !schemes.iter().any(|other| other == scheme) {
            schemes.push(scheme.to_owned());
        }
    }
    schemes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_with_or_without_carriage_returns() {
        for (bytes, length) in [
            ("HTTP/1.1 200 OK\r\n", None),
            ("HTTP/1.1 200 OK\r\n\r", None),
            ("HTTP/1.0 200\r\n\r\n", Some(16)),
            ("HTTP/1.1 200 OK\n\n", Some(17)),
            ("HTTP/1.1 200 OK\nB: c\r\n\r\nrest", Some(24)),
            ("HTTP/1.1 200 OK\r\nB : c\r\n d\r\n?\r\n\r\n", Some(33)),
        ] {
            let head = parse(bytes.as_bytes()).expect(bytes);
            assert_eq!(head.map(|head| head.length), length, "{bytes:?}");
        }
    }

    #[test]
    fn only_a_status_line_has_a_status() {
        for (head, code) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.0 407\r\n\r\n", Some(407)),
            ("HTTP/1.1 20\r\n\r\n", None),
            ("HTTP/2 200 ok\r\n\r\n", None),
            ("SSH-2.0\r\n", None),
        ] {
            let head = parse(head.as_bytes()).unwrap_or(None);
            assert_eq!(head.map(|head| head.code), code);
        }
    }
}
