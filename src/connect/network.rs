//! What a client's settings say about its connections.
#![forbid(unsafe_code)]

use rustls::RootCertStore;

use super::proxy::ProxyUrl;
use crate::Roots;
use crate::clock::Clock;

/// Where connections go through.
#[derive(Clone, Debug, Default)]
pub(crate) enum ProxyChoice {
    /// What `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say when the client is made.
    #[default]
    Environment,
    None,
    Url(ProxyUrl),
}

/// What the network layer needs to know.
#[derive(Clone)]
pub(crate) struct Network {
    pub roots: Roots,
    /// Certificates that were added, already checked to be usable as roots.
    pub added: RootCertStore,
    pub proxy: ProxyChoice,
    /// Otherwise plain `http://` connects to loopback addresses only.
    pub allow_plain_http: bool,
    pub clock: Clock,
}
