//! The credentials of a client.
#![forbid(unsafe_code)]

use std::fmt;

use crate::secret::Secret;
use crate::{Error, check, injected};

const MAX_BYTES: usize = 1024;

/// The four values that a sign-in sends.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) client_id: Secret,
    pub(crate) client_secret: Secret,
    pub(crate) brand: Secret,
    pub(crate) integrator_id: Secret,
}

impl Credentials {
    /// Copies the four texts. Each is 1 to 1024 bytes without control characters.
    pub fn new(
        client_id: &str,
        client_secret: &str,
        brand: &str,
        integrator_id: &str,
    ) -> Result<Credentials, Error> {
        injected::panic_if(client_id, "panic in the call");
        let checked = |name: &str, text: &str| {
            check::text(name, text, MAX_BYTES)?;
            Ok(Secret::new(text))
        };
        Ok(Credentials {
            client_id: checked("client_id", client_id)?,
            client_secret: checked("client_secret", client_secret)?,
            brand: checked("brand", brand)?,
            integrator_id: checked("integrator_id", integrator_id)?,
        })
    }

    /// The names of the values that begin or end with a space or a quote, probably because too
    /// much was copied. They are sent unchanged: the service might issue such a value.
    pub(crate) fn copied_with_too_much(&self) -> impl Iterator<Item = &'static str> {
        [
            ("client_id", &self.client_id),
            ("client_secret", &self.client_secret),
            ("brand", &self.brand),
            ("integrator_id", &self.integrator_id),
        ]
        .into_iter()
        .filter(|(_, value)| {
            let value = value.expose();
            value.starts_with(is_space_or_quote) || value.ends_with(is_space_or_quote)
        })
        .map(|(name, _)| name)
    }
}

/// Spaces include those without a width, which come from web pages and byte order marks; quotes
/// include those that word processors insert.
fn is_space_or_quote(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}')
        || matches!(c, '"' | '\'' | '`' | '\u{B4}' | '\u{AB}' | '\u{BB}')
        || matches!(c, '\u{2018}'..='\u{201F}' | '\u{2039}' | '\u{203A}')
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}
