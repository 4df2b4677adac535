//! TLS, with rustls as the server.
#![forbid(unsafe_code)]

use super::*;

/// After it the connection is closed.
const LAST_RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// A server for localhost with these versions, which sends this many tickets in TLS 1.3.
fn server_of(
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
    tickets: usize,
) -> ServerConfig {
    let config = authority.server(&localhost());
    let mut limited = ServerConfig::builder_with_provider(config.crypto_provider().clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(config.cert_resolver.clone());
    limited.ticketer = config.ticketer.clone();
    limited.send_tls13_tickets = tickets;
    limited
}

/// Reads a request and sends `response`. Returns the kind of the handshake.
fn serve_one(
    config: &Arc<ServerConfig>,
    mut stream: TcpStream,
    response: Option<&[u8]>,
) -> HandshakeKind {
    let mut connection = ServerConnection::new(config.clone()).unwrap();
    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
    read_request(&mut tls);
    if let Some(response) = response {
        tls.write_all(response).unwrap();
    }
    tls.conn.handshake_kind().unwrap()
}

#[test]
fn head_and_body_are_in_one_record_and_the_second_connection_resumes_the_session() {
    let authority = Authority::new();
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let config = server_of(&authority, versions, 2);
        let (address, handshakes) = serve_tls(config, |tls| tls.write_all(LAST_RESPONSE).unwrap());
        let agent = agent_for(&authority.network(), 2000);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let url = format!("https://localhost:{}/", address.port());
            assert_eq!(post(&agent, &url).unwrap(), "ok");
            let (kind, first) = handshakes.recv().unwrap();
            assert_eq!(kind, expected);
            assert!(first.starts_with(b"POST / ") && first.ends_with(BODY.as_bytes()));
        }
    }
}

/// Some servers refuse sessions: those that request client certificates, or no longer support the extended master
/// secret.
#[test]
fn a_refused_session_is_not_offered_again() {
    let authority = Authority::new();
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        for refuse in [&[21_u8, 3, 3, 0, 2, 2, 40][..], &[]] {
            // More tickets than the client keeps.
            let config = Arc::new(server_of(&authority, versions, 8));
            let (sender, handshakes) = mpsc::channel();
            let mut connections = 0;
            let address = serve(move |mut stream| {
                connections += 1;
                if connections == 2 {
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(refuse);
                    return;
                }
                let kind = serve_one(&config, stream, Some(LAST_RESPONSE));
                sender.send(kind).unwrap();
            });
            let agent = agent_for(&authority.network(), 2000);
            let url = format!("https://localhost:{}/", address.port());
            for _ in 0..2 {
                assert_eq!(post(&agent, &url).unwrap(), "ok");
                assert_eq!(handshakes.recv().unwrap(), HandshakeKind::Full);
            }
            // The new session is offered.
            assert_eq!(post(&agent, &url).unwrap(), "ok");
            assert_eq!(handshakes.recv().unwrap(), HandshakeKind::Resumed);
        }
    }
}

/// A firewall may pass only full handshakes.
#[test]
fn a_session_whose_connection_hung_or_broke_is_not_offered_again() {
    let authority = Authority::new();
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        for is_silent in [true, false] {
            let config = Arc::new(server_of(&authority, versions, 2));
            let (sender, handshakes) = mpsc::channel();
            let mut connections = 0;
            let address = serve(move |mut stream| {
                connections += 1;
                if connections == 2 && is_silent {
                    let _ = stream.read_to_end(&mut Vec::new());
                    return;
                }
                let response = (connections != 2).then_some(LAST_RESPONSE);
                let kind = serve_one(&config, stream, response);
                sender.send(kind).unwrap();
            });
            let agent = agent_for(&authority.network(), 2000);
            let url = format!("https://localhost:{}/", address.port());
            assert_eq!(post(&agent, &url).unwrap(), "ok");
            assert_eq!(handshakes.recv().unwrap(), HandshakeKind::Full);
            post(&agent, &url).unwrap_err();
            if !is_silent {
                assert_eq!(handshakes.recv().unwrap(), HandshakeKind::Resumed);
            }
            assert_eq!(post(&agent, &url).unwrap(), "ok");
            assert_eq!(handshakes.recv().unwrap(), HandshakeKind::Full);
        }
    }
}

#[test]
fn a_response_larger_than_every_buffer_arrives_complete() {
    let authority = Authority::new();
    let text: String = (0..200_000)
        .map(|i| char::from(b'a' + (i % 23) as u8))
        .collect();
    let sent = text.clone();
    let (address, _seen) = serve_tls(authority.server(&localhost()), move |tls| {
        write!(tls, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        for chunk in sent.as_bytes().chunks(7001) {
            write!(tls, "{:x}\r\n", chunk.len()).unwrap();
            tls.write_all(chunk).unwrap();
            tls.write_all(b"\r\n").unwrap();
        }
        tls.write_all(b"0\r\n\r\n").unwrap();
    });
    let agent = agent_for(&authority.network(), 5000);
    assert_eq!(post(&agent, &format!("https://{address}/")).unwrap(), text);
}

/// The input buffer contains the start of a head when a record of the maximum size arrives, followed by small
/// records.
#[test]
fn records_that_do_not_fit_are_read_later_in_order() {
    let authority = Authority::new();
    let body: String = (0..18_000)
        .map(|i| char::from(b'a' + (i % 19) as u8))
        .collect();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let response = [head.as_bytes(), body.as_bytes()].concat();
    for first in [1, 20, 200] {
        let config = Arc::new(authority.server(&localhost()));
        let response = response.clone();
        let address = serve(move |mut stream| {
            let mut connection = ServerConnection::new(config.clone()).unwrap();
            let mut request = [0; 4096];
            let amount = rustls::Stream::new(&mut connection, &mut stream).read(&mut request);
            assert!(amount.unwrap() > BODY.len());
            let (beginning, rest) = response.split_at(first);
            let (record, rest) = rest.split_at(16 * 1024);
            // Sent in one write, so that they are read together.
            let mut flight = Vec::new();
            for text in [beginning, record].into_iter().chain(rest.chunks(300)) {
                connection.writer().write_all(text).unwrap();
                while connection.wants_write() {
                    connection.write_tls(&mut flight).unwrap();
                }
            }
            stream.write_all(&flight).unwrap();
        });
        let agent = agent_for(&authority.network(), 5000);
        let result = post(&agent, &format!("https://{address}/")).unwrap();
        assert_eq!(result, body, "{first}");
    }
}

#[test]
fn a_host_that_no_certificate_can_contain_is_a_tls_error() {
    let (proxy, _asked) = tunnelling_proxy();
    let (_listener, target) = listen();
    let agent = agent_for(&through(proxy, ""), 2000);
    // The system's resolver accepts this form of an address, but no certificate can contain it.
    let url = format!("https://0x7f.1:{}/", target.port());
    let failure = failure(post(&agent, &url));
    assert_eq!(failure.status, Status::Tls);
    assert!(
        failure.message.starts_with("0x7f.1 is not a host name"),
        "{failure}"
    );
}

#[test]
fn an_alert_for_a_missing_client_certificate_after_the_handshake_is_reported() {
    let authority = Authority::new();
    let mut config = authority.server(&localhost());
    let provider = config.crypto_provider().clone();
    let roots = Arc::new(authority.network().added);
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .unwrap();
    let resolver = config.cert_resolver.clone();
    config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_cert_resolver(resolver);
    let (address, _seen) = serve_tls(config, |_| {});
    let agent = agent_for(&authority.network(), 2000);
    match post(&agent, &format!("https://{address}/")) {
        Err(ureq::Error::Rustls(rustls::Error::AlertReceived(alert))) => {
            assert_eq!(alert, AlertDescription::CertificateRequired);
        }
        other => panic!("{other:?}"),
    }
}

/// In TLS 1.2 the server sends the last message of the handshake, and may send close_notify with it.
#[test]
fn a_server_that_sends_close_notify_with_the_end_of_the_handshake_receives_no_request() {
    let authority = Authority::new();
    let config = Arc::new(server_of(&authority, &[&rustls::version::TLS12], 2));
    let (sender, receiver) = mpsc::channel();
    let address = serve(move |mut stream| {
        let mut connection = ServerConnection::new(config.clone()).unwrap();
        while connection.is_handshaking() {
            connection.read_tls(&mut stream).unwrap();
            connection.process_new_packets().unwrap();
            if !connection.is_handshaking() {
                connection.send_close_notify();
            }
            let mut flight = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut flight).unwrap();
            }
            stream.write_all(&flight).unwrap();
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        sender.send(rest.len()).unwrap();
    });
    let agent = agent_for(&authority.network(), 2000);
    let failure = failure(post(&agent, &format!("https://{address}/")));
    assert_eq!(failure.status, Status::Connect);
    assert!(
        failure.message.contains("during the TLS handshake"),
        "{failure}"
    );
    drop(agent);
    // Not more than a close_notify.
    assert!(receiver.recv().unwrap() < BODY.len());
}

#[test]
fn a_certificate_larger_than_a_record_is_accepted() {
    let authority = Authority::new();
    let mut names = localhost();
    names.extend((0..1000).map(|i| format!("till-{i}.a-restaurant.example")));
    let (address, _seen) = serve_tls(authority.server(&names), |tls| {
        tls.write_all(RESPONSE).unwrap();
    });
    let agent = agent_for(&authority.network(), 5000);
    assert_eq!(post(&agent, &format!("https://{address}/")).unwrap(), "ok");
}

#[test]
fn the_server_receives_an_alert_that_says_why_its_certificate_was_refused() {
    let authority = Authority::new();
    let config = Arc::new(authority.server(&localhost()));
    let (sender, receiver) = mpsc::channel();
    let address = serve(move |mut stream| {
        let mut connection = ServerConnection::new(config.clone()).unwrap();
        let error = connection.complete_io(&mut stream).unwrap_err();
        sender.send(error.to_string()).unwrap();
    });
    failure(post(
        &agent_for(&network(), 2000),
        &format!("https://{address}/"),
    ));
    let alert = receiver.recv().unwrap();
    assert!(alert.contains("UnknownCA"), "{alert}");
}

#[test]
fn servers_that_break_the_tls_handshake_are_explained() {
    type Peer = fn(TcpStream);
    let cases: [(Peer, Status, &str); 8] = [
        (
            |mut s| drop(s.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
            Status::Tls,
            "plain HTTP",
        ),
        (
            |mut s| drop(s.write_all(b"<html><body>Bad request")),
            Status::Tls,
            "plain HTTP",
        ),
        (
            |mut s| drop(s.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")),
            Status::Tls,
            "not TLS",
        ),
        (
            |mut s| drop(s.write_all(&[21, 3, 1, 0, 2, 2, 70])),
            Status::Tls,
            "older than 1.2",
        ),
        (
            |mut s| drop(s.write_all(&[21, 3, 3, 0, 2, 2, 40])),
            Status::Tls,
            "handshake_failure (40)",
        ),
        // close_notify instead of a response.
        (
            |mut s| drop(s.write_all(&[21, 3, 3, 0, 2, 1, 0])),
            Status::Connect,
            "during the TLS handshake",
        ),
        (
            |s| drop(s.shutdown(Shutdown::Write)),
            Status::Connect,
            "closed by the peer",
        ),
        // Closing with unread bytes resets.
        (
            |s| drop(s.peek(&mut [0])),
            Status::Connect,
            "connection reset",
        ),
    ];
    for (peer, status, part) in cases {
        let address = serve(move |mut stream| {
            if status == Status::Tls || part != "connection reset" {
                let _ = stream.read(&mut [0; 4096]);
            }
            peer(stream);
        });
        let failure = failure(post(
            &agent_for(&network(), 2000),
            &format!("https://{address}/"),
        ));
        assert_eq!(failure.status, status, "{part}: {failure}");
        assert!(failure.message.contains(part), "{part}: {failure}");
    }
}

#[test]
fn an_added_certificate_extends_the_other_roots() {
    let authority = Authority::new();
    let (address, _seen) = serve_tls(authority.server(&localhost()), |tls| {
        tls.write_all(RESPONSE).unwrap();
    });
    for roots in [Roots::None, Roots::Bundled, Roots::System] {
        let network = Network {
            roots,
            ..authority.network()
        };
        let agent = agent_for(&network, 5000);
        assert_eq!(post(&agent, &format!("https://{address}/")).unwrap(), "ok");
    }
}

#[test]
fn roots_none_without_an_added_ca_is_an_invalid_argument() {
    let nothing = Network {
        roots: Roots::None,
        ..network()
    };
    let error = Connections::new(&nothing, "", ureq::Agent::config_builder().build())
        .map(drop)
        .unwrap_err();
    assert_eq!(error.status(), Status::InvalidArgument);
}

#[test]
fn debug_output_of_a_connection_is_only_its_type() {
    let authority = Authority::new();
    let (address, _seen) = serve_tls(authority.server(&localhost()), |_| {});
    let reach = || {
        let stream = TcpStream::connect(address)?;
        Ok(Socket::new(Arc::new(stream), address.ip()))
    };
    let target = Endpoint {
        host: "localhost".into(),
        port: address.port(),
    };
    let network = authority.network();
    let settings = tls_settings(&network);
    let tls = settings.connect(reach, &target, &deadline(5000)).unwrap();
    let plain = Plain::new(reach().unwrap(), Clock::System);
    let sessions = sessions::Sessions::default();
    let text = format!("{tls:?} {plain:?} {sessions:?}");
    assert_eq!(text, "Tls Plain Sessions");
}
