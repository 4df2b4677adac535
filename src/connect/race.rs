//! Happy Eyeballs (RFC 8305): order and timing of connection attempts.
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

use super::deadline::Deadline;
#[cfg(unix)]
use super::sys;
use super::system_error::reason;
use crate::Error;

/// How long an attempt may take before the next address is tried in parallel.
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

/// The addresses with alternating families, beginning with the family of the first one, without
/// duplicates (a hosts file may have them).
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

/// Connects to whichever address answers first. If none does, `unconnected` makes the error of the
/// addresses that were tried and their reasons.
pub(super) fn race(
    addresses: &[SocketAddr],
    deadline: &Deadline,
    dialer: &mut impl Dial,
    unconnected: impl Fn(&str) -> Error,
) -> Result<(SocketAddr, Arc<TcpStream>), ureq::Error> {
    let mut waiting = addresses.iter().copied().peekable();
    let mut running: Vec<SocketAddr> = Vec::with_capacity(addresses.len());
    let mut reasons = Vec::new();
    let mut next_start = Instant::now();
    loop {
        if let Some(address) =
            waiting.next_if(|_| running.is_empty() || Instant::now() >= next_start)
        {
            dialer.start(address)?;
            running.push(address);
            next_start = Instant::now() + ATTEMPT_DELAY;
        }
        if running.is_empty() {
            return Err(unconnected(&listing(&reasons)).into());
        }
        let Ok(left) = deadline.left() else {
            let silent = format!("no answer within {}", deadline.allowed());
            reasons.extend(running.into_iter().map(|address| (address, silent.clone())));
            return Err(unconnected(&listing(&reasons)).into());
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
fn listing(reasons: &[(SocketAddr, String)]) -> String {
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

/// `alone` (there is one address) and `limit` are for a dialer that blocks.
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
        let stream = match sys::open(&address) {
            Ok(stream) => Arc::new(stream),
            Err(error) => {
                self.ended.push_back((address, Err(error)));
                return Ok(());
            }
        };
        // Before connecting, so that a shutdown ends the attempt too.
        let handle: Weak<TcpStream> = Arc::downgrade(&stream);
        (self.register)(handle)?;
        match sys::connect(&stream, &address) {
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
        match sys::wait(streams, timeout) {
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
            // If the race is over, nobody receives it, and the late connection is closed.
            let _ = sender.send((address, stream.map(Arc::new)));
        };
        if self.alone {
            attempt();
            return Ok(());
        }
        if crate::process::spawn(attempt.clone()).is_err() {
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
    fn address_families_alternate_beginning_with_the_first() {
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
