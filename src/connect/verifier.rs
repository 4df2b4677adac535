//! Who the server is: rustls' own verifier, asked once more where a certificate is out of date, for the
//! date that its error leaves out.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{Notes, Validity};

#[derive(Debug)]
pub(super) struct Verifier {
    verifier: Arc<WebPkiServerVerifier>,
    notes: Arc<Notes>,
}

impl Verifier {
    pub fn new(
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
        notes: Arc<Notes>,
    ) -> Result<Verifier, Error> {
        WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .map(|verifier| Verifier { verifier, notes })
            .map_err(|error| Error::General(error.to_string()))
    }

    /// The dates of the server's own certificate, if it is out of date.
    fn validity(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Option<Validity> {
        // Without those of its issuers, none of theirs can be meant.
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

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if verified.is_err() {
            self.notes
                .saw_validity(self.validity(end_entity, server_name, now));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
