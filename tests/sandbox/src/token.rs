//! Tokens as the service makes them: an HS256 JWT with the documented claims.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rustls::crypto::ring;
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
pub(crate) struct Signer {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl Signer {
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        let secret = random()?;
        Ok(Signer {
            encoding: EncodingKey::from_secret(&secret),
            decoding: DecodingKey::from_secret(&secret),
        })
    }

    pub(crate) fn sign(&self, claims: &Claims) -> jsonwebtoken::errors::Result<String> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding)
    }

    /// The claims if the signature is ours, also of a token that has expired.
    pub(crate) fn verify(&self, token: &str) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::HS256);
        // Expiry is judged by the server's clock, which jsonwebtoken does not know.
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation);
        Some(decoded.ok()?.claims)
    }
}

/// The random claim: as long as the documented example's.
pub(crate) fn random_claim() -> Result<String, rustls::Error> {
    let hex: String = random()?.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("oauth_{hex}"))
}

fn random() -> Result<[u8; 32], rustls::Error> {
    let mut bytes = [0; 32];
    ring::default_provider().secure_random.fill(&mut bytes)?;
    Ok(bytes)
}
