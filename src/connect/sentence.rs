//! What goes wrong under TLS, in sentences for the technician in the store. Pure.
#![forbid(unsafe_code)]

use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::Status;
use crate::clock::utc;

use super::{Endpoint, Failure, Validity, race};

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

/// What time it is, in Unix seconds.
#[derive(Clone, Copy)]
pub(super) struct Dates {
    /// By this device.
    pub here: i64,
    /// By the server, if it ever said so.
    pub server: Option<i64>,
    /// Of the server's own certificate, if that is out of date.
    pub validity: Option<Validity>,
}

/// What rustls says about `host`, in words. `start` is what the server's last bytes begin with.
pub(super) fn tls(host: &str, error: &Error, start: &[u8], dates: Dates) -> Failure {
    use PeerIncompatible as Peer;
    let (status, message) = match error {
        Error::InvalidCertificate(problem) => certificate(host, problem, dates),
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

fn certificate(host: &str, problem: &CertificateError, dates: Dates) -> (Status, String) {
    let date =
        |time: rustls::pki_types::UnixTime| utc(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    let here = utc(dates.here);
    // Seen in an answer that came over TLS, and carried on by a clock that nobody can set.
    let server = dates.server.map_or(String::new(), |now| {
        format!(" (by the server's clock, as last seen, it is {})", utc(now))
    });
    // rustls does not say whose certificate it means.
    let one_of_several = || format!("{host}, or of a CA that vouches for it,");
    match problem {
        CertificateError::ExpiredContext { not_after, .. } => {
            let (whose, from) = match dates.validity {
                Some((from, until)) if until == *not_after => (
                    host.to_owned(),
                    format!(" (it was valid from {} on)", date(from)),
                ),
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
                    (host.to_owned(), format!(" (until {})", date(until)))
                }
                _ => (one_of_several(), String::new()),
            };
            (
                Status::Clock,
                format!(
                    "the certificate of {whose} is valid from {} on{until}, and this device's date is \
                     {here}{server}: set the device's date",
                    date(*not_before)
                ),
            )
        }
        CertificateError::Expired | CertificateError::NotValidYet => (
            Status::Clock,
            format!(
                "the certificate of {host} is not valid at this device's date, {here}{server}: set \
                 the device's date"
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
        CertificateError::BadSignature => (
            Status::Tls,
            format!(
                "the certificate of {host} was issued by somebody with the name of a CA that is \
                 trusted here, but with another key: that CA's certificate was replaced, perhaps, \
                 and the new one has to be added"
            ),
        ),
        // Only its name tells: the type is not one that rustls shows.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => (
            Status::Tls,
            format!(
                "{host} shows a CA's certificate (a self-signed one, perhaps) as its own: it needs \
                 one that a CA has issued to it"
            ),
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
    use std::time::Duration;

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
    fn a_date_that_does_not_fit_is_shown_with_the_certificates_and_the_servers() {
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
                "a.example is valid from 2025-01-01 00:00:00 UTC on (until 2030-01-01 00:00:00 UTC), and",
            ),
            (
                CertificateError::ExpiredContext {
                    time: at(0),
                    not_after: at(1_893_456_000),
                },
                "a.example expired on 2030-01-01 00:00:00 UTC (it was valid from 2025-01-01 00:00:00 UTC on), and",
            ),
            (
                CertificateError::NotValidYetContext {
                    time: at(0),
                    not_before: at(1_893_456_000),
                },
                "a CA that vouches for it, is valid from 2030-01-01 00:00:00 UTC on, and",
            ),
            (
                CertificateError::ExpiredContext {
                    time: at(0),
                    not_after: at(1_735_689_600),
                },
                "a CA that vouches for it, expired on 2025-01-01 00:00:00 UTC, and",
            ),
            (CertificateError::Expired, ""),
        ] {
            let message = tls("a.example", &problem.into(), b"", dates).message;
            for part in [date, "1970-01-01 00:00:00", "it is 2026-01-08 06:05:32"] {
                assert!(message.contains(part), "{message}");
            }
            assert!(!message.contains("  "), "{message}");
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
            let dates = Dates {
                here: 0,
                server: None,
                validity: None,
            };
            let failure = tls("a.example", &error, b"", dates);
            assert_eq!(failure.status, status, "{failure}");
            assert!(failure.message.contains("a.example"), "{failure}");
        }
    }
}
