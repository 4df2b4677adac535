//! The TLS sessions that a server may resume. A server that refuses one with an alert would refuse it
//! each time (RFC 5246 7.2.2: such a session must not be resumed), so a handshake that fails forgets
//! them all, and so does a connection that breaks or stays silent: something on the way may not let a
//! resumed session through.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Mutex;

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

use super::lock;

/// How many tickets of TLS 1.3 are kept; each is good for one handshake.
const MAX_TICKETS: usize = 4;

/// Of the one server that an agent connects to.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Vec<Tls13ClientSessionValue>,
}

impl Sessions {
    /// Whether the next handshake will offer one.
    pub(super) fn any(&self) -> bool {
        let kept = lock(&self.0);
        kept.tls12.is_some() || !kept.tls13.is_empty()
    }

    pub(super) fn forget(&self) {
        *lock(&self.0) = Kept::default();
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        lock(&self.0).group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        lock(&self.0).group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        lock(&self.0).tls12 = Some(session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        lock(&self.0).tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        lock(&self.0).tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let tickets = &mut lock(&self.0).tls13;
        if tickets.len() == MAX_TICKETS {
            tickets.remove(0);
        }
        tickets.push(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        lock(&self.0).tls13.pop()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}
