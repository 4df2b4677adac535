//! Name resolution with a deadline. The system's resolver cannot be interrupted, so it runs on its
//! own thread, and the attempt stops waiting at its deadline.
#![forbid(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

use ureq::unversioned::transport::ShutdownHandle;

use super::deadline::Deadline;
use super::race::Register;
use super::system_error;
use crate::Error;
use crate::endpoint::Endpoint;

/// How many look-ups of one agent may run at a time: some may hang, and a later one may succeed.
pub(super) const MAX_RUNNING: usize = 4;

/// The addresses of a host, each with the port. May block without a limit.
pub(super) type LookUp = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The system's resolver.
pub(super) fn system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

pub(super) struct LookUps {
    look_up: Arc<LookUp>,
    running: Arc<AtomicUsize>,
}

type Found = io::Result<Vec<SocketAddr>>;

/// Ends the wait for a look-up when the agent is shut down.
struct Waiting(mpsc::Sender<Option<Found>>);

impl ShutdownHandle for Waiting {
    fn shutdown(&self) {
        let _ = self.0.send(None);
    }
}

impl LookUps {
    pub(super) fn new(look_up: Arc<LookUp>) -> LookUps {
        LookUps {
            look_up,
            running: Arc::default(),
        }
    }

    /// The addresses of `endpoint`, at least one. If there is none, `unresolved` makes the error of the
    /// reason.
    pub(super) fn resolve(
        &self,
        endpoint: &Endpoint,
        deadline: &Deadline,
        register: Register<'_>,
        unresolved: impl Fn(&str) -> Error,
    ) -> Result<Vec<SocketAddr>, ureq::Error> {
        if let Ok(address) = endpoint.host.parse::<IpAddr>() {
            return Ok(vec![(address, endpoint.port).into()]);
        }
        let (sender, receiver) = mpsc::channel();
        let waiting = Arc::new(Waiting(sender.clone()));
        let handle: Weak<Waiting> = Arc::downgrade(&waiting);
        register(handle)?;
        if self.running.fetch_add(1, Ordering::AcqRel) >= MAX_RUNNING {
            self.running.fetch_sub(1, Ordering::AcqRel);
            let why =
                format!("{MAX_RUNNING} earlier look-ups have not ended; no name server answers");
            return Err(unresolved(&why).into());
        }
        let (look_up, running) = (self.look_up.clone(), self.running.clone());
        let (host, port) = (endpoint.host.clone(), endpoint.port);
        let job = move || {
            let found = look_up(&host, port);
            running.fetch_sub(1, Ordering::AcqRel);
            // The attempt may have ended.
            let _ = sender.send(Some(found));
        };
        // If no thread can be started, the look-up runs here, without a limit.
        if crate::process::spawn(job.clone()).is_err() {
            job();
        }
        let left = deadline.left()?;
        let found = receiver.recv_timeout(left.unwrap_or(Duration::MAX)).ok();
        let why = match found {
            Some(Some(Ok(addresses))) if !addresses.is_empty() => return Ok(addresses),
            Some(Some(Ok(_))) => "the name has no address".into(),
            Some(Some(Err(error))) => system_error::resolver_reason(&error),
            Some(None) => return Err(ureq::Error::ConnectionFailed),
            None => format!("took longer than {}", deadline.allowed()),
        };
        Err(unresolved(&why).into())
    }
}
