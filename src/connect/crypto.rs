//! The TLS algorithms, a subset of rustls': the others would add 5 % to the size.
//!
//! - No keys for client certificates: the service asks for none.
//! - No ChaCha20: every TLS 1.3 server must support AES, and a request has two small records.
#![forbid(unsafe_code)]

use std::sync::Arc;

use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::SignatureScheme::{
    ECDSA_NISTP256_SHA256, ECDSA_NISTP384_SHA384, ED25519, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
};
use rustls::crypto::ring::{cipher_suite as suite, kx_group};
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use webpki::ring as verify;

use crate::{Error, Status};

/// The provider for [`rustls::ClientConfig`].
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ],
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        signature_verification_algorithms: SIGNATURES,
        secure_random: &Random,
        key_provider: &NoClientKeys,
    }
}

/// What certificates and handshakes may be signed with. TLS 1.2 does not say the curve: each of its two
/// schemes stands for both.
static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        verify::ECDSA_P256_SHA256,
        verify::ECDSA_P256_SHA384,
        verify::ECDSA_P384_SHA256,
        verify::ECDSA_P384_SHA384,
        verify::ED25519,
        verify::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        verify::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        verify::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        verify::RSA_PKCS1_2048_8192_SHA256,
        verify::RSA_PKCS1_2048_8192_SHA384,
        verify::RSA_PKCS1_2048_8192_SHA512,
        verify::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        verify::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        verify::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    mapping: &[
        (
            ECDSA_NISTP384_SHA384,
            &[verify::ECDSA_P384_SHA384, verify::ECDSA_P256_SHA384],
        ),
        (
            ECDSA_NISTP256_SHA256,
            &[verify::ECDSA_P256_SHA256, verify::ECDSA_P384_SHA256],
        ),
        (ED25519, &[verify::ED25519]),
        (
            RSA_PSS_SHA512,
            &[verify::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        ),
        (
            RSA_PSS_SHA384,
            &[verify::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
        ),
        (
            RSA_PSS_SHA256,
            &[verify::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
        ),
        (RSA_PKCS1_SHA512, &[verify::RSA_PKCS1_2048_8192_SHA512]),
        (RSA_PKCS1_SHA384, &[verify::RSA_PKCS1_2048_8192_SHA384]),
        (RSA_PKCS1_SHA256, &[verify::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

#[derive(Debug)]
struct Random;

impl SecureRandom for Random {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        SystemRandom::new().fill(bytes).map_err(|_| GetRandomFailed)
    }
}

/// Fails if the system has no random numbers. Without them rustls and the standard library panic
/// in some places.
pub(super) fn check_randomness() -> Result<(), Error> {
    SystemRandom::new().fill(&mut [0]).map_err(|_| {
        let problem = "the system gives no random numbers, which TLS needs: getrandom() fails, and there is \
                       no /dev/urandom (a chroot or a container without it?)";
        Error::new(Status::Internal, problem)
    })
}

#[derive(Debug)]
struct NoClientKeys;

impl KeyProvider for NoClientKeys {
    fn load_private_key(
        &self,
        _: PrivateKeyDer<'static>,
    ) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("no client certificates".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_are_not_supported() {
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(vec![0; 8]);
        let refused = provider().key_provider.load_private_key(key.into());
        assert!(refused.is_err());
    }

    /// Fails if a new version of rustls has other algorithms.
    #[test]
    fn the_algorithms_are_those_of_rustls_without_chacha20() {
        let (ours, theirs) = (provider(), rustls::crypto::ring::default_provider());
        let mut suites: Vec<_> = theirs.cipher_suites.iter().map(|s| s.suite()).collect();
        suites.retain(|suite| !format!("{suite:?}").contains("CHACHA20"));
        let mut kept: Vec<_> = ours.cipher_suites.iter().map(|s| s.suite()).collect();
        suites.sort_by_key(|&suite| u16::from(suite));
        kept.sort_by_key(|&suite| u16::from(suite));
        assert_eq!(kept, suites);

        let groups = |of: &CryptoProvider| -> Vec<_> {
            of.kx_groups.iter().map(|group| group.name()).collect()
        };
        assert_eq!(groups(&ours), groups(&theirs));
        let (ours, theirs) = (
            ours.signature_verification_algorithms,
            theirs.signature_verification_algorithms,
        );
        let ids = |list: &[&dyn rustls::pki_types::SignatureVerificationAlgorithm]| -> Vec<_> {
            list.iter()
                .map(|a| (a.public_key_alg_id(), a.signature_alg_id()))
                .collect()
        };
        assert_eq!(ids(ours.all), ids(theirs.all));
        assert_eq!(ours.supported_schemes(), theirs.supported_schemes());
        for ((_, ours), (_, theirs)) in ours.mapping.iter().zip(theirs.mapping) {
            assert_eq!(ids(ours), ids(theirs));
        }
    }
}
