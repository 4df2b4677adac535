//! The sandbox's certificate authority and the certificate of its server.

use std::io;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::{Duration, OffsetDateTime};

use crate::settings::{Certificate, Settings};

const DAY: Duration = Duration::DAY;
const YEAR: Duration = Duration::days(365);

/// The server's TLS configuration, and the CA certificate that clients have to trust.
pub(crate) struct Tls {
    pub server: Arc<ServerConfig>,
    pub ca_pem: String,
}

/// Makes a new CA and a certificate of it. The dates of both are relative to the real clock.
pub(crate) fn make(settings: &Settings) -> io::Result<Tls> {
    let ca = authority("Clopos Sandbox Root").map_err(io::Error::other)?;
    let other;
    let issuer = match settings.certificate {
        Certificate::UnknownIssuer => {
            other = authority("Some Other Root").map_err(io::Error::other)?;
            &other
        }
        _ => &ca,
    };
    let server = server(settings, issuer)?;
    Ok(Tls {
        server: Arc::new(server),
        ca_pem: ca.pem(),
    })
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - 10 * YEAR;
    params.not_after = now + 10 * YEAR;
    CertifiedIssuer::self_signed(params, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

fn server(
    settings: &Settings,
    issuer: &CertifiedIssuer<'static, KeyPair>,
) -> io::Result<ServerConfig> {
    let names = match settings.certificate {
        Certificate::WrongHost => vec!["elsewhere.example".to_owned()],
        _ => settings.names.clone(),
    };
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Clopos Sandbox");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = match settings.certificate {
        Certificate::Expired => (now - 2 * YEAR, now - YEAR),
        Certificate::NotYetValid => (now + YEAR, now + 2 * YEAR),
        _ => (now - DAY, now + YEAR),
    };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
    let leaf = params.signed_by(&key, issuer).map_err(io::Error::other)?;

    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
    Ok(config)
}
