//! rustls' verifier, with what its errors leave out. A certificate that is out of date is verified
//! again at a date at which it is valid: only if that succeeds, the date is the problem. After
//! every failure the validity dates of the server's certificate are read.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use webpki::EndEntityCert;

/// How many dates are tried to find one at which all certificates are valid.
const MAX_OUT_OF_DATE: usize = 8;

/// From when and until when a certificate is valid.
pub(super) type Validity = (UnixTime, UnixTime);

#[derive(Debug)]
pub(super) struct Verifier {
    verifier: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    validity: Mutex<Option<Validity>>,
}

/// Why a certificate is refused, where rustls has no error for it; inside [`CertificateError::Other`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Finding {
    /// The server's RSA key has less than 2048 bits.
    ShortKey,
    /// The RSA key of a CA has.
    ShortKeyOfCa,
    /// The handshake was signed with another key than the certificate's.
    NotItsKey,
    /// There is no date at which all certificates are valid.
    NeverValid,
}

/// The end of a sentence that begins with "the certificate of".
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Finding::ShortKey => {
                "has an RSA key of less than 2048 bits, which is not secure: the server needs a new \
                 certificate"
            }
            Finding::ShortKeyOfCa => {
                "was issued with an RSA key of less than 2048 bits, which is not secure: the CA needs a \
                 new certificate"
            }
            Finding::NotItsKey => "belongs to another key than the one that the server has",
            Finding::NeverValid => {
                "cannot be valid at any date: it and a CA in its chain are not valid at the same \
                 time"
            }
        })
    }
}

impl std::error::Error for Finding {}

impl From<Finding> for Error {
    fn from(finding: Finding) -> Error {
        CertificateError::Other(OtherError(Arc::new(finding))).into()
    }
}

impl Verifier {
    pub fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Verifier, Error> {
        let roots = Arc::new(roots);
        WebPkiServerVerifier::builder_with_provider(roots.clone(), provider)
            .build()
            .map(|verifier| Verifier {
                verifier,
                roots,
                validity: Mutex::default(),
            })
            .map_err(|error| Error::General(error.to_string()))
    }

    /// Whether a CA that may have issued one of these certificates has a short key.
    fn has_ca_with_short_key(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> bool {
        let issued_by = |subject: &[u8]| {
            [end_entity].into_iter().chain(intermediates).any(|der| {
                EndEntityCert::try_from(der).is_ok_and(|parsed| parsed.issuer() == subject)
            })
        };
        intermediates.iter().any(has_short_key)
            || self
                .roots
                .roots
                .iter()
                .any(|root| is_short_rsa(&root.subject_public_key_info) && issued_by(&root.subject))
    }

    /// Of the last certificate that was refused, if it was out of date.
    pub fn validity(&self) -> Option<Validity> {
        *self.last_validity()
    }

    fn last_validity(&self) -> MutexGuard<'_, Option<Validity>> {
        self.validity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dates of the server's own certificate, if it is out of date.
    fn find_validity(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Option<Validity> {
        // Without intermediates, the dates are the server certificate's.
        let ask = |at| {
            let at = UnixTime::since_unix_epoch(at);
            self.verifier
                .verify_server_cert(certificate, &[], name, &[], at)
        };
        match (ask(Duration::ZERO), ask(Duration::MAX)) {
            (
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })),
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                    not_after, ..
                })),
            ) if now < not_before || not_after < now => Some((not_before, not_after)),
            _ => None,
        }
    }
}

/// The error at a date at which the certificates are valid; `error` if there is none.
fn apart_from_the_date(error: Error, verify: impl Fn(UnixTime) -> Result<(), Error>) -> Error {
    let mut last = error.clone();
    for _ in 0..MAX_OUT_OF_DATE {
        let date = match last {
            Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
                not_after
            }
            Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before, ..
            }) => not_before,
            other => return other,
        };
        match verify(date) {
            Ok(()) => return error,
            Err(other) => last = other,
        }
    }
    Finding::NeverValid.into()
}

/// Whether a `SubjectPublicKeyInfo` is RSA with less than 2048 bits, for which it has 290 bytes.
fn is_short_rsa(key: &[u8]) -> bool {
    // 1.2.840.113549.1.1: RSA, and RSA for PSS only.
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
    key.len() < 280 && key.windows(RSA.len()).any(|bytes| bytes == RSA)
}

fn has_short_key(certificate: &CertificateDer<'_>) -> bool {
    EndEntityCert::try_from(certificate)
        .is_ok_and(|parsed| is_short_rsa(&parsed.subject_public_key_info()))
}

/// What a bad signature of the handshake means.
fn of_handshake(certificate: &CertificateDer<'_>, error: Error) -> Error {
    match error {
        Error::InvalidCertificate(_) if has_short_key(certificate) => Finding::ShortKey.into(),
        Error::InvalidCertificate(CertificateError::BadSignature) => Finding::NotItsKey.into(),
        error => error,
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |now| {
            self.verifier.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            )
        };
        verify(now).map_err(|error| {
            *self.last_validity() = self.find_validity(end_entity, server_name, now);
            match apart_from_the_date(error, |date| verify(date).map(drop)) {
                Error::InvalidCertificate(CertificateError::BadSignature)
                    if self.has_ca_with_short_key(end_entity, intermediates) =>
                {
                    Finding::ShortKeyOfCa.into()
                }
                error => error,
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
            .map_err(|error| of_handshake(certificate, error))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
            .map_err(|error| of_handshake(certificate, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn certificates_that_are_never_valid_together_are_no_clock_error() {
        // One is valid until 10, the other from 20 on.
        let verify = |now| match now < at(15) {
            true => Err(CertificateError::NotValidYetContext {
                time: now,
                not_before: at(20),
            }
            .into()),
            false => Err(CertificateError::ExpiredContext {
                time: now,
                not_after: at(10),
            }
            .into()),
        };
        let first = verify(at(30)).unwrap_err();
        let Error::InvalidCertificate(CertificateError::Other(OtherError(other))) =
            apart_from_the_date(first, verify)
        else {
            panic!("another error");
        };
        let finding = other.downcast_ref::<Finding>();
        assert!(matches!(finding, Some(Finding::NeverValid)));
    }

    #[test]
    fn a_server_without_its_certificates_key_is_distinguished_from_a_bad_issuer() {
        let nothing = CertificateDer::from(vec![0]);
        let error = of_handshake(&nothing, CertificateError::BadSignature.into());
        assert!(matches!(
            error,
            Error::InvalidCertificate(CertificateError::Other(_))
        ));
        let other = of_handshake(&nothing, Error::DecryptError);
        assert_eq!(other, Error::DecryptError);
    }
}
