//! Happy Eyeballs (RFC 8305): which address to try when, and who wins.
//!
//! The order and the timing are decided here; how an attempt is made is a [`Dial`]: non-blocking
//! connects under one `poll` on Unix, a thread for each attempt elsewhere.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, TcpStream};
#[cfg(any(not(unix), test))]
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::ShutdownHandle;

use super::transport::Deadline;

/// How long an attempt may hang before the next address is tried beside it.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How many reasons go into a message; a host behind a CDN can have a dozen addresses.
const LISTED: usize = 4;

/// Makes a socket known to `Agent::shutdown`, or says that the agent is already shut down.
pub(super) type Register<'a> = &'a dyn Fn(Weak<dyn ShutdownHandle>) -> Result<(), ureq::Error>;

/// The end of one attempt.
type Outcome = (SocketAddr, io::Result<Arc<TcpStream>>);

/// How attempts are made.
pub(super) trait Dial {
    /// Starts an attempt. Its end, even an immediate one, is told by `wait`.
    fn start(&mut self, address: SocketAddr) -> Result<(), ureq::Error>;

    /// Waits until an attempt ends, for `timeout` at most; may return early without a reason.
    fn wait(&mut self, timeout: Option<Duration>) -> Option<Outcome>;
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Lost {
    /// Every address that was tried, and what happened.
    Failed(Vec<(SocketAddr, String)>),
    ShutDown(ureq::Error),
}

/// The families alternate, beginning with the one that the system sorted to the front. None is there
/// twice, as a file of hosts may have it.
pub(super) fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut preferred, mut others): (VecDeque<SocketAddr>, VecDeque<SocketAddr>) = addresses
        .iter()
        .enumerate()
        .filter(|(at, address)| !addresses[..*at].contains(address))
        .map(|(_, address)| *address)
        .partition(|a| a.is_ipv6() == first_is_v6);
    let mut mixed = Vec::with_capacity(addresses.len());
    while !(preferred.is_empty() && others.is_empty()) {
        mixed.extend(preferred.pop_front());
        mixed.extend(others.pop_front());
    }
    mixed
}

/// Connects to whichever address answers first.
pub(super) fn race(
    addresses: &[SocketAddr],
    deadline: &Deadline,
    dialer: &mut impl Dial,
) -> Result<(SocketAddr, Arc<TcpStream>), Lost> {
    let mut waiting = addresses.iter().copied().peekable();
    let mut running: Vec<SocketAddr> = Vec::with_capacity(addresses.len());
    let mut reasons = Vec::new();
    let mut next_start = Instant::now();
    loop {
        if let Some(address) =
            waiting.next_if(|_| running.is_empty() || Instant::now() >= next_start)
        {
            dialer.start(address).map_err(Lost::ShutDown)?;
            running.push(address);
            next_start = Instant::now() + ATTEMPT_DELAY;
        }
        if running.is_empty() {
            return Err(Lost::Failed(reasons));
        }
        let Ok(left) = deadline.left() else {
            let silent = format!("no answer within {}", deadline.allowed());
            reasons.extend(running.into_iter().map(|address| (address, silent.clone())));
            return Err(Lost::Failed(reasons));
        };
        let patience = match waiting.peek() {
            None => left,
            Some(_) => {
                let pause = next_start.saturating_duration_since(Instant::now());
                Some(left.map_or(pause, |left| left.min(pause)))
            }
        };
        match dialer.wait(patience) {
            None => {}
            Some((address, Ok(stream))) => return Ok((address, stream)),
            Some((address, Err(error))) => {
                running.retain(|other| *other != address);
                reasons.push((address, reason(&error)));
                next_start = Instant::now();
            }
        }
    }
}

/// `127.0.0.1: connection refused; ::1: network unreachable`.
pub(super) fn listing(reasons: &[(SocketAddr, String)]) -> String {
    let mut text = String::new();
    for (address, reason) in reasons.iter().take(LISTED) {
        let separator = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{separator}{}: {reason}", address.ip());
    }
    if reasons.len() > LISTED {
        let _ = write!(text, "; and {} more", reasons.len() - LISTED);
    }
    text
}

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
            let code = super::sys::resolver_code(text);
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

/// `alone` and `limit` tell a dialer that has to block whether and for how long it may.
#[cfg(unix)]
pub(super) fn dialer(register: Register<'_>, _alone: bool, _limit: Option<Duration>) -> impl Dial {
    PollDial {
        register,
        connecting: Vec::new(),
        ended: VecDeque::new(),
    }
}

#[cfg(not(unix))]
pub(super) fn dialer(register: Register<'_>, alone: bool, limit: Option<Duration>) -> impl Dial {
    ThreadDial::new(register, alone, limit)
}

#[cfg(unix)]
struct PollDial<'a> {
    register: Register<'a>,
    connecting: Vec<(SocketAddr, Arc<TcpStream>)>,
    ended: VecDeque<Outcome>,
}

#[cfg(unix)]
impl Dial for PollDial<'_> {
    fn start(&mut self, address: SocketAddr) -> Result<(), ureq::Error> {
        let stream = match super::sys::open(&address) {
            Ok(stream) => Arc::new(stream),
            Err(error) => {
                self.ended.push_back((address, Err(error)));
                return Ok(());
            }
        };
        // Before connecting, so that a shutdown ends the attempt too.
        let handle: Weak<TcpStream> = Arc::downgrade(&stream);
        (self.register)(handle)?;
        match super::sys::connect(&stream, &address) {
            Ok(false) => self.connecting.push((address, stream)),
            Ok(true) => self.ended.push_back((address, finish(stream))),
            Err(error) => self.ended.push_back((address, Err(error))),
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Option<Outcome> {
        if let Some(outcome) = self.ended.pop_front() {
            return Some(outcome);
        }
        let streams = self.connecting.iter().map(|(_, stream)| &**stream);
        match super::sys::wait(streams, timeout) {
            Ok(index) => {
                let (address, stream) = self.connecting.swap_remove(index?);
                Some((address, finish(stream)))
            }
            Err(error) => {
                let (address, _) = self.connecting.pop()?;
                Some((address, Err(error)))
            }
        }
    }
}

#[cfg(unix)]
fn finish(stream: Arc<TcpStream>) -> io::Result<Arc<TcpStream>> {
    match stream.take_error()? {
        Some(error) => Err(error),
        None => {
            stream.set_nonblocking(false)?;
            Ok(stream)
        }
    }
}

/// For systems without `poll`: a thread for each attempt, none for a single address.
#[cfg(any(not(unix), test))]
pub(super) struct ThreadDial<'a> {
    register: Register<'a>,
    alone: bool,
    limit: Option<Duration>,
    ended: (mpsc::Sender<Outcome>, mpsc::Receiver<Outcome>),
}

#[cfg(any(not(unix), test))]
impl<'a> ThreadDial<'a> {
    pub(super) fn new(register: Register<'a>, alone: bool, limit: Option<Duration>) -> Self {
        ThreadDial {
            register,
            alone,
            limit,
            ended: mpsc::channel(),
        }
    }
}

#[cfg(any(not(unix), test))]
impl Dial for ThreadDial<'_> {
    fn start(&mut self, address: SocketAddr) -> Result<(), ureq::Error> {
        let (limit, sender) = (self.limit, self.ended.0.clone());
        let attempt = move || {
            let stream = match limit {
                Some(limit) => TcpStream::connect_timeout(&address, limit),
                None => TcpStream::connect(address),
            };
            // A race that is over no longer listens, and the late connection is closed.
            let _ = sender.send((address, stream.map(Arc::new)));
        };
        if self.alone {
            attempt();
            return Ok(());
        }
        let thread = std::thread::Builder::new().stack_size(64 * 1024);
        if thread.spawn(attempt.clone()).is_err() {
            attempt();
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Option<Outcome> {
        let (address, result) = match timeout {
            Some(timeout) => self.ended.1.recv_timeout(timeout).ok()?,
            None => self.ended.1.recv().ok()?,
        };
        let result = result.and_then(|stream| {
            let handle: Weak<TcpStream> = Arc::downgrade(&stream);
            match (self.register)(handle) {
                Ok(()) => Ok(stream),
                Err(_) => Err(io::ErrorKind::NotConnected.into()),
            }
        });
        Some((address, result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_beginning_with_the_preferred_one() {
        for (from, to) in [
            ("", ""),
            ("4a", "4a"),
            ("6a 6b 6c 4a 4b", "6a 4a 6b 4b 6c"),
            ("4a 4b 4c 6a", "4a 6a 4b 4c"),
            ("6a 6b", "6a 6b"),
            ("6a 6a 4a 6b 4a", "6a 4a 6b"),
        ] {
            let address = |name: &str| {
                let last = &name[1..];
                let family = if name.starts_with('4') {
                    "127.0.0.1"
                } else {
                    "[::1]"
                };
                let port = u16::from_str_radix(last, 16).unwrap();
                format!("{family}:{port}").parse().unwrap()
            };
            let list = |names: &str| names.split_whitespace().map(address).collect::<Vec<_>>();
            assert_eq!(interleave(&list(from)), list(to), "{from}");
        }
    }

    #[test]
    fn the_usual_reasons_are_in_plain_words() {
        for (kind, words) in [
            (io::ErrorKind::TimedOut, "no answer"),
            (io::ErrorKind::HostUnreachable, "host unreachable"),
            (io::ErrorKind::NetworkUnreachable, "network unreachable"),
        ] {
            assert_eq!(reason(&kind.into()), words);
        }
        let other = io::Error::from_raw_os_error(24);
        assert!(!reason(&other).contains("os error"), "{}", reason(&other));
    }

    #[test]
    fn a_message_in_another_character_set_than_utf_8_is_replaced() {
        let garbled = |text| io::Error::other(format!("{text}\u{fffd}sim"));
        let text = reason(&garbled(""));
        assert_eq!(text, "other error (system error 0)");
        let text = resolver_reason(&garbled("failed to lookup address information: "));
        assert_eq!(text, "the system's resolver failed");
        let plain = io::Error::other("failed to lookup address information: no such name");
        assert_eq!(resolver_reason(&plain), "no such name");
    }

    #[test]
    fn a_long_list_of_reasons_is_cut() {
        let reasons: Vec<_> = (1..=6)
            .map(|i| {
                (
                    SocketAddr::from(([127, 0, 0, i], 1)),
                    "connection refused".into(),
                )
            })
            .collect();
        let text = listing(&reasons);
        assert!(
            text.starts_with("127.0.0.1: connection refused; 127.0.0.2: "),
            "{text}"
        );
        assert!(
            text.ends_with("127.0.0.4: connection refused; and 2 more"),
            "{text}"
        );
    }
}
