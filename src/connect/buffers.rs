//! The buffers that ureq works in.
#![forbid(unsafe_code)]

use ureq::unversioned::transport::Buffers;

use super::head::{self, Head};
use crate::wiped::WipedBuffer;

/// A response head has to fit in whole, and none may take more.
pub(super) const MAX_INPUT_BYTES: usize = 16 * 1024;
/// The service's whole answer.
const INPUT_BYTES: usize = 4 * 1024;
pub(crate) const OUTPUT_BYTES: usize = 4 * 1024;

/// Flush when less room than this remains.
const MIN_OUTPUT_ROOM: usize = OUTPUT_BYTES / 2;

/// What ureq reads from and writes into.
pub(super) struct HttpBuffers {
    input: WipedBuffer,
    /// Whether ureq consumed something when it last looked at the input.
    progress: bool,
    /// Waits to be sent.
    output: WipedBuffer,
    /// A request was sent, and the head of its response has not arrived yet.
    expects_head: bool,
}

impl HttpBuffers {
    pub(super) fn new() -> HttpBuffers {
        HttpBuffers {
            input: WipedBuffer::with_capacity(INPUT_BYTES),
            progress: false,
            output: WipedBuffer::with_capacity(OUTPUT_BYTES),
            expects_head: false,
        }
    }

    /// Adds `amount` bytes to the pending output; `true` if it should be sent now. Head and body
    /// of a usual request are so sent together.
    pub(super) fn queue_output(&mut self, amount: usize) -> bool {
        self.output.appended(amount);
        self.output.room().len() < MIN_OUTPUT_ROOM
    }

    pub(super) fn pending(&self) -> &[u8] {
        self.output.bytes()
    }

    pub(super) fn sent(&mut self) {
        self.expects_head |= !self.output.is_empty();
        self.output.clear_filled();
    }

    /// Copies as much as there is room for; returns how many bytes.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> usize {
        let amount = self.input.append(bytes);
        self.tidy_head();
        amount
    }

    /// Room for input, or the error that says that the response's head is too long.
    pub(super) fn room(&mut self) -> Result<&mut [u8], ureq::Error> {
        if self.input.room().is_empty() && !self.input.grow(MAX_INPUT_BYTES) {
            let error = ureq::Error::LargeResponseHeader(self.input.len(), MAX_INPUT_BYTES);
            return Err(error);
        }
        Ok(self.input.room())
    }

    /// Leaves no trace of the last request; `false` if something is left over, and the connection cannot be
    /// used for another one.
    pub(super) fn park(&mut self) -> bool {
        let is_empty = self.input.is_empty() && self.output.is_empty();
        if is_empty {
            self.input.clear();
        }
        is_empty
    }

    fn tidy_head(&mut self) {
        while self.expects_head {
            match head::tidy(self.input.bytes_mut()) {
                Head::Incomplete => break,
                Head::Interim(length) => self.input.consume(length),
                Head::Complete => self.expects_head = false,
            }
        }
    }
}

impl Buffers for HttpBuffers {
    fn output(&mut self) -> &mut [u8] {
        self.output.room()
    }

    fn input(&self) -> &[u8] {
        self.input.bytes()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.input.room()
    }

    fn input_appended(&mut self, amount: usize) {
        self.input.appended(amount);
        self.tidy_head();
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.input.consume(amount);
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        (self.input.room(), self.output.room())
    }

    fn can_use_input(&self) -> bool {
        self.progress && !self.input.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_wiped_once_sent_and_the_response_once_read() {
        let mut buffers = HttpBuffers::new();
        buffers.output()[..6].copy_from_slice(b"secret");
        assert!(!buffers.queue_output(6));
        assert_eq!(buffers.pending(), b"secret");
        buffers.sent();
        assert_eq!(buffers.output(), [0; OUTPUT_BYTES]);

        assert_eq!(buffers.receive(b"token"), 5);
        assert!(!buffers.park());
        buffers.input_consume(5);
        assert!(buffers.park());
        assert_eq!(buffers.input_append_buf(), [0; INPUT_BYTES]);
    }

    #[test]
    fn received_bytes_that_do_not_fit_are_left_until_there_is_room() {
        let mut buffers = HttpBuffers::new();
        assert_eq!(buffers.receive(&[1; 3 * INPUT_BYTES]), INPUT_BYTES);
        buffers.input_consume(10);
        assert_eq!(buffers.receive(&[2; 100]), 10);
        assert_eq!(buffers.input()[INPUT_BYTES - 11..INPUT_BYTES - 9], [1, 2]);
        while !buffers.queue_output(100) {}
        assert!(buffers.output().len() > OUTPUT_BYTES / 3);
    }

    #[test]
    fn the_input_buffer_grows_for_a_response_head_up_to_its_limit() {
        let mut buffers = HttpBuffers::new();
        while let Ok(room) = buffers.room() {
            let room = room.len();
            assert_eq!(buffers.receive(&[1; MAX_INPUT_BYTES]), room);
        }
        assert_eq!(buffers.input(), [1; MAX_INPUT_BYTES]);
    }
}
