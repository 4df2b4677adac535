//! Certificates and servers made with OpenSSL: which are trusted, and the message for the others.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{Date, deadline, network, tls_settings};
use crate::clock::Clock;
use crate::connect::{Network, Socket};
use crate::endpoint::Endpoint;
use crate::{Config, Error, Roots, Status};

const CA: &str = "basicConstraints=critical,CA:TRUE";
const SERVER: &str = "basicConstraints=critical,CA:FALSE";
const SAN: &str = "subjectAltName=DNS:till.example,IP:192.0.2.1";

/// Name (with a plus at its end: another key with the same subject), issuer (empty: self-signed), key, digest, days
/// of validity, extensions.
type Certificate = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    i32,
    &'static [&'static str],
);

#[rustfmt::skip]
const CERTIFICATES: &[Certificate] = &[
    ("root", "", "P-256", "sha256", 9000, &[CA]),
    ("root+", "", "P-256", "sha256", 9000, &[CA]),
    ("root-rsa", "", "rsa:2048", "sha256", 9000, &[CA]),
    ("root-1024", "", "rsa:1024", "sha256", 9000, &[CA]),
    ("root-p521", "", "P-521", "sha512", 9000, &[CA]),
    ("root-p384", "", "P-384", "sha384", 9000, &[CA]),
    ("root-ed25519", "", "ed25519", "", 9000, &[CA]),
    ("root-named", "", "P-256", "sha256", 9000, &[CA, "nameConstraints=critical,permitted;DNS:other.example"]),
    ("root-excluding", "", "P-256", "sha256", 9000, &[CA, "nameConstraints=critical,excluded;DNS:till.example"]),
    ("unrelated", "", "P-256", "sha256", 9000, &[CA]),
    ("inter", "root", "P-256", "sha256", 5000, &[CA]),
    ("inter-short", "root", "P-256", "sha256", 5, &[CA]),
    ("inter-1024", "root", "rsa:1024", "sha256", 5000, &[CA]),
    ("inter-0", "root", "P-256", "sha256", 5000, &["basicConstraints=critical,CA:TRUE,pathlen:0"]),
    ("inter-2", "inter-0", "P-256", "sha256", 5000, &[CA]),
    ("inter-no-ca", "root", "P-256", "sha256", 5000, &[SERVER]),
    ("inter-client", "root", "P-256", "sha256", 5000, &[CA, "extendedKeyUsage=clientAuth"]),

    ("good", "root", "P-256", "sha256", 10, &[SERVER, SAN]),
    ("good-p384", "root-p384", "P-384", "sha384", 10, &[SERVER, SAN]),
    ("good-ed25519", "root-ed25519", "ed25519", "", 10, &[SERVER, SAN]),
    ("good-rsa", "root-rsa", "rsa:2048", "sha256", 10, &[SERVER, SAN]),
    ("good-inter", "inter", "P-256", "sha256", 10, &[SERVER, SAN]),
    ("good-inter-short", "inter-short", "P-256", "sha256", 10, &[SERVER, SAN]),
    ("wildcard", "root", "P-256", "sha256", 10, &[SERVER, "subjectAltName=DNS:*.shop.example"]),
    ("other", "root", "P-256", "sha256", 10, &[SERVER, "subjectAltName=DNS:other.example"]),
    ("many", "root", "P-256", "sha256", 10, &[SERVER, "subjectAltName=DNS:a.example,DNS:b.example,DNS:c.example,DNS:d.example"]),
    ("as-name", "root", "P-256", "sha256", 10, &[SERVER, "subjectAltName=DNS:192.0.2.1"]),
    ("no-names", "root", "P-256", "sha256", 10, &[SERVER]),
    ("mail-only", "root", "P-256", "sha256", 10, &[SERVER, "subjectAltName=email:a@till.example"]),
    ("hostile", "root", "P-256", "sha256", 10, &[SERVER, "subjectAltName=DNS:x(y{z}.example"]),
    ("rsa-1024", "root", "rsa:1024", "sha256", 10, &[SERVER, SAN]),
    ("by-1024", "root-1024", "P-256", "sha256", 10, &[SERVER, SAN]),
    ("by-inter-1024", "inter-1024", "P-256", "sha256", 10, &[SERVER, SAN]),
    ("sha1", "root-rsa", "P-256", "sha1", 10, &[SERVER, SAN]),
    ("sha1-ec", "root", "P-256", "sha1", 10, &[SERVER, SAN]),
    ("p521", "root", "P-521", "sha256", 10, &[SERVER, SAN]),
    ("by-p521", "root-p521", "P-256", "sha256", 10, &[SERVER, SAN]),
    ("by-p521-sha512", "root-p521", "P-256", "sha512", 10, &[SERVER, SAN]),
    ("constrained", "root-named", "P-256", "sha256", 10, &[SERVER, SAN]),
    ("excluded", "root-excluding", "P-256", "sha256", 10, &[SERVER, SAN]),
    ("critical", "root", "P-256", "sha256", 10, &[SERVER, SAN, "1.2.3.4=critical,ASN1:UTF8String:x"]),
    ("version-1", "root", "P-256", "sha256", 10, &[]),
    ("too-deep", "inter-2", "P-256", "sha256", 10, &[SERVER, SAN]),
    ("by-no-ca", "inter-no-ca", "P-256", "sha256", 10, &[SERVER, SAN]),
    ("client", "root", "P-256", "sha256", 10, &[SERVER, SAN, "extendedKeyUsage=clientAuth"]),
    ("by-client", "inter-client", "P-256", "sha256", 10, &[SERVER, SAN, "extendedKeyUsage=serverAuth"]),
    ("own", "", "P-256", "sha256", 10, &[SERVER, SAN]),
    ("own-ca", "", "P-256", "sha256", 10, &[CA, SAN]),
    ("self-signed-rsa", "", "rsa:2048", "sha256", 10, &[CA, SAN]),
    ("by-unrelated", "unrelated", "P-256", "sha256", 10, &[SERVER, SAN]),
    ("other-by-unrelated", "unrelated", "P-256", "sha256", 10, &[SERVER, "subjectAltName=DNS:other.example"]),
];

/// The trusted certificate, the certificates that the server presents, its options, the host of the URL, the device's
/// date in days from today, and the result: the status and a part of the message.
type Server = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    i64,
    Status,
    &'static str,
);

const TILL: &str = "till.example";
const OTHER_KEY: &str = "was signed with another key: if that CA was replaced";
const NO_ISSUER: &str = "does not send its intermediate certificate";
const SHORT: &str = "has an RSA key of less than 2048 bits";
const SHORT_CA: &str = "was issued with an RSA key of less than 2048 bits";
const DISALLOWED: &str = "for a name that its CA may not issue certificates for";
const CA_TRUE: &str = "is a CA's (CA:TRUE): the server needs one with CA:FALSE";
const NAMES: &str = "is for other.example: wrong host name";
const CN_ONLY: &str = "is for no host: only subjectAltName counts, not the common name (CN)";

#[rustfmt::skip]
const SERVERS: &[Server] = &[
    // Trusted.
    ("root", "good", "", TILL, 0, Status::Ok, ""),
    ("root", "good", "-tls1_2", TILL, 0, Status::Ok, ""),
    ("root", "good", "", "192.0.2.1", 0, Status::Ok, ""),
    ("root", "wildcard", "", "till.shop.example", 0, Status::Ok, ""),
    ("root-p384", "good-p384", "", TILL, 0, Status::Ok, ""),
    ("root-ed25519", "good-ed25519", "", TILL, 0, Status::Ok, ""),
    ("root-rsa", "good-rsa", "", TILL, 0, Status::Ok, ""),
    ("root-rsa", "good-rsa", "-tls1_2", TILL, 0, Status::Ok, ""),
    ("root", "good-inter inter", "", TILL, 0, Status::Ok, ""),
    ("inter", "good-inter", "", TILL, 0, Status::Ok, ""),
    ("own", "own", "", TILL, 0, Status::Ok, ""),
    // Dates.
    ("root", "good", "", TILL, 20, Status::Clock, "till.example expired on 20"),
    ("root", "good", "-tls1_2", TILL, 20, Status::Clock, "if that date is wrong, set it"),
    ("root", "good", "", TILL, -20_000, Status::Clock, "till.example is not valid before 20"),
    // Before 1970.
    ("root", "good", "", TILL, -30_000, Status::Clock, "this device's date is 19"),
    ("root", "good-inter-short inter-short", "", TILL, 7, Status::Clock, "till.example, or of a CA in its chain, expired on 20"),
    ("root", "good-inter-short inter-short", "", TILL, 20, Status::Clock, "till.example expired on 20"),
    ("root", "good", "", "a.example", 20, Status::Tls, "is for till.example, 192.0.2.1: wrong host name"),
    ("root", "other", "", TILL, -20_000, Status::Tls, NAMES),
    ("unrelated", "good", "", TILL, 20, Status::Tls, NO_ISSUER),
    ("root", "by-unrelated", "", TILL, -20_000, Status::Tls, NO_ISSUER),
    ("root", "other-by-unrelated", "", TILL, 20, Status::Tls, NO_ISSUER),
    ("root", "client", "", TILL, 20, Status::Tls, "is not for a server: its extended key usage"),
    ("root", "good-inter-short", "", TILL, 20, Status::Tls, NO_ISSUER),
    ("own-ca", "own-ca", "", TILL, 20, Status::Tls, CA_TRUE),
    // Names.
    ("root", "other", "", TILL, 0, Status::Tls, NAMES),
    ("root", "many", "", TILL, 0, Status::Tls, "is for a.example, b.example, c.example, 1 more: wrong"),
    ("root", "as-name", "", "192.0.2.1", 0, Status::Tls, "(DNS:192.0.2.1), not as an address: its subjectAltName needs IP:192.0.2.1"),
    ("root", "other", "", "192.0.2.1", 0, Status::Tls, NAMES),
    ("root", "wildcard", "", "a.till.shop.example", 0, Status::Tls, "is for *.shop.example: wrong host name"),
    ("root", "no-names", "", TILL, 0, Status::Tls, CN_ONLY),
    ("root", "mail-only", "", TILL, 0, Status::Tls, "wrong host name"),
    ("root", "hostile", "", TILL, 0, Status::Tls, "is for xyz.example: wrong host name"),
    // Issuers.
    ("unrelated", "good", "", TILL, 0, Status::Tls, NO_ISSUER),
    ("root", "good-inter", "", TILL, 0, Status::Tls, NO_ISSUER),
    ("root", "own", "", TILL, 0, Status::Tls, NO_ISSUER),
    ("root+", "good", "", TILL, 0, Status::Tls, OTHER_KEY),
    ("root", "own-ca", "", TILL, 0, Status::Tls, CA_TRUE),
    ("own-ca", "own-ca", "", TILL, 0, Status::Tls, CA_TRUE),
    ("self-signed-rsa", "self-signed-rsa", "-tls1_2", TILL, 0, Status::Tls, CA_TRUE),
    ("root", "by-no-ca inter-no-ca", "", TILL, 0, Status::Tls, "was issued by a certificate that is not a CA"),
    ("root", "too-deep inter-2 inter-0", "", TILL, 0, Status::Tls, "(path length)"),
    ("root-named", "constrained", "", TILL, 0, Status::Tls, DISALLOWED),
    ("root-excluding", "excluded", "", TILL, 0, Status::Tls, DISALLOWED),
    ("root", "client", "", TILL, 0, Status::Tls, "is not for a server: its extended key usage"),
    ("root", "by-client inter-client", "", TILL, 0, Status::Tls, "lacks serverAuth"),
    // Keys and signatures.
    ("root", "rsa-1024", "", TILL, 0, Status::Tls, SHORT),
    ("root", "rsa-1024", "-tls1_2", TILL, 0, Status::Tls, SHORT),
    ("root-1024", "by-1024", "", TILL, 0, Status::Tls, SHORT_CA),
    ("root", "by-inter-1024 inter-1024", "", TILL, 0, Status::Tls, SHORT_CA),
    ("root-rsa", "sha1", "", TILL, 0, Status::Tls, "has a signature that is not accepted here, such as SHA-1"),
    ("root", "sha1-ec", "", TILL, 0, Status::Tls, "has a signature that is not accepted here, such as SHA-1"),
    ("root", "p521", "", TILL, 0, Status::Tls, "handshake_failure (40)"),
    ("root-p521", "by-p521", "", TILL, 0, Status::Tls, "with a key that is not accepted here, such as P-521"),
    ("root-p521", "by-p521-sha512", "", TILL, 0, Status::Tls, "has a signature that is not accepted here, such as SHA-1 or P-521"),
    // Form.
    ("root", "critical", "", TILL, 0, Status::Tls, "has a critical extension that this library does not know"),
    ("root", "version-1", "", TILL, 0, Status::Tls, "is not of X.509 version 3"),
    // Servers.
    ("root", "good", "-tls1 -cipher ALL:@SECLEVEL=0", TILL, 0, Status::Tls, "only TLS versions older than 1.2"),
    ("root", "good", "-tls1_1 -cipher ALL:@SECLEVEL=0", TILL, 0, Status::Tls, "only TLS versions older than 1.2"),
    ("root", "good", "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", TILL, 0, Status::Tls, "handshake_failure (40): no cipher"),
    ("root", "good", "-tls1_3 -groups X448", TILL, 0, Status::Tls, "handshake_failure (40): no cipher, key exchange"),
    ("root-rsa", "good-rsa", "-tls1_2 -cipher AES128-SHA256", TILL, 0, Status::Tls, "handshake_failure (40): no cipher"),
    ("root", "good", "-tls1_2 -Verify 1", TILL, 0, Status::Tls, "handshake_failure (40)"),
    ("root", "good", "-servername only.example -servername_fatal", TILL, 0, Status::Tls, "unrecognized_name (112): it does not serve this host name"),
    ("root", "huge", "", TILL, 0, Status::Tls, "certificates are too large, more than 64 KiB"),
];

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("clopos-pki-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(
            path.join("settings"),
            "[req]\ndistinguished_name=dn\n[dn]\n",
        )
        .unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.0)
            .output()
            .expect("openssl is installed");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    fn make(&self, (name, issuer, key, digest, days, extensions): &Certificate) {
        let (key_file, file) = (format!("{name}.key"), format!("{name}.pem"));
        let days = days.to_string();
        let (issuer_file, issuer_key) = (format!("{issuer}.pem"), format!("{issuer}.key"));
        let subject = format!("/CN={TILL}/O={}", name.trim_end_matches('+'));
        let curve = format!("ec_paramgen_curve:{key}");
        let digest = format!("-{digest}");
        let mut arguments = vec!["req", "-config", "settings", "-nodes", "-keyout", &key_file];
        match *key {
            "ed25519" | "rsa:1024" | "rsa:2048" => arguments.extend(["-newkey", *key]),
            _ => arguments.extend(["-newkey", "ec", "-pkeyopt", &curve]),
        }
        arguments.extend(["-subj", &subject]);
        if extensions.is_empty() {
            let request = format!("{name}.csr");
            arguments.extend(["-new", "-out", &request]);
            self.openssl(&arguments);
            let arguments = [
                "x509",
                "-req",
                "-in",
                &request,
                "-out",
                &file,
                "-CA",
                &issuer_file,
                "-CAkey",
                &issuer_key,
                "-days",
                &days,
                "-set_serial",
                "7",
            ];
            return self.openssl(&arguments);
        }
        arguments.extend(["-x509", "-days", &days, "-out", &file]);
        if digest != "-" {
            arguments.push(&digest);
        }
        if !issuer.is_empty() {
            arguments.extend(["-CA", &issuer_file, "-CAkey", &issuer_key]);
        }
        for extension in *extensions {
            arguments.extend(["-addext", extension]);
        }
        self.openssl(&arguments);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `openssl s_server`. Dropping it kills the process.
struct OpenSsl {
    process: Child,
    address: SocketAddr,
}

impl OpenSsl {
    fn start(folder: &Path, presented: &str, options: &str) -> OpenSsl {
        let (leaf, chain) = presented.split_once(' ').unwrap_or((presented, ""));
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1"]);
        command.args([
            "-cert",
            &format!("{leaf}.pem"),
            "-key",
            &format!("{leaf}.key"),
        ]);
        // The server must accept weak keys and signatures, so that the client refuses them.
        if !options.contains("-cipher") {
            command.args(["-cipher", "DEFAULT:@SECLEVEL=0"]);
        }
        if !chain.is_empty() {
            let chain: String = chain
                .split(' ')
                .map(|name| fs::read_to_string(folder.join(format!("{name}.pem"))).unwrap())
                .collect();
            let path = folder.join("chain.pem");
            fs::write(&path, chain).unwrap();
            command.arg("-cert_chain").arg(path);
        }
        if options.contains("-servername") {
            let (cert2, key2) = (format!("{leaf}.pem"), format!("{leaf}.key"));
            command.args(["-cert2", &cert2, "-key2", &key2]);
        }
        let mut process = command
            .args(options.split_whitespace())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT ")?.parse().ok())
            .expect("openssl started");
        // Reads the rest of its output, so that it does not block.
        thread::spawn(move || lines.for_each(drop));
        OpenSsl {
            process,
            address: ready,
        }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a text contains debug output such as `Foo(Bar` or `Foo { bar`.
fn has_debug_output(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    chars
        .windows(2)
        .any(|pair| pair[0].is_alphanumeric() && pair[1] == '(')
        || text.contains("{ ")
        || text.contains("::")
}

#[test]
fn each_certificate_and_server_gives_its_status_and_message() {
    let folder = Folder::new();
    let mut roots = HashMap::new();
    for certificate in CERTIFICATES {
        folder.make(certificate);
        let path = folder.path(&format!("{}.pem", certificate.0));
        roots.insert(certificate.0, fs::read(path).unwrap());
    }
    // A certificate of more than 64 KiB, the maximum size of a message.
    let many: Vec<_> = (0..2500)
        .map(|i| format!("DNS:till-{i}.a-restaurant.example"))
        .collect();
    let settings = "[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\nsubjectAltName=";
    fs::write(
        folder.path("huge.conf"),
        format!("{settings}{}\n", many.join(",")),
    )
    .unwrap();
    folder.openssl(&[
        "req",
        "-config",
        "huge.conf",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=x",
        "-keyout",
        "huge.key",
        "-out",
        "huge.pem",
        "-CA",
        "root.pem",
        "-CAkey",
        "root.key",
    ]);

    let mut wrong = Vec::new();
    for (trusted, presented, options, host, days, status, part) in SERVERS {
        let what = format!("{presented} {options} for {host}, {trusted} trusted, {days} days");
        let server = OpenSsl::start(&folder.0, presented, options);
        // A user can add the certificate.
        let mut config = Config::new();
        config
            .set_roots(Roots::None)
            .add_ca_pem(&roots[trusted])
            .unwrap();
        let mut added = RootCertStore::empty();
        added
            .add(CertificateDer::from_pem_slice(&roots[trusted]).unwrap())
            .unwrap();
        let now = Clock::System.unix_seconds() + days * 86_400;
        let network = Network {
            roots: Roots::None,
            added,
            clock: Clock::Injected(Arc::new(Date(now))),
            ..network()
        };
        let tls = tls_settings(&network);
        let target = Endpoint {
            host: (*host).to_owned(),
            port: 443,
        };
        let reach = || {
            let stream = TcpStream::connect(server.address)?;
            Ok(Socket::new(Arc::new(stream), server.address.ip()))
        };
        let result = tls.connect(reach, &target, &deadline(10_000));
        let (result_status, message) = match result {
            Ok(_) => (Status::Ok, String::new()),
            Err(ureq::Error::Other(other)) => {
                let failure = other.downcast::<Error>().unwrap();
                (failure.status, failure.message.into_owned())
            }
            Err(other) => panic!("{what}: {other:?}"),
        };
        let has_host = result_status == Status::Ok || message.contains(host);
        let is_expected = result_status == *status && message.contains(part) && has_host;
        if !is_expected || has_debug_output(&message) {
            wrong.push(format!("{what}: {result_status:?}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
