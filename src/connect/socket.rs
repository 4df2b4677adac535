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

/// How far a socket's time-out may be from what is left before it is set again: a system call
/// saved for each of the quick steps of an exchange.
const TIMEOUT_SLACK: Duration = Duration::from_millis(3);

/// How long a connection may lie idle, on the clock that counts sleep, and be used again. Retries and
/// calls in a row come within this time; by the next refresh, the server or a router on the way has
/// long forgotten it.
const MAX_IDLE: Duration = Duration::from_secs(15);

/// How long a kept connection may leave what was sent unacknowledged before a new one is tried. Enough
/// for a retransmission on a slow mobile link, and far less than a whole attempt. Behind a proxy it
/// is the proxy that acknowledges, and an attempt may still be lost.
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
    /// Since when it lies idle, `None` while it is in use.
    idle_since: Option<Instant>,
    kept: bool,
}

impl Socket {
    pub(super) fn new(stream: Arc<TcpStream>, address: IpAddr) -> Socket {
        // Each send is a whole message. Where this fails, the first read or write tells why.
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
            arm(&mut self.read_timeout, left, |timeout| {
                self.stream.set_read_timeout(timeout)
            })?;
            match (&*self.stream).read(buffer) {
                Ok(amount) => return Ok(amount),
                // The socket's time-out is only a wake-up call: the deadline decides.
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
            arm(&mut self.write_timeout, left, |timeout| {
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

    /// Called when a request has ended, and again before the next one: from the first call on the connection
    /// lies idle. `false` if it cannot be used again.
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
        // On Unix this is the network's own giving up, and final.
        io::ErrorKind::TimedOut => cfg!(windows),
        _ => false,
    }
}

fn arm(
    armed: &mut Option<Duration>,
    left: Option<Duration>,
    set: impl FnOnce(Option<Duration>) -> io::Result<()>,
) -> io::Result<()> {
    let near = match (*armed, left) {
        (Some(armed), Some(left)) => armed.abs_diff(left) <= TIMEOUT_SLACK,
        (armed, left) => armed == left,
    };
    if near {
        return Ok(());
    }
    match set(left) {
        Ok(()) => *armed = left,
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
    fn a_socket_time_out_is_set_again_only_when_it_is_off_by_more_than_the_slack() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (armed, left, expected) in [
            (None, None, None),
            (None, ms(5), ms(5)),
            (ms(5), None, None),
            (ms(100), ms(98), ms(100)),
            (ms(98), ms(100), ms(98)),
            (ms(100), ms(96), ms(96)),
            (ms(96), ms(100), ms(100)),
        ] {
            let mut now = armed;
            arm(&mut now, left, |_| Ok(())).unwrap();
            assert_eq!(now, expected, "{armed:?} {left:?}");
        }
        let mut now = ms(5);
        arm(
            &mut now,
            ms(50),
            |_| Err(io::ErrorKind::NotConnected.into()),
        )
        .unwrap_err();
        assert_eq!(now, ms(5));
    }
}
