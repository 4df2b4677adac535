//! Root certificates: which ones are trusted, and reading those that are added.
#![forbid(unsafe_code)]

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};

use crate::Error;

/// The most that [`from_pem`] reads.
pub(crate) const MAX_PEM_BYTES: usize = 1024 * 1024;

/// Which root certificates are trusted, in addition to those that are added.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Mozilla's, compiled in. The default.
    #[default]
    Bundled = 0,
    /// The system's certificate store, read once for each client, at its first request (in a forked child
    /// again); but for Windows and macOS, `SSL_CERT_FILE` and `SSL_CERT_DIR` name another one. No thread may call
    /// setenv() during that request. If the store is empty, every request fails with TLS.
    System = 1,
    /// Only added certificates. With a private CA this is pinning.
    None = 2,
}

impl Roots {
    pub(crate) fn from_number(number: i32) -> Result<Roots, Error> {
        [Roots::Bundled, Roots::System, Roots::None]
            .into_iter()
            .find(|&roots| roots as i32 == number)
            .ok_or_else(|| {
                Error::invalid_argument(format!(
                    "roots is {number}; expected a CLOPOS_AUTH_ROOTS_* value"
                ))
            })
    }
}

/// The certificates in a PEM text, each usable as a root.
pub(crate) fn from_pem(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|_| {
            Error::invalid_argument("pem contains a certificate that is damaged or not X.509")
        })?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bad = |problem: &str| Error::invalid_argument(format!("pem {problem}"));
    if pem.is_empty() {
        return Err(bad("is empty"));
    }
    if pem.len() > MAX_PEM_BYTES {
        return Err(bad("is larger than 1 MiB"));
    }
    // An ASN.1 SEQUENCE with a long length, as at the beginning of every DER certificate.
    if pem.starts_with(&[0x30, 0x82]) {
        return Err(bad(
            "is DER (binary); convert it: openssl x509 -inform der -in FILE -out FILE.pem",
        ));
    }
    // Of any kind, encrypted or not, with or without a certificate.
    const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";
    if pem
        .windows(PRIVATE_KEY.len())
        .any(|bytes| bytes == PRIVATE_KEY)
    {
        return Err(bad(
            "contains a private key; pass only the CA's certificate",
        ));
    }
    // Windows editors write a byte order mark at the beginning of a file, and files are joined. It
    // would hide the certificate after it.
    const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let joined: Vec<u8>;
    let mut pem = pem;
    if pem.windows(3).any(|three| three == BYTE_ORDER_MARK) {
        // A PEM block is ASCII: other bytes are outside of one.
        joined = pem.iter().copied().filter(u8::is_ascii).collect();
        pem = &joined;
    }
    let begun = pem.windows(BEGIN.len()).filter(|&bytes| bytes == BEGIN);
    let begun = begun.count();
    let mut certificates = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        match section {
            Ok((SectionKind::Certificate, der)) => certificates.push(CertificateDer::from(der)),
            Ok(_) => {}
            Err(_) => return Err(bad("is damaged or cut off inside a block")),
        }
    }
    if certificates.is_empty() {
        return Err(bad(
            "contains no BEGIN CERTIFICATE block (the content of the file is expected, not its path)",
        ));
    }
    if certificates.len() != begun {
        return Err(bad(
            "has text before a BEGIN CERTIFICATE marker on the same line, for example spaces",
        ));
    }
    Ok(certificates)
}
