//! Tokens as the service makes them: an HS256 JWT with the documented claims.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::hmac;
use rustls::crypto::ring::default_provider;
use serde::{Deserialize, Serialize};

/// The claims of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Random, so that no two tokens are the same.
    pub token: String,
    pub brand: String,
    pub stage: String,
    pub venue_id: u32,
    pub integrator_id: String,
    /// Unix seconds on the server's clock, like `exp`.
    pub iat: i64,
    pub exp: i64,
}

/// Signs and checks tokens with a secret of its own.
pub(crate) struct Signer(hmac::Key);

impl Signer {
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        Ok(Signer(hmac::Key::new(hmac::HMAC_SHA256, &random()?)))
    }

    pub(crate) fn sign(&self, claims: &Claims) -> serde_json::Result<String> {
        let header = BASE64.encode(r#"{"typ":"JWT","alg":"HS256"}"#);
        let signed = format!("{header}.{}", BASE64.encode(serde_json::to_vec(claims)?));
        let signature = BASE64.encode(hmac::sign(&self.0, signed.as_bytes()));
        Ok(format!("{signed}.{signature}"))
    }

    /// The claims if the signature is ours, also of a token that has expired.
    pub(crate) fn verify(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = BASE64.decode(signature).ok()?;
        hmac::verify(&self.0, signed.as_bytes(), &signature).ok()?;
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
    }
}

/// The random claim: as long as the documented example's.
pub(crate) fn random_claim() -> Result<String, rustls::Error> {
    let hex: String = random()?.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("oauth_{hex}"))
}

fn random() -> Result<[u8; 32], rustls::Error> {
    let mut bytes = [0; 32];
    default_provider().secure_random.fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with OpenSSL.
    const TOKEN: &str = "\
        eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJ0b2tlbiI6Im9hdXRoXzAiLCJicmFuZCI6IsOnYXktZXZpIiw\
        ic3RhZ2UiOiJiZXRhIiwidmVudWVfaWQiOjEsImludGVncmF0b3JfaWQiOiJ0ZXN0X3NhbmRib3giLCJpYXQiOjE\
        3MDAwMDAwMDAsImV4cCI6MTcwMDAwMzYwMH0.Sfu5LP9BGtO9hpfyqU5Q74wnUKaSNMer3edhWoC4qsU";

    #[test]
    fn the_signature_is_hs256() {
        let signer = Signer(hmac::Key::new(hmac::HMAC_SHA256, b"secret"));
        let claims = signer.verify(TOKEN).expect("a good signature");
        assert_eq!(claims.integrator_id, "test_sandbox");
        assert_eq!(signer.sign(&claims).expect("a token"), TOKEN);
    }
}
