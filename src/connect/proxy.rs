//! HTTP proxies: the URL of one, which one the environment names, and passing one with CONNECT.
#![forbid(unsafe_code)]

mod environment;
mod no_proxy;
mod tunnel;
mod url;

pub(crate) use self::environment::from_environment;
pub(super) use self::tunnel::tunnel;
pub(crate) use self::url::ProxyUrl;
