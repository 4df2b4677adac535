//! Connections without TLS: what is sent, deadlines, shutdown.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn head_and_body_are_sent_in_one_write() {
    let (sender, receiver) = mpsc::channel();
    let address = serve(move |mut stream| {
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk).unwrap();
        sender.send(chunk[..n].to_vec()).unwrap();
        stream.write_all(RESPONSE).unwrap();
    });
    let agent = agent_for(&network(), 2000);
    assert_eq!(post(&agent, &format!("http://{address}/a")).unwrap(), "ok");
    let first = receiver.recv().unwrap();
    assert!(first.starts_with(b"POST /a HTTP/1.1\r\n") && first.ends_with(BODY.as_bytes()));
}

#[test]
fn a_request_body_larger_than_the_buffer_arrives_complete() {
    let authority = Authority::new();
    let large = "x".repeat(100_000);
    let expected = large.len();
    let handle = move |stream: &mut dyn ReadWrite| {
        read_head(stream);
        let mut body = vec![0; expected];
        stream.read_exact(&mut body).unwrap();
        assert!(body.iter().all(|byte| *byte == b'x'));
        stream.write_all(RESPONSE).unwrap();
        stream.flush().unwrap();
    };
    let config = Arc::new(authority.server(&localhost()));
    let plain = serve(move |mut stream| handle(&mut stream));
    let secure = serve(move |stream| {
        let connection = ServerConnection::new(config.clone()).unwrap();
        handle(&mut rustls::StreamOwned::new(connection, stream));
    });
    let agent = agent_for(&authority.network(), 5000);
    for url in [format!("http://{plain}/"), format!("https://{secure}/")] {
        let response = agent.post(&url).send(&large).unwrap();
        assert_eq!(response.into_body().read_to_string().unwrap(), "ok");
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[test]
fn a_response_sent_byte_by_byte_ends_at_the_deadline() {
    let address = serve(|mut stream| {
        read_request(&mut stream);
        for byte in RESPONSE.iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let start = Instant::now();
    let result = post(&agent_for(&network(), 500), &format!("http://{address}/"));
    assert!(matches!(result, Err(ureq::Error::Timeout(_))), "{result:?}");
    assert_took(start, 500, 5000);
}

#[test]
fn a_silent_server_ends_at_the_deadline_with_and_without_tls() {
    let (listener, address) = listen();
    for scheme in ["http", "https"] {
        let start = Instant::now();
        let result = post(
            &agent_for(&network(), 500),
            &format!("{scheme}://{address}/"),
        );
        assert!(matches!(result, Err(ureq::Error::Timeout(_))), "{result:?}");
        assert_took(start, 500, 5000);
    }
    drop(listener);
}

#[test]
fn a_peer_that_reads_nothing_ends_at_the_deadline() {
    let (_listener, address) = listen();
    let start = Instant::now();
    let huge = vec![0_u8; 64 << 20];
    let result = agent_for(&network(), 500)
        .post(format!("http://{address}/"))
        .send(&huge[..]);
    assert!(matches!(result, Err(ureq::Error::Timeout(_))), "{result:?}");
    assert_took(start, 500, 5000);
}

#[test]
fn a_connection_is_reused_until_the_server_closes_it() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    let (sender, closed) = mpsc::channel();
    let address = serve(move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        for _ in 0..3 {
            read_request(&mut stream);
            stream.write_all(RESPONSE).unwrap();
        }
        drop(stream);
        sender.send(()).unwrap();
    });
    let agent = agent_for(&network(), 2000);
    for request in 1..=4 {
        assert_eq!(post(&agent, &format!("http://{address}/")).unwrap(), "ok");
        if request == 3 {
            closed.recv().unwrap();
        }
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_response_head_that_is_too_long_is_an_error_of_its_own() {
    let address = serve(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        let _ = stream.write_all(&[b'x'; 40_000]);
    });
    let result = post(&agent_for(&network(), 2000), &format!("http://{address}/"));
    assert!(
        matches!(result, Err(ureq::Error::LargeResponseHeader(..))),
        "{result:?}"
    );
}

#[test]
fn a_refused_connection_names_host_port_and_reason() {
    let address = refusing();
    let url = format!("http://127.0.0.1:{}/", address.port());
    let failure = failure(post(&agent_for(&network(), 2000), &url));
    assert_eq!(failure.status, Status::Connect);
    let expected = format!("cannot connect to {address}: 127.0.0.1: connection refused");
    assert_eq!(failure.message, expected);
}

#[test]
fn a_connection_that_hangs_says_how_long_it_waited() {
    let full = FullListener::new();
    let start = Instant::now();
    let url = format!("http://{}/", full.address);
    let failure = failure(post(&agent_for(&network(), 500), &url));
    assert_took(start, 500, 5000);
    assert_eq!(failure.status, Status::Connect);
    assert!(failure.message.contains("no answer within "), "{failure}");
    assert!(says_how_long(&failure), "{failure}");
}

/// Waits until a connection to this address hangs.
fn until_connecting(address: SocketAddr) {
    let start = Instant::now();
    // The remote port, and 02: a SYN has been sent.
    let row = format!(":{:04X} 02 ", address.port());
    let table = || std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    while !table().contains(&row) {
        assert_took(start, 0, 10_000);
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn shutdown_interrupts_connecting_the_handshake_and_reading() {
    let full = FullListener::new();
    let (silent, silent_address) = listen();
    for url in [
        format!("http://{}/", full.address),
        format!("https://{silent_address}/"),
        format!("http://{silent_address}/"),
    ] {
        let agent = agent_for(&network(), 20_000);
        let worker = agent.clone();
        let is_connecting = url.contains(&full.address.to_string());
        let request = thread::spawn(move || post(&worker, &url));
        let _stream = if is_connecting {
            until_connecting(full.address);
            None
        } else {
            // Until the client hello or the request has arrived.
            let (stream, _) = silent.accept().unwrap();
            stream.peek(&mut [0]).unwrap();
            Some(stream)
        };
        let start = Instant::now();
        agent.shutdown();
        request.join().unwrap().unwrap_err();
        assert_took(start, 0, 10_000);
    }
}

#[test]
fn after_a_shutdown_no_connection_is_tried() {
    for address in [refusing(), FullListener::new().address] {
        let agent = agent_for(&network(), 20_000);
        agent.clone().shutdown();
        let start = Instant::now();
        post(&agent, &format!("http://{address}/")).unwrap_err();
        assert_took(start, 0, 10_000);
    }
}
