//! A token as the caller gets it.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::CachedToken;

/// A token that was valid when it was returned. Cheap to clone; the text is wiped when the last
/// clone and the client's own copy are gone.
#[derive(Clone)]
pub struct Token {
    cached: Arc<CachedToken>,
    expires_in: Duration,
}

impl Token {
    /// `None` if it has expired: every token that is returned is compared with the time here.
    pub(crate) fn living(cached: Arc<CachedToken>) -> Option<Token> {
        let expires_in = cached.left();
        (!expires_in.is_zero()).then_some(Token { cached, expires_in })
    }

    pub(crate) fn cached(&self) -> &CachedToken {
        &self.cached
    }

    /// The JWT: send it as it is in the header `x-token`. 1 to 8192 visible ASCII characters.
    pub fn value(&self) -> &str {
        self.cached.grant.token.expose()
    }

    /// `Bearer`.
    pub fn token_type(&self) -> &str {
        &self.cached.grant.token_type
    }

    /// The expiry in Unix seconds, by the *server's* clock. This device's may differ.
    pub fn expires_at(&self) -> i64 {
        self.cached.grant.expires_at
    }

    /// The remaining time when it was returned. The device's date has no influence.
    pub fn expires_in(&self) -> Duration {
        self.expires_in
    }

    /// Its number: no other token that this process receives has the same, and none has 0. Since 1.1.
    pub fn serial(&self) -> u64 {
        self.cached.serial()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("value", &"***")
            .field("token_type", &self.token_type())
            .field("expires_at", &self.expires_at())
            .field("expires_in", &self.expires_in)
            .finish()
    }
}
