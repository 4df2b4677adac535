//! Memory for secrets, which leaves no copy behind.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Write};

use zeroize::optimization_barrier;

/// Overwrites memory that is not needed any more. `zeroize()` does it byte by byte, which for a
/// connection's buffers takes a sixth of the time of a resumed handshake; this is one call of memset(),
/// behind which the compiler has to assume that somebody reads the memory.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    optimization_barrier(bytes);
}

/// Bytes that are appended at the end and consumed from the beginning. Its memory is wiped when it is
/// dropped, and before it is replaced by larger memory.
#[derive(Default)]
pub(crate) struct WipedBuffer {
    memory: Box<[u8]>,
    /// `memory[start..end]` is filled.
    start: usize,
    end: usize,
}

impl WipedBuffer {
    pub fn with_capacity(capacity: usize) -> WipedBuffer {
        WipedBuffer {
            memory: vec![0; capacity].into(),
            start: 0,
            end: 0,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.end]
    }

    pub fn len(&self) -> usize {
        self.end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// What can be appended without moving to larger memory: written here, then counted with
    /// [`WipedBuffer::appended`].
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.memory[self.end..]
    }

    pub fn appended(&mut self, amount: usize) {
        self.end += amount;
        debug_assert!(self.end <= self.memory.len());
    }

    /// Appends as much of `bytes` as there is room for: how many.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let amount = bytes.len().min(room.len());
        room[..amount].copy_from_slice(&bytes[..amount]);
        self.appended(amount);
        amount
    }

    /// Moves to memory of twice the size, but no larger than `max`; `false` if it has that already.
    pub fn grow(&mut self, max: usize) -> bool {
        let size = self.memory.len();
        if size >= max {
            return false;
        }
        let mut larger = WipedBuffer::with_capacity((2 * size).clamp(64, max.max(64)));
        larger.append(self.bytes());
        *self = larger;
        true
    }

    /// Forgets the first `amount` bytes. They stay in memory until the buffer is cleared or dropped.
    pub fn consume(&mut self, amount: usize) {
        self.start += amount;
        debug_assert!(self.start <= self.end);
    }

    /// Empties it and wipes all of its memory.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        wipe(&mut self.memory);
    }

    /// Empties it and wipes what was filled; enough for one from which nothing was consumed.
    pub fn clear_filled(&mut self) {
        wipe(&mut self.memory[..self.end]);
        (self.start, self.end) = (0, 0);
    }
}

/// Appends all, in larger memory if need be.
impl Write for WipedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while self.room().len() < bytes.len() {
            self.grow(usize::MAX);
        }
        Ok(self.append(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for WipedBuffer {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for WipedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_bytes_are_consumed_in_order_while_the_buffer_grows() {
        let mut buffer = WipedBuffer::default();
        buffer.write_all(b"abcd").unwrap();
        buffer.consume(2);
        buffer.write_all(&[7; 500]).unwrap();
        buffer.flush().unwrap();
        assert_eq!(buffer.len(), 502);
        assert_eq!(buffer.bytes()[..3], *b"cd\x07");
        buffer.bytes_mut()[0] = b'x';
        buffer.consume(500);
        assert_eq!(buffer.bytes(), [7; 2]);
        assert_eq!(format!("{buffer:?}"), "***");
    }

    #[test]
    fn a_buffer_grows_up_to_its_limit_only() {
        let mut buffer = WipedBuffer::with_capacity(60);
        assert!(buffer.grow(100) && buffer.grow(150));
        assert_eq!(buffer.append(&[1; 200]), 150);
        assert!(!buffer.grow(150));
        assert_eq!(buffer.bytes(), [1; 150]);
    }

    #[test]
    fn clearing_a_buffer_wipes_it() {
        let mut buffer = WipedBuffer::with_capacity(8);
        assert_eq!(buffer.append(b"secret"), 6);
        buffer.clear_filled();
        assert!(buffer.is_empty());
        assert_eq!(*buffer.memory, [0; 8]);
        buffer.append(b"secret");
        buffer.consume(3);
        buffer.room();
        buffer.clear();
        assert_eq!(*buffer.memory, [0; 8]);
    }
}
