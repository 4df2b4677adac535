//! Text that must not leak: wiped when dropped, printed as `***`, never grown by reallocation (which
//! would leave copies behind in freed memory).
#![forbid(unsafe_code)]

use std::fmt;
use std::ops::{Deref, DerefMut};

use zeroize::{Zeroizing, optimization_barrier};

/// Overwrites memory that is not needed any more. `zeroize()` does it byte by byte, which for a
/// connection's buffers is a sixth of a resumed handshake; this is one call of memset(), behind which the
/// compiler has to assume that somebody reads the memory.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    optimization_barrier(bytes);
}

/// A secret text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Copies `text` into an allocation of exactly its size.
    pub fn new(text: &str) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A byte buffer of fixed capacity for secrets: wiped when dropped, and a write that does not fit
/// fails instead of reallocating.
pub(crate) struct SecretBuffer(Vec<u8>);

impl SecretBuffer {
    pub fn with_capacity(capacity: usize) -> SecretBuffer {
        SecretBuffer(Vec::with_capacity(capacity))
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub fn spare(&self) -> usize {
        self.0.capacity() - self.0.len()
    }
}

impl Drop for SecretBuffer {
    fn drop(&mut self) {
        // Nothing was ever written behind its end.
        wipe(&mut self.0);
    }
}

/// Memory that is zero at first, and wiped when it is dropped or grows.
pub(crate) struct Wiped(Box<[u8]>);

impl Wiped {
    pub fn new(size: usize) -> Wiped {
        Wiped(vec![0; size].into())
    }

    /// Moves to memory of twice the size, with the first `keep` bytes.
    pub fn grow(&mut self, keep: usize) {
        let mut larger = Wiped::new(2 * self.len());
        larger[..keep].copy_from_slice(&self[..keep]);
        *self = larger;
    }

    pub fn clean(&mut self) {
        wipe(&mut self.0);
    }
}

impl Deref for Wiped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.clean();
    }
}

impl std::io::Write for SecretBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = bytes.len().min(self.spare());
        self.0.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for SecretBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_secret_prints_as_stars() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
        let mut buffer = SecretBuffer::with_capacity(8);
        buffer.write_all(b"hunter2").unwrap();
        buffer.flush().unwrap();
        assert_eq!(format!("{buffer:?}"), "***");
    }

    #[test]
    fn memory_that_grows_keeps_what_it_is_told_to_and_nothing_else() {
        let mut memory = Wiped::new(4);
        memory.copy_from_slice(b"abcd");
        memory.grow(2);
        assert_eq!(*memory, *b"ab\0\0\0\0\0\0");
        memory.clean();
        assert_eq!(*memory, [0; 8]);
    }

    #[test]
    fn a_full_buffer_refuses_more_instead_of_moving() {
        let mut buffer = SecretBuffer::with_capacity(8);
        let spare = buffer.spare();
        let at = buffer.as_slice().as_ptr();
        buffer.write_all(&vec![7; spare]).unwrap();
        assert!(buffer.write_all(b"x").is_err());
        assert_eq!(buffer.as_slice().as_ptr(), at);
    }
}
