//! A connected socket with deadlines.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::deadline::Deadline;
#[cfg(unix)]
use super::sys;
use crate::clock::{Clock, Instant};

/// How far a socket's timeout may differ from the time left before it is set again. Saves a system
/// call for each quick step.
const TIMEOUT_SLACK: Duration = Duration::from_millis(3);

/// How long a connection may be idle, on the clock that includes sleep, before it is not used
/// again. Retries and calls in a row come within this time; by the next refresh a server or router
/// has closed it.
const MAX_IDLE: Duration = Duration::from_secs(15);

/// How long data on a kept connection may be unacknowledged before a new one is tried. Enough for
/// a retransmission on a slow mobile link, and much less than an attempt. With a proxy, the proxy
/// acknowledges, so an attempt may still be lost.
#[cfg(unix)]
const MAX_SILENCE: Duration = Duration::from_secs(3);

/// A connected socket. Dropping it writes nothing.
pub(super) struct Socket {
    /// Of the other end.
    pub(super) address: IpAddr,
    /// Shared, weakly, with the agent, whose shutdown interrupts reads and writes.
    stream: Arc<TcpStream>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// When it became idle; `None` while it is in use.
    idle_since: Option<Instant>,
    kept: bool,
}

impl Socket {
    pub(super) fn new(stream: Arc<TcpStream>, address: IpAddr) -> Socket {
        // Each send is a whole message. If this fails, the first read or write fails, too.
        let _ = stream.set_nodelay(true);
        Socket {
            address,
            stream,
            read_timeout: None,
            write_timeout: None,
            idle_since: None,
            kept: false,
        }
    }

    /// Some bytes; none at the end of the stream.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        deadline: &Deadline,
    ) -> Result<usize, ureq::Error> {
        loop {
            let left = deadline.left()?;
            set_timeout(&mut self.read_timeout, left, |timeout| {
                self.stream.set_read_timeout(timeout)
            })?;
            match (&*self.stream).read(buffer) {
                Ok(amount) => return Ok(amount),
                // The socket's timeout only wakes this loop: the deadline decides.
                Err(error) if is_wake_up(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) fn write_all(
        &mut self,
        mut bytes: &[u8],
        deadline: &Deadline,
    ) -> Result<(), ureq::Error> {
        self.idle_since = None;
        while !bytes.is_empty() {
            let left = deadline.left()?;
            set_timeout(&mut self.write_timeout, left, |timeout| {
                self.stream.set_write_timeout(timeout)
            })?;
            match (&*self.stream).write(bytes) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(amount) => bytes = &bytes[amount..],
                Err(error) if is_wake_up(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Called when a request has ended, and again before the next one: from the first call on, the
    /// connection is idle. `false` if it cannot be used again.
    pub(super) fn park(&mut self, clock: &Clock) -> bool {
        let now = clock.now();
        let since = *self.idle_since.get_or_insert(now);
        if now.since(since) > MAX_IDLE || !self.is_idle() {
            return false;
        }
        if !self.kept {
            self.kept = true;
            #[cfg(unix)]
            sys::expect_acknowledgement_within(&self.stream, MAX_SILENCE);
        }
        true
    }

    /// Whether nothing has arrived, not even the end of the stream: whatever does between two
    /// requests makes the connection unusable for the next.
    #[cfg(unix)]
    fn is_idle(&self) -> bool {
        sys::is_idle(&self.stream)
    }

    #[cfg(not(unix))]
    fn is_idle(&self) -> bool {
        let peeked = self
            .stream
            .set_nonblocking(true)
            .and_then(|()| self.stream.peek(&mut [0]));
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            && self.stream.set_nonblocking(false).is_ok()
    }
}

/// A connection that broke while a response was expected. ureq takes some kinds of errors for the end of
/// a body without a length: such a body may have been cut short.
pub(super) fn broken(error: ureq::Error) -> ureq::Error {
    let ureq::Error::Io(error) = error else {
        return error;
    };
    let how = match error.kind() {
        io::ErrorKind::UnexpectedEof => "closed by the peer".to_owned(),
        kind => kind.to_string(),
    };
    io::Error::other(how).into()
}

fn is_wake_up(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => true,
        // On Unix this is TCP's own timeout, and final.
        io::ErrorKind::TimedOut => cfg!(windows),
        _ => false,
    }
}

fn set_timeout(
    current: &mut Option<Duration>,
    left: Option<Duration>,
    set: impl FnOnce(Option<Duration>) -> io::Result<()>,
) -> io::Result<()> {
    let near = match (*current, left) {
        (Some(current), Some(left)) => current.abs_diff(left) <= TIMEOUT_SLACK,
        (current, left) => current == left,
    };
    if near {
        return Ok(());
    }
    match set(left) {
        Ok(()) => *current = left,
        // macOS refuses once the peer has closed, though there may be an answer to read.
        Err(error)
            if cfg!(target_vendor = "apple") && error.kind() == io::ErrorKind::InvalidInput => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_timeout_is_set_again_only_if_it_is_too_long_or_too_short_by_more_than_the_slack() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (current, left, expected) in [
            (None, None, None),
            (None, ms(5), ms(5)),
            (ms(5), None, None),
            (ms(100), ms(98), ms(100)),
            (ms(98), ms(100), ms(98)),
            (ms(100), ms(96), ms(96)),
            (ms(96), ms(100), ms(100)),
        ] {
            let mut now = current;
            set_timeout(&mut now, left, |_| Ok(())).unwrap();
            assert_eq!(now, expected, "{current:?} {left:?}");
        }
        let mut now = ms(5);
        set_timeout(
            &mut now,
            ms(50),
            |_| Err(io::ErrorKind::NotConnected.into()),
        )
        .unwrap_err();
        assert_eq!(now, ms(5));
    }
}
