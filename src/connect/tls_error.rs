//! Turns TLS errors into messages for the technician in the store. Pure.
#![forbid(unsafe_code)]

use std::io;

use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
};

use crate::Status;
use crate::clock::utc;

use super::system_error;
use super::verifier::{Finding, Validity};

/// The connection to `peer` ended in the middle of the handshake. A server that *refuses* says so
/// with an alert; without one it is an overloaded or restarting server, or a device between that
/// closed the connection. Another attempt may succeed, so the status is CONNECT, not TLS.
pub(super) fn closed(peer: &str, error: Option<&io::Error>) -> crate::Error {
    let how = match error {
        Some(error) => system_error::reason(error),
        None => "closed by the peer without a reason".into(),
    };
    crate::Error::new(
        Status::Connect,
        format!("the connection to {peer} broke during the TLS handshake: {how}"),
    )
}

/// The dates that a message about a certificate shows, in Unix seconds.
#[derive(Clone, Copy)]
pub(super) struct Dates {
    /// By this device.
    pub here: i64,
    /// By the server, if it is known.
    pub server: Option<i64>,
    /// Of the server's own certificate, if that is out of date.
    pub validity: Option<Validity>,
}

/// The message for an error of rustls with `host`. `start` is the beginning of the server's last
/// bytes.
pub(super) fn tls(host: &str, error: &Error, start: &[u8], dates: Dates) -> crate::Error {
    let tls = |message| crate::Error::new(Status::Tls, message);
    match error {
        Error::InvalidCertificate(problem) => {
            let (status, message) = certificate(host, problem, dates);
            crate::Error::new(status, message)
        }
        Error::InvalidMessage(_) if start.starts_with(b"HTTP/") || start.starts_with(b"<") => {
            tls(format!(
                "{host} answered with plain HTTP instead of TLS: wrong port in the URL, or a \
                 captive portal"
            ))
        }
        // A record of TLS begins with its type, 20 to 23, and 3.
        Error::InvalidMessage(_) if !matches!(start, [20..=23, 3, ..] | []) => tls(format!(
            "the response of {host} is not TLS; check the port in the URL"
        )),
        error => tls(format!(
            "TLS handshake with {host} failed: {}",
            problem(error)
        )),
    }
}

/// The cause of a TLS failure, apart from the certificate. rustls' own texts are debug output.
pub(crate) fn problem(error: &Error) -> String {
    use PeerIncompatible as Peer;
    let text = match error {
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(
            Peer::ServerDoesNotSupportTls12Or13
            | Peer::ServerTlsVersionIsDisabledByOurConfig
            | Peer::Tls12NotOffered
            | Peer::Tls12NotOfferedOrEnabled,
        ) => "the server offers only TLS versions older than 1.2, which are not secure",
        Error::AlertReceived(description) => return alert(*description),
        Error::PeerIncompatible(_) => {
            "the server offers no cipher, key exchange or signature that this library accepts"
        }
        Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
        ) => "the server's certificates are too large, more than 64 KiB",
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord => "the server breaks the rules of TLS",
        Error::NoCertificatesPresented => "the server presented no certificate",
        Error::DecryptError => "what arrived was changed on the way, or encrypted with another key",
        Error::FailedToGetRandomBytes => "the system provides no random numbers",
        Error::InvalidCertificate(_) => "the server's certificate is not acceptable",
        _ => "TLS does not work on this device",
    };
    text.into()
}

/// An alert with its name and number in RFC 8446, and its usual meaning.
fn alert(description: AlertDescription) -> String {
    use AlertDescription as Alert;
    let (name, meaning) = match description {
        Alert::HandshakeFailure => (
            "handshake_failure",
            "no cipher, key exchange or signature in common, or it requires a client certificate",
        ),
        Alert::InsufficientSecurity => (
            "insufficient_security",
            "it requires ciphers that this library does not have",
        ),
        Alert::CertificateRequired => (
            "certificate_required",
            "it requires a client certificate, which this library does not have",
        ),
        Alert::BadCertificate => (
            "bad_certificate",
            "it may require a client certificate, which this library does not have",
        ),
        Alert::UnrecognisedName => (
            "unrecognized_name",
            "it does not serve this host name; correct the URL",
        ),
        Alert::AccessDenied => ("access_denied", "it does not allow this device"),
        Alert::InternalError => ("internal_error", "it failed"),
        Alert::UserCanceled => ("user_canceled", "it is shutting down"),
        Alert::UnexpectedMessage => ("unexpected_message", ""),
        Alert::BadRecordMac => ("bad_record_mac", ""),
        Alert::RecordOverflow => ("record_overflow", ""),
        Alert::IllegalParameter => ("illegal_parameter", ""),
        Alert::DecodeError => ("decode_error", ""),
        Alert::DecryptError => ("decrypt_error", ""),
        Alert::MissingExtension => ("missing_extension", ""),
        Alert::NoApplicationProtocol => ("no_application_protocol", ""),
        _ => ("alert", ""),
    };
    let number = u8::from(description);
    let colon = if meaning.is_empty() { "" } else { ": " };
    format!("the server refused it with {name} ({number}){colon}{meaning}")
}

fn certificate(host: &str, problem: &CertificateError, dates: Dates) -> (Status, String) {
    let date =
        |time: rustls::pki_types::UnixTime| utc(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    let here = utc(dates.here);
    // From a response over TLS, continued with a clock that cannot be set.
    let server = dates.server.map_or(String::new(), |now| {
        format!(
            " (it is {} by the server's clock, last seen in a response)",
            utc(now)
        )
    });
    // rustls does not say whose certificate it means.
    let one_of_several = || format!("{host}, or of a CA in its chain,");
    let tls = |message| (Status::Tls, message);
    match problem {
        CertificateError::ExpiredContext { not_after, .. } => {
            let (whose, from) = match dates.validity {
                Some((from, until)) if until == *not_after => {
                    (host.to_owned(), format!(" (valid from {})", date(from)))
                }
                _ => (one_of_several(), String::new()),
            };
            (
                Status::Clock,
                format!(
                    "the certificate of {whose} expired on {}{from}, and this device's date is \
                     {here}{server}: if that date is wrong, set it; if it is right, the server needs a \
                     new certificate",
                    date(*not_after)
                ),
            )
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let (whose, until) = match dates.validity {
                Some((from, until)) if from == *not_before => {
                    (host.to_owned(), format!(" or after {}", date(until)))
                }
                _ => (one_of_several(), String::new()),
            };
            (
                Status::Clock,
                format!(
                    "the certificate of {whose} is not valid before {}{until}; this device's \
                     date is {here}{server}: set it",
                    date(*not_before)
                ),
            )
        }
        CertificateError::UnknownIssuer => tls(format!(
            "the certificate of {host} was issued by an untrusted CA: if a TLS-inspecting proxy \
             is used, add its CA certificate; otherwise the server does not send its \
             intermediate certificate"
        )),
        CertificateError::NotValidForNameContext { presented, .. } => {
            tls(wrong_name(host, presented))
        }
        CertificateError::BadSignature => tls(format!(
            "the certificate of {host} names a trusted CA but was signed with another key: if \
             that CA was replaced, add its new certificate"
        )),
        CertificateError::Other(OtherError(other)) => {
            let why = match (other.downcast_ref(), other.downcast_ref()) {
                (Some(finding), _) => Finding::to_string(finding),
                (_, Some(error)) => invalid(error).to_owned(),
                _ => NOT_ACCEPTABLE.to_owned(),
            };
            tls(format!("the certificate of {host} {why}"))
        }
        other => tls(format!("the certificate of {host} {}", unacceptable(other))),
    }
}

const NOT_ACCEPTABLE: &str = "is not acceptable";

fn unacceptable(problem: &CertificateError) -> &'static str {
    match problem {
        CertificateError::BadEncoding => "is damaged: it cannot be read",
        CertificateError::Expired | CertificateError::NotValidYet => {
            "expires before it becomes valid: no date can be right for it"
        }
        CertificateError::Revoked => "was revoked",
        CertificateError::UnhandledCriticalExtension => UNKNOWN_EXTENSION,
        CertificateError::NotValidForName => "is for another host",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for a server: its extended key usage, or that of a CA in its chain, lacks \
             serverAuth"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => {
            "has a signature that is not accepted here, such as SHA-1 or P-521; accepted are SHA-256 \
             and SHA-384 with P-256 and P-384, these and SHA-512 with RSA, and Ed25519"
        }
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "has or was issued with a key that is not accepted here, such as P-521; accepted are RSA \
             from 2048 bits, P-256, P-384 and Ed25519"
        }
        _ => NOT_ACCEPTABLE,
    }
}

const UNKNOWN_EXTENSION: &str =
    "has a critical extension that this library does not know (or a CA in its chain has)";

/// What rustls passes on as it is.
fn invalid(error: &webpki::Error) -> &'static str {
    use webpki::Error as Pki;
    match error {
        Pki::CaUsedAsEndEntity => {
            "is a CA's (CA:TRUE): the server needs one with CA:FALSE. openssl req -x509 makes a CA: \
             add -addext basicConstraints=critical,CA:FALSE, or issue a certificate for the server \
             with it"
        }
        Pki::EndEntityUsedAsCa => {
            "was issued by a certificate that is not a CA: one in its chain has CA:FALSE or no \
             basicConstraints"
        }
        Pki::UnsupportedCertVersion => {
            "is not of X.509 version 3 (or that of a CA is not): it was made without extensions, and \
             has no subjectAltName"
        }
        Pki::UnsupportedCriticalExtension => UNKNOWN_EXTENSION,
        Pki::NameConstraintViolation => {
            "is for a name that its CA may not issue certificates for (name constraints)"
        }
        Pki::PathLenConstraintViolated | Pki::MaximumPathDepthExceeded => {
            "has more CAs between it and the trusted one than these allow (path length)"
        }
        Pki::EmptyEkuExtension => "has an empty extended key usage",
        Pki::SignatureAlgorithmMismatch => {
            "is damaged: it names two different signature algorithms"
        }
        Pki::MaximumSignatureChecksExceeded
        | Pki::MaximumPathBuildCallsExceeded
        | Pki::MaximumNameConstraintComparisonsExceeded => {
            "comes with too many others to find a chain to a trusted one"
        }
        Pki::MalformedExtensions
        | Pki::ExtensionValueInvalid
        | Pki::InvalidSerialNumber
        | Pki::InvalidNetworkMaskConstraint
        | Pki::MalformedDnsIdentifier
        | Pki::MalformedNameConstraint => "is damaged: a part of it cannot be read",
        _ => NOT_ACCEPTABLE,
    }
}

/// `presented` is as webpki writes it: `DnsName("a.example")`, `IpAddress(192.0.2.1)`.
fn wrong_name(host: &str, presented: &[String]) -> String {
    let name = host.split(' ').next().unwrap_or_default();
    if name.parse::<std::net::IpAddr>().is_ok()
        && presented.contains(&format!("DnsName(\"{name}\")"))
    {
        return format!(
            "the certificate presented by {host} has this address as a name (DNS:{name}), not as \
             an address: its subjectAltName needs IP:{name}"
        );
    }
    if presented.is_empty() {
        return format!(
            "the certificate presented by {host} is for no host: only subjectAltName counts, not \
             the common name (CN)"
        );
    }
    format!(
        "the certificate presented by {host} is for {}: wrong host name, or another server \
         answered",
        names(presented)
    )
}

/// A few of the names that a certificate is for. They come from the network: only characters of
/// names are kept.
fn names(presented: &[String]) -> String {
    const LISTED: usize = 3;
    let mut listed: Vec<String> = presented
        .iter()
        .take(LISTED)
        .map(|name| {
            let name = name
                .strip_prefix("DnsName(\"")
                .or_else(|| name.strip_prefix("IpAddress("))
                .map_or(name.as_str(), |rest| rest.trim_end_matches(['"', ')']));
            let allowed = |c: &char| c.is_ascii_alphanumeric() || ".-_*:".contains(*c);
            name.chars().filter(allowed).take(100).collect()
        })
        .collect();
    if presented.len() > LISTED {
        listed.push(format!("{} more", presented.len() - LISTED));
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::PeerMisbehaved;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn names_from_a_certificate_are_listed_without_types_and_control_characters() {
        for (presented, text) in [
            (vec!["DnsName(\"*.a.example\")"], "*.a.example"),
            (
                vec!["a.example", "IpAddress(10.0.0.1)"],
                "a.example, 10.0.0.1",
            ),
            (vec!["a", "b", "c", "d", "e"], "a, b, c, 2 more"),
            (vec!["a\r\nb \u{1b}[31m"], "ab31m"),
        ] {
            let presented: Vec<String> = presented.into_iter().map(String::from).collect();
            assert_eq!(names(&presented), text);
        }
    }

    #[test]
    fn a_date_error_shows_the_dates_of_the_device_the_certificate_and_the_server() {
        let at =
            |seconds| rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let dates = Dates {
            here: 0,
            server: Some(1_767_852_332),
            validity: Some((at(1_735_689_600), at(1_893_456_000))),
        };
        for (problem, date) in [
            (
                CertificateError::NotValidYetContext {
                    time: at(0),
                    not_before: at(1_735_689_600),
                },
                "a.example is not valid before 2025-01-01 00:00:00 UTC or after 2030-01-01 00:00:00 UTC; this",
            ),
            (
                CertificateError::ExpiredContext {
                    time: at(0),
                    not_after: at(1_893_456_000),
                },
                "a.example expired on 2030-01-01 00:00:00 UTC (valid from 2025-01-01 00:00:00 UTC), and",
            ),
            (
                CertificateError::NotValidYetContext {
                    time: at(0),
                    not_before: at(1_893_456_000),
                },
                "a CA in its chain, is not valid before 2030-01-01 00:00:00 UTC; this",
            ),
            (
                CertificateError::ExpiredContext {
                    time: at(0),
                    not_after: at(1_735_689_600),
                },
                "a CA in its chain, expired on 2025-01-01 00:00:00 UTC, and",
            ),
        ] {
            let message = tls("a.example", &problem.into(), b"", dates).message;
            for part in [date, "1970-01-01 00:00:00", "it is 2026-01-08 06:05:32"] {
                assert!(message.contains(part), "{message}");
            }
            assert!(!message.contains("  "), "{message}");
        }
    }

    /// The errors of a handshake that can be constructed here.
    fn errors() -> Vec<(Error, Status)> {
        use webpki::Error as Pki;
        let mut errors: Vec<(Error, Status)> = [
            CertificateError::Revoked,
            CertificateError::Expired,
            CertificateError::NotValidForName,
            CertificateError::BadEncoding,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::InvalidPurpose,
            CertificateError::ApplicationVerificationFailure,
            CertificateError::BadSignature,
            CertificateError::UnknownIssuer,
        ]
        .map(|error| (error.into(), Status::Tls))
        .into();
        let webpki_errors = [
            Pki::CaUsedAsEndEntity,
            Pki::EndEntityUsedAsCa,
            Pki::UnsupportedCertVersion,
            Pki::UnsupportedCriticalExtension,
            Pki::NameConstraintViolation,
            Pki::PathLenConstraintViolated,
            Pki::MaximumPathDepthExceeded,
            Pki::EmptyEkuExtension,
            Pki::SignatureAlgorithmMismatch,
            Pki::MaximumPathBuildCallsExceeded,
            Pki::ExtensionValueInvalid,
            Pki::UnsupportedNameType,
        ];
        let other = |error: OtherError| (CertificateError::Other(error).into(), Status::Tls);
        errors.extend(webpki_errors.map(|error| other(OtherError(Arc::new(error)))));
        errors.push(other(OtherError(Arc::new(io::Error::other("unknown")))));
        let findings = [
            Finding::ShortKey,
            Finding::ShortKeyOfCa,
            Finding::NotItsKey,
            Finding::NeverValid,
        ];
        errors.extend(findings.map(|finding| (finding.into(), Status::Tls)));
        errors.extend((0..=255).map(|number| {
            (
                Error::AlertReceived(AlertDescription::from(number)),
                Status::Tls,
            )
        }));
        errors.extend(
            [
                PeerIncompatible::NoCipherSuitesInCommon.into(),
                PeerIncompatible::ServerDoesNotSupportTls12Or13.into(),
                PeerMisbehaved::TooManyEmptyFragments.into(),
                InvalidMessage::InvalidContentType.into(),
                InvalidMessage::HandshakePayloadTooLarge.into(),
                Error::NoCertificatesPresented,
                Error::DecryptError,
                Error::FailedToGetRandomBytes,
                Error::General("Strange(Thing)".into()),
            ]
            .map(|error| (error, Status::Tls)),
        );
        errors
    }

    #[test]
    fn every_tls_error_names_the_host_and_contains_no_debug_output() {
        let dates = Dates {
            here: 0,
            server: None,
            validity: None,
        };
        for (error, status) in errors() {
            let failure = tls("a.example", &error, b"", dates);
            assert_eq!(failure.status, status, "{failure}");
            let text = format!("{failure} {}", problem(&error));
            assert!(failure.message.contains("a.example"), "{text}");
            let chars: Vec<char> = text.chars().collect();
            let is_call = |pair: &[char]| pair[0].is_alphanumeric() && pair[1] == '(';
            assert!(!chars.windows(2).any(is_call), "{text}");
            assert!(!text.contains("{ ") && !text.contains("  "), "{text}");
        }
    }
}
