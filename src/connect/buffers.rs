//! The buffers that ureq works in.
#![forbid(unsafe_code)]

use ureq::unversioned::transport::Buffers;

use super::head::{self, Head};
use crate::secret::{Wiped, wipe};

/// A response head has to fit in whole, and none may take more.
pub(super) const MAX_INPUT_BYTES: usize = 16 * 1024;
/// The service's whole answer.
const INPUT_BYTES: usize = 4 * 1024;
pub(crate) const OUTPUT_BYTES: usize = 4 * 1024;

/// Less room than this for the next piece of the request, and what is there is sent first.
const MIN_OUTPUT_ROOM: usize = OUTPUT_BYTES / 2;

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
}
