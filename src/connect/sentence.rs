//! What goes wrong under TLS, in sentences for the technician in the store. Pure.
#![forbid(unsafe_code)]

use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::Status;
use crate::clock::utc;

use super::{Endpoint, Failure, race};

/// The connection ended in the middle of the handshake. A server that *refuses* says so with an
/// alert; without one it is an overloaded or restarting server, or something on the way that cut
/// the line, and worth another try: CONNECT, not TLS.
pub(super) fn closed(target: &Endpoint, error: Option<&io::Error>) -> Failure {
    let how = match error {
        Some(error) => race::reason(error),
        None => "closed by the other side without a reason".into(),
    };
    Failure::new(
        Status::Connect,
        format!("the connection to {target} broke during the TLS handshake: {how}"),
    )
}

/// What rustls says about `host`, in words. `start` is what the server's last bytes begin with,
/// `now` this device's date.
pub(super) fn tls(host: &str, error: &Error, start: &[u8], now: i64) -> Failure {
    use PeerIncompatible as Peer;
    let (status, message) = match error {
        Error::InvalidCertificate(problem) => certificate(host, problem, now),
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(
            Peer::ServerDoesNotSupportTls12Or13
            | Peer::ServerTlsVersionIsDisabledByOurConfig
            | Peer::Tls12NotOffered
            | Peer::Tls12NotOfferedOrEnabled,
        ) => (
            Status::Tls,
            format!("{host} offers only TLS versions older than 1.2, which are not secure"),
        ),
        Error::AlertReceived(alert) => (
            Status::Tls,
            format!("{host} refused the TLS connection (alert {alert:?})"),
        ),
        Error::PeerIncompatible(_) => (
            Status::Tls,
            format!("{host} offers no TLS parameters that this library accepts: {error}"),
        ),
        Error::InvalidMessage(_) if start.starts_with(b"HTTP/") || start.starts_with(b"<") => (
            Status::Tls,
            format!(
                "{host} answered plain HTTP where TLS was expected: a wrong port in the URL, or a \
                 login page of the network (captive portal)"
            ),
        ),
        Error::InvalidMessage(_) => (
            Status::Tls,
            format!("{host} answered something that is not TLS: wrong port in the URL?"),
        ),
        _ => (Status::Tls, format!("no TLS connection to {host}: {error}")),
    };
    Failure::new(status, message)
}

fn certificate(host: &str, problem: &CertificateError, now: i64) -> (Status, String) {
    let date =
        |time: rustls::pki_types::UnixTime| utc(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    let here = utc(now);
    match problem {
        CertificateError::ExpiredContext { not_after, .. } => (
            Status::Clock,
            format!(
                "the certificate of {host} expired on {}, and this device's date is {here}: if \
                 that date is wrong, set it; if it is right, the server needs a new certificate",
                date(*not_after)
            ),
        ),
        CertificateError::NotValidYetContext { not_before, .. } => (
            Status::Clock,
            format!(
                "the certificate of {host} is valid from {} on, and this device's date is {here}: \
                 set the device's date",
                date(*not_before)
            ),
        ),
        CertificateError::Expired | CertificateError::NotValidYet => (
            Status::Clock,
            format!(
                "the certificate of {host} is not valid at this device's date, {here}: set the \
                 device's date"
            ),
        ),
        CertificateError::UnknownIssuer => (
            Status::Tls,
            format!(
                "the certificate of {host} was issued by nobody that is trusted here: a \
                 TLS-inspecting proxy, perhaps, whose CA certificate has to be added"
            ),
        ),
        CertificateError::NotValidForNameContext { presented, .. } => (
            Status::Tls,
            format!(
                "the certificate that {host} shows is for {}: wrong host name, or something on \
                 the way answers in its place",
                names(presented)
            ),
        ),
        CertificateError::NotValidForName => (
            Status::Tls,
            format!("the certificate that {host} shows is for another name"),
        ),
        CertificateError::Revoked => (
            Status::Tls,
            format!("the certificate of {host} was revoked"),
        ),
        other => (
            Status::Tls,
            format!("the certificate of {host} is not acceptable: {other}"),
        ),
    }
}

/// A few of the names that a certificate is for. They come from the network: nothing but what a
/// name is made of gets through.
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
    if listed.is_empty() {
        return "no host at all".into();
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{InvalidMessage, PeerMisbehaved};

    #[test]
    fn names_from_a_certificate_are_listed_without_anything_else() {
        for (presented, text) in [
            (vec![], "no host at all"),
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
    fn every_sentence_names_the_host() {
        for (error, status) in [
            (CertificateError::Revoked.into(), Status::Tls),
            (CertificateError::Expired.into(), Status::Clock),
            (CertificateError::NotValidForName.into(), Status::Tls),
            (CertificateError::BadEncoding.into(), Status::Tls),
            (PeerIncompatible::NoCipherSuitesInCommon.into(), Status::Tls),
            (
                PeerIncompatible::ServerDoesNotSupportTls12Or13.into(),
                Status::Tls,
            ),
            (PeerMisbehaved::TooManyEmptyFragments.into(), Status::Tls),
            (InvalidMessage::InvalidContentType.into(), Status::Tls),
            (Error::DecryptError, Status::Tls),
        ] {
            let failure = tls("a.example", &error, b"", 0);
            assert_eq!(failure.status, status, "{failure}");
            assert!(failure.message.contains("a.example"), "{failure}");
        }
    }
}
