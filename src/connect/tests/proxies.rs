//! Proxies: the request for a tunnel, and the message for each response.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn https_and_http_go_through_a_proxy_with_its_credentials() {
    let authority = Authority::new();
    let (secure, _seen) = serve_tls(authority.server(&localhost()), |tls| {
        tls.write_all(RESPONSE).unwrap();
    });
    let plain = serve(|mut stream| {
        read_request(&mut stream);
        stream.write_all(RESPONSE).unwrap();
    });
    let (proxy, requests) = tunnelling_proxy();
    let network = Network {
        proxy: through(proxy, "till%40a:p%3ass@").proxy,
        ..authority.network()
    };
    let agent = agent_for(&network, 2000);
    for (scheme, server) in [("https", secure), ("http", plain)] {
        let url = format!("{scheme}://localhost:{}/", server.port());
        assert_eq!(post(&agent, &url).unwrap(), "ok");
        let head = requests.lock().unwrap().pop().unwrap();
        let target = format!("localhost:{}", server.port());
        assert_eq!(
            head,
            format!(
                "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: agent/1\r\n\
                 Proxy-Authorization: Basic dGlsbEBhOnA6c3M=\r\n\r\n"
            )
        );
    }
}

#[test]
fn the_target_of_a_proxied_connection_is_not_resolved_on_this_device() {
    let proxy = serve(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
    });
    let agent = agent_for(&through(proxy, ""), 2000);
    let failure = failure(post(&agent, "https://no-such-host.invalid/"));
    assert_eq!(
        (failure.status, failure.http_status),
        (Status::Proxy, Some(502))
    );
}

#[test]
fn each_response_of_a_proxy_is_explained() {
    const RESET: &[u8] = b"(reset)";
    let long = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; 20_000]].concat();
    for (response, http_status, part) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
            Some(407),
            "asks for a user",
        ),
        (
            b"HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM\r\n\r\n",
            Some(407),
            "asks for a login by Negotiate or NTLM, and this library speaks only Basic",
        ),
        (
            b"HTTP/1.1 407 x\r\nProxy-Authenticate: Digest realm=\"a, b\", qop=\"auth\"\r\n\r\n",
            Some(407),
            "asks for a login by Digest, and",
        ),
        (
            b"HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM, basic realm=\"x\"\r\n\r\n",
            Some(407),
            "asks for a user name and password",
        ),
        (b"HTTP/1.1 429 x\r\n\r\n", Some(429), "too many requests"),
        (
            b"HTTP/1.0 403 Filtered\r\n\r\n<html>",
            Some(403),
            "does not allow this host",
        ),
        (
            b"HTTP/1.1 503 x\r\n\r\n",
            Some(503),
            "could not reach this host",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n",
            Some(302),
            "302 Found",
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            None,
            "not respond as an HTTP proxy",
        ),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            None,
            "not respond as an HTTP proxy",
        ),
        (
            b"HTTP/1.1 abc\r\n\r\n",
            None,
            "not respond as an HTTP proxy",
        ),
        (&long, None, "not respond as an HTTP proxy"),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 x\n\nHTTP/1.1 403 Forbidden\n\n",
            Some(403),
            "does not allow this host",
        ),
        (
            b"HTTP/1.1 200",
            None,
            "closed the connection without an answer",
        ),
        (b"", None, "closed the connection without an answer"),
        (RESET, None, "broke the connection: connection reset"),
    ] {
        let response = response.to_vec();
        let proxy = serve(move |mut stream| {
            if response == RESET {
                // Closing with unread bytes resets.
                let _ = stream.peek(&mut [0]);
                return;
            }
            read_head(&mut stream);
            let _ = stream.write_all(&response);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read(&mut [0]);
        });
        let agent = agent_for(&through(proxy, ""), 2000);
        let failure = failure(post(&agent, "https://a.example/"));
        assert_eq!(
            (failure.status, failure.http_status),
            (Status::Proxy, http_status),
            "{failure}"
        );
        assert!(failure.message.contains(part), "{failure}");
        assert!(failure.message.contains(&proxy.to_string()), "{failure}");
    }
}

#[test]
fn an_unreachable_proxy_is_named_in_the_error() {
    let (_listener, hanging) = listen();
    let full = FullListener::new();
    let unknown = Network {
        proxy: ProxyChoice::Url(ProxyUrl::parse("no-such-proxy.invalid:3128").unwrap()),
        ..network()
    };
    for (network, part) in [
        (through(hanging, ""), "did not answer within "),
        (through(full.address, ""), "no answer within "),
        (through(refusing(), ""), "connection refused"),
        (unknown, "cannot resolve the proxy no-such-proxy.invalid: "),
    ] {
        let failure = failure(post(&agent_for(&network, 500), "https://a.example/"));
        assert_eq!((failure.status, failure.http_status), (Status::Proxy, None));
        assert!(failure.message.contains(part), "{failure}");
        assert!(
            !part.ends_with(" within ") || says_how_long(&failure),
            "{failure}"
        );
        assert!(failure.message.contains("the proxy "), "{failure}");
    }
}

#[test]
fn a_password_is_in_no_message_and_no_debug_output() {
    let secret = "hunter2";
    let (_listener, hanging) = listen();
    let network = through(hanging, &format!("till:{secret}@"));
    let agent = agent_for(&network, 60);
    let failure = failure(post(&agent, "https://a.example/"));
    for text in [
        format!("{failure:?}"),
        format!("{:?}", network.proxy),
        format!("{agent:?}"),
    ] {
        assert!(!text.contains(secret) && !text.contains("till"), "{text}");
    }
}
