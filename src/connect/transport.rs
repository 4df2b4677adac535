//! A connected socket with deadlines, the buffers that ureq works in, and the plain transport that
//! joins the two.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::Timeout;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::head::{self, Head};
use crate::clock::{self, Clock};
use crate::config::MAX_URL_BYTES;
use crate::secret::{Wiped, wipe};

/// A response head has to fit in whole, and none may take more.
pub(super) const MAX_INPUT_BYTES: usize = 16 * 1024;
/// The service's whole answer.
const INPUT_BYTES: usize = 4 * 1024;
pub(super) const OUTPUT_BYTES: usize = 4 * 1024;
// ureq writes the request's first line in one piece.
const _: () = assert!(OUTPUT_BYTES >= MAX_URL_BYTES + 64);

/// Less room than this for the next piece of the request, and what is there is sent first.
const MIN_OUTPUT_ROOM: usize = OUTPUT_BYTES / 2;

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

/// When an operation has to be over.
pub(super) struct Deadline {
    at: Option<Instant>,
    allowed: Duration,
    reason: Timeout,
}

impl Deadline {
    pub(super) fn new(timeout: NextTimeout) -> Deadline {
        let allowed = *timeout.after;
        Deadline {
            // Too far away to be counted is never.
            at: Instant::now().checked_add(allowed),
            allowed,
            reason: timeout.reason,
        }
    }

    /// The time left, `None` for no limit; never zero.
    pub(super) fn left(&self) -> Result<Option<Duration>, ureq::Error> {
        let Some(at) = self.at else { return Ok(None) };
        match at.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ureq::Error::Timeout(self.reason)),
            left => Ok(Some(left)),
        }
    }

    /// The whole time, for messages: `250 ms`.
    pub(super) fn allowed(&self) -> String {
        format!("{} ms", (self.allowed.as_micros() + 500) / 1000)
    }
}

/// A connected socket. Dropping it writes nothing.
pub(super) struct Socket {
    /// Of the other end.
    pub(super) address: IpAddr,
    /// Shared, weakly, with the agent, whose shutdown interrupts reads and writes.
    stream: Arc<TcpStream>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// Since when it lies idle, `None` while it is in use.
    idle_since: Option<clock::Instant>,
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

    /// Asked when an exchange has ended, and again before the next one begins: whether the connection
    /// can be used for it.
    pub(super) fn rest(&mut self, clock: &Clock) -> bool {
        let now = clock.now();
        let since = *self.idle_since.get_or_insert(now);
        if now.since(since) > MAX_IDLE || !self.is_idle() {
            return false;
        }
        if !self.kept {
            self.kept = true;
            #[cfg(unix)]
            super::sys::expect_acknowledgement_within(&self.stream, MAX_SILENCE);
        }
        true
    }

    /// Whether nothing has arrived, not even the end of the stream: whatever does between two
    /// exchanges makes the connection unusable for the next.
    #[cfg(unix)]
    fn is_idle(&self) -> bool {
        super::sys::is_idle(&self.stream)
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
        io::ErrorKind::UnexpectedEof => "closed by the other side".to_owned(),
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

/// What ureq reads from and writes into, wiped when dropped.
pub(super) struct WipedBuffers {
    input: Wiped,
    /// `input[start..end]` is not consumed yet.
    start: usize,
    end: usize,
    progress: bool,
    output: Wiped,
    /// `output[..pending]` waits to be sent.
    pending: usize,
    /// A request was sent, and the head of its response has not arrived yet.
    expects_head: bool,
}

impl WipedBuffers {
    pub(super) fn new() -> WipedBuffers {
        WipedBuffers {
            input: Wiped::new(INPUT_BYTES),
            start: 0,
            end: 0,
            progress: false,
            output: Wiped::new(OUTPUT_BYTES),
            pending: 0,
            expects_head: false,
        }
    }

    /// Holds back `amount` more bytes of the output; `true` when they should be sent now. Head and
    /// body of a usual request so leave together.
    pub(super) fn hold_back(&mut self, amount: usize) -> bool {
        self.pending += amount;
        self.output.len() - self.pending < MIN_OUTPUT_ROOM
    }

    pub(super) fn pending(&self) -> &[u8] {
        &self.output[..self.pending]
    }

    pub(super) fn sent(&mut self) {
        self.expects_head |= self.pending > 0;
        wipe(&mut self.output[..self.pending]);
        self.pending = 0;
    }

    /// Copies as much as there is room for: how many bytes.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> usize {
        let room = self.input_append_buf();
        let amount = bytes.len().min(room.len());
        room[..amount].copy_from_slice(&bytes[..amount]);
        self.input_appended(amount);
        amount
    }

    /// Room for input, or the error that says that the response's head is too long.
    pub(super) fn room(&mut self) -> Result<&mut [u8], ureq::Error> {
        if self.end - self.start == self.input.len() {
            if self.end >= MAX_INPUT_BYTES {
                return Err(ureq::Error::LargeResponseHeader(self.end, MAX_INPUT_BYTES));
            }
            self.input.grow(self.end);
        }
        Ok(self.input_append_buf())
    }

    /// Between two exchanges: whether nothing is left over. Leaves no trace of the last one.
    pub(super) fn rest(&mut self) -> bool {
        let empty = self.start == self.end && self.pending == 0;
        if empty {
            self.input.clean();
        }
        empty
    }
}

impl Buffers for WipedBuffers {
    fn output(&mut self) -> &mut [u8] {
        &mut self.output[self.pending..]
    }

    fn input(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.input[self.end..]
    }

    fn input_appended(&mut self, amount: usize) {
        self.end += amount;
        while self.expects_head {
            match head::tidy(&mut self.input[self.start..self.end]) {
                Head::Incomplete => break,
                Head::Interim(length) => self.start += length,
                Head::Complete => self.expects_head = false,
            }
        }
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.start += amount;
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        (
            &mut self.input[self.end..],
            &mut self.output[self.pending..],
        )
    }

    fn can_use_input(&self) -> bool {
        self.progress && self.start < self.end
    }
}

/// HTTP without TLS.
pub(super) struct Plain {
    socket: Socket,
    buffers: WipedBuffers,
    clock: Clock,
}

impl Plain {
    pub(super) fn new(socket: Socket, clock: Clock) -> Plain {
        Plain {
            socket,
            buffers: WipedBuffers::new(),
            clock,
        }
    }

    fn flush(&mut self, deadline: &Deadline) -> Result<(), ureq::Error> {
        self.socket.write_all(self.buffers.pending(), deadline)?;
        self.buffers.sent();
        Ok(())
    }

    /// Sends what waits, then appends what comes to the input; `false` at the end of the stream.
    fn receive(&mut self, deadline: &Deadline) -> Result<bool, ureq::Error> {
        self.flush(deadline)?;
        let amount = self.socket.read(self.buffers.room()?, deadline)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }
}

impl Transport for Plain {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if self.buffers.hold_back(amount) {
            self.flush(&Deadline::new(timeout))?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.receive(&Deadline::new(timeout)).map_err(broken)
    }

    fn is_open(&mut self) -> bool {
        self.buffers.rest() && self.socket.rest(&self.clock)
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_wiped_once_it_was_sent_and_the_answer_once_it_was_read() {
        let mut buffers = WipedBuffers::new();
        buffers.output()[..6].copy_from_slice(b"secret");
        assert!(!buffers.hold_back(6));
        assert_eq!(buffers.pending(), b"secret");
        buffers.sent();
        assert!(buffers.output().iter().all(|byte| *byte == 0));

        assert_eq!(buffers.receive(b"token"), 5);
        assert!(!buffers.rest());
        buffers.input_consume(5);
        assert!(buffers.rest());
        assert!(buffers.input.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_has_no_room_waits_until_there_is_some() {
        let mut buffers = WipedBuffers::new();
        let (input, output) = (buffers.input.as_ptr(), buffers.output.as_ptr());
        assert_eq!(buffers.receive(&[1; 3 * INPUT_BYTES]), INPUT_BYTES);
        buffers.input_consume(10);
        assert_eq!(buffers.receive(&[2; 100]), 10);
        assert_eq!(buffers.input()[INPUT_BYTES - 11..INPUT_BYTES - 9], [1, 2]);
        while !buffers.hold_back(100) {}
        assert!(buffers.output().len() > OUTPUT_BYTES / 3);
        assert_eq!(
            (input, output),
            (buffers.input.as_ptr(), buffers.output.as_ptr())
        );
    }

    #[test]
    fn a_response_head_finds_room_by_growing_up_to_its_limit() {
        let mut buffers = WipedBuffers::new();
        while let Ok(room) = buffers.room() {
            let room = room.len();
            assert_eq!(buffers.receive(&[1; MAX_INPUT_BYTES]), room);
        }
        assert_eq!(buffers.input(), [1; MAX_INPUT_BYTES]);
    }

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
