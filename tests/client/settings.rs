//! Invalid settings are refused by their setters, with a message that says what to do instead.

use super::*;

fn assert_refused(what: &str, result: Result<&mut Config, Error>, part: &str) {
    let Err(error) = result.map(drop) else {
        panic!("{what} was accepted");
    };
    let error = recorded(error);
    assert_eq!(error.status(), Status::InvalidArgument, "{what}: {error}");
    assert!(error.message().contains(part), "{what}: {error}");
    assert!(!error.message().contains("hunter2"), "{what}: {error}");
}

/// The syntax of a proxy's URL is tested in `src/connect/proxy/url.rs`.
#[test]
fn an_invalid_proxy_url_is_refused_by_its_setter() {
    let long = format!("http://{}:3128", "x".repeat(3000));
    for (url, part) in [
        ("", "empty"),
        ("socks5://u:hunter2@proxy:1080", "SOCKS"),
        ("http://proxy:3128\n", "control"),
        ("http://u:hunter2\r\nX: y@proxy:1", "control"),
        (&long, "2048"),
    ] {
        assert_refused(url, Config::new().set_proxy(url), part);
    }
    // Only the lower-case word is special: this is a host name.
    assert!(Config::new().set_proxy("Environment").is_ok());
}

#[test]
fn invalid_pem_is_refused_by_its_setter() {
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
    for (what, bytes, part) in [
        ("nothing", &b""[..], "empty"),
        ("spaces", b" \r\n\t", "no BEGIN CERTIFICATE"),
        ("half a certificate", cut.as_bytes(), "cut off"),
        ("a private key", key.as_bytes(), "private key"),
        ("an RSA key", old_key.as_bytes(), "private key"),
        ("a locked key", locked.as_bytes(), "private key"),
        (
            "a certificate and a locked key",
            with_locked.as_bytes(),
            "private key",
        ),
        ("an SSH key", ssh.as_bytes(), "private key"),
        ("half a key", &key.as_bytes()[..40], "private key"),
        (
            "a certificate and a key",
            with_key.as_bytes(),
            "private key",
        ),
        ("10 MiB", huge.as_bytes(), "1 MiB"),
        ("10 MiB of spaces", spaces.as_bytes(), "1 MiB"),
        ("a path", b"/etc/ssl/certs/ca.pem", "not its path"),
        ("a Windows path", br"C:\ProgramData\ca.pem", "not its path"),
        (
            "a certificate request",
            request.as_bytes(),
            "no BEGIN CERTIFICATE",
        ),
        ("a damaged certificate", not_base64.as_bytes(), "damaged"),
        (
            "a certificate that is not X.509",
            no_certificate.as_bytes(),
            "damaged or not X.509",
        ),
        (
            "an indented certificate",
            indented.as_bytes(),
            "before a BEGIN CERTIFICATE",
        ),
        ("DER", &der, "DER (binary)"),
        ("UTF-16", &utf16, "no BEGIN CERTIFICATE"),
        ("garbage", &[0xFF; 1000], "no BEGIN CERTIFICATE"),
    ] {
        assert_refused(what, Config::new().add_ca_pem(bytes), part);
    }
}

#[test]
fn a_refused_setting_changes_nothing() {
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

#[test]
fn a_credential_with_an_outer_blank_or_quote_is_named_once_in_the_log() {
    for (id, secret, brand, integrator, named) in [
        ("id", "a secret", "it's", "7", &[][..]),
        ("id", "secret ", "brand", "7", &["client_secret"]),
        (
            "\u{feff}id",
            "secret",
            "brand",
            "7\u{a0}",
            &["client_id", "integrator_id"],
        ),
        (
            "id",
            "\"secret\"",
            "\u{201c}brand",
            "7'",
            &["client_secret", "brand", "integrator_id"],
        ),
    ] {
        let fixture = Fixture::start();
        let credentials = Credentials::new(id, secret, brand, integrator).unwrap();
        let client = fixture.client_for(credentials, &fixture.config());
        assert_eq!(status(client.authenticate(None)), Status::Rejected);
        assert_eq!(status(client.authenticate(None)), Status::Rejected);
        let mut lines = fixture.log.lines();
        lines.retain(|(_, line)| line.contains("quote"));
        // The whole line, which shows nothing of the value.
        let expected: Vec<_> = named
            .iter()
            .map(|name| {
                let line = format!(
                    "{name} begins or ends with a space or a quote: check how it was copied"
                );
                (LogLevel::Warn, line)
            })
            .collect();
        assert_eq!(lines, expected);
    }
}
