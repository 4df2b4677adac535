//! Settings that cannot work are refused where they are made, in words that say what to do instead.

use clopos_auth::{Config, Error, Status};
use clopos_sandbox::{Sandbox, Settings};

use crate::support::noted;

fn is_refused(what: &str, result: Result<&mut Config, Error>, words: &str) {
    let Err(error) = result.map(drop) else {
        panic!("{what} was accepted");
    };
    let error = noted(error);
    assert_eq!(error.status(), Status::InvalidArgument, "{what}: {error}");
    assert!(error.message().contains(words), "{what}: {error}");
    assert!(!error.message().contains("hunter2"), "{what}: {error}");
}

/// What a proxy's URL may be is tested in `src/connect/proxy.rs`.
#[test]
fn a_proxy_url_of_a_wrong_kind_is_refused_at_the_setter() {
    let long = format!("http://{}:3128", "x".repeat(3000));
    for (url, words) in [
        ("", "empty"),
        ("socks5://u:hunter2@proxy:1080", "SOCKS"),
        ("http://proxy:3128\n", "control"),
        ("http://u:hunter2\r\nX: y@proxy:1", "control"),
        ("Environment", ""),
        (&long, "2048"),
    ] {
        if url == "Environment" {
            // A name like any other, so it has to be accepted.
            assert!(Config::new().set_proxy(url).is_ok());
            continue;
        }
        is_refused(url, Config::new().set_proxy(url), words);
    }
}

#[test]
fn pem_that_is_none_is_refused_at_the_setter() {
    let sandbox = Sandbox::start(Settings::default()).unwrap();
    let pem = sandbox.ca_pem();
    let cut = &pem[..pem.len() / 2];
    let key = "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n";
    let old_key = key.replace("PRIVATE", "RSA PRIVATE");
    let with_key = format!("{pem}{key}");
    let locked = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let with_locked = format!("{pem}{locked}");
    let ssh = key.replace("PRIVATE", "OPENSSH PRIVATE");
    let huge = pem.repeat(10 * 1024 * 1024 / pem.len());
    let spaces = " ".repeat(10 * 1024 * 1024);
    let not_base64 = pem.replace('M', "*");
    let no_certificate = "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
    let request = key.replace("PRIVATE KEY", "CERTIFICATE REQUEST");
    let indented = format!("{pem}\n  {pem}");
    let der: Vec<u8> = {
        use rustls::pki_types::pem::PemObject;
        rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes())
            .unwrap()
            .to_vec()
    };
    let utf16: Vec<u8> = pem.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (what, bytes, words) in [
        ("nothing", &b""[..], "empty"),
        ("spaces", b" \r\n\t", "no BEGIN CERTIFICATE"),
        ("half a certificate", cut.as_bytes(), "cut off"),
        ("a private key", key.as_bytes(), "private key"),
        ("an RSA key", old_key.as_bytes(), "private key"),
        ("a locked key", locked.as_bytes(), "private key"),
        ("one beside it", with_locked.as_bytes(), "private key"),
        ("an SSH key", ssh.as_bytes(), "private key"),
        ("half a key", &key.as_bytes()[..40], "private key"),
        ("a key beside it", with_key.as_bytes(), "private key"),
        ("10 MiB", huge.as_bytes(), "1 MiB"),
        ("10 MiB of spaces", spaces.as_bytes(), "1 MiB"),
        ("a path", b"/etc/ssl/certs/ca.pem", "not its path"),
        ("a Windows path", br"C:\ProgramData\ca.pem", "not its path"),
        ("a request", request.as_bytes(), "no BEGIN CERTIFICATE"),
        ("a damaged one", not_base64.as_bytes(), "damaged"),
        (
            "something else in one",
            no_certificate.as_bytes(),
            "damaged or not X.509",
        ),
        (
            "an indented one",
            indented.as_bytes(),
            "before a BEGIN CERTIFICATE",
        ),
        ("DER", &der, "DER (binary)"),
        ("UTF-16", &utf16, "no BEGIN CERTIFICATE"),
        ("garbage", &[0xFF; 1000], "no BEGIN CERTIFICATE"),
    ] {
        is_refused(what, Config::new().add_ca_pem(bytes), words);
    }
}

#[test]
fn what_was_refused_leaves_the_settings_as_they_were() {
    let sandbox = Sandbox::start(Settings::default()).unwrap();
    let mut config = Config::new();
    config.add_ca_pem(sandbox.ca_pem().as_bytes()).unwrap();
    config.set_proxy("http://proxy.lan:3128").unwrap();
    let before = format!("{config:?}");
    assert!(config.add_ca_pem(b"/etc/ca.pem").is_err());
    let half = format!("{0}{1}", sandbox.ca_pem(), &sandbox.ca_pem()[..300]);
    assert!(config.add_ca_pem(half.as_bytes()).is_err());
    assert!(config.set_proxy("socks5://proxy").is_err());
    assert_eq!(format!("{config:?}"), before);
}
