//! HTTP without TLS.
#![forbid(unsafe_code)]

use std::fmt;

use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::buffers::HttpBuffers;
use super::deadline::Deadline;
use super::socket::{Socket, broken};
use crate::clock::Clock;

pub(super) struct Plain {
    socket: Socket,
    buffers: HttpBuffers,
    clock: Clock,
}

impl Plain {
    pub(super) fn new(socket: Socket, clock: Clock) -> Plain {
        Plain {
            socket,
            buffers: HttpBuffers::new(),
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
        if self.buffers.queue_output(amount) {
            self.flush(&Deadline::new(timeout))?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.receive(&Deadline::new(timeout)).map_err(broken)
    }

    fn is_open(&mut self) -> bool {
        self.buffers.park() && self.socket.park(&self.clock)
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain")
    }
}
