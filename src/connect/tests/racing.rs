//! Several addresses: which is tried when, and which connection is used.
#![forbid(unsafe_code)]

use super::*;

fn unconnected(why: &str) -> Error {
    Error::new(Status::Connect, why.to_owned())
}

type Dialing = Box<dyn FnOnce(&[SocketAddr], u64) -> Result<Arc<TcpStream>, ureq::Error>>;

fn dialers() -> [(&'static str, Dialing); 2] {
    fn run(
        dial: &mut impl Dial,
        to: &[SocketAddr],
        ms: u64,
    ) -> Result<Arc<TcpStream>, ureq::Error> {
        let (address, stream) = race(to, &deadline(ms), dial, unconnected)?;
        assert_eq!(stream.peer_addr().unwrap(), address);
        Ok(stream)
    }
    // Longer than every race, so that a race ends at its own deadline.
    let limit = Some(Duration::from_secs(20));
    [
        (
            "poll",
            Box::new(move |to, ms| run(&mut dialer(&|_| Ok(()), to.len() == 1, limit), to, ms)),
        ),
        (
            "threads",
            Box::new(move |to, ms| {
                run(
                    &mut ThreadDial::new(&|_| Ok(()), to.len() == 1, limit),
                    to,
                    ms,
                )
            }),
        ),
    ]
}

#[test]
fn a_threaded_dialer_ends_without_a_limit_and_after_a_shutdown() {
    let (_listener, listening) = listen();
    for alone in [true, false] {
        let mut dialer = ThreadDial::new(&|_| Ok(()), alone, None);
        dialer.start(listening).unwrap();
        assert!(matches!(dialer.wait(None), Some((_, Ok(_)))));

        let shut_down = |_| Err(ureq::Error::ConnectionFailed);
        let mut dialer = ThreadDial::new(&shut_down, alone, None);
        let lost = race(&[listening], &deadline(2000), &mut dialer, unconnected);
        let reasons = failure(lost).message;
        assert!(reasons.starts_with("127.0.0.1: "), "{reasons}");
    }
}

/// Many, so that a delay for each (4 s together) differs from the delays of a busy machine.
fn many_refusing() -> [SocketAddr; 16] {
    [(); 16].map(|()| refusing())
}

#[test]
fn refused_addresses_add_no_delay() {
    let (_listener, good) = listen();
    for (name, dial) in dialers() {
        let start = Instant::now();
        let addresses = [&many_refusing()[..], &[good]].concat();
        let stream = dial(&addresses, 10_000).expect(name);
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert_took(start, 0, 3500);
    }
}

#[test]
fn an_address_that_hangs_adds_a_quarter_of_a_second() {
    let full = FullListener::new();
    let (_listener, good) = listen();
    for (name, dial) in dialers() {
        let start = Instant::now();
        let mut stream = dial(&[full.address, good], 10_000).expect(name);
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert_took(start, 250, 3000);
        // The connected socket is blocking again.
        let stream = Arc::get_mut(&mut stream).unwrap();
        let wait = Duration::from_millis(30);
        stream.set_read_timeout(Some(wait)).unwrap();
        let start = Instant::now();
        stream.read(&mut [0]).unwrap_err();
        assert_took(start, 30, 5000);
    }
}

#[test]
fn a_refused_address_adds_no_delay_while_another_hangs() {
    let full = FullListener::new();
    let (_listener, good) = listen();
    for (name, dial) in dialers() {
        let start = Instant::now();
        let addresses = [&[full.address], &many_refusing()[..], &[good]].concat();
        let stream = dial(&addresses, 10_000).expect(name);
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert_took(start, 250, 3500);
    }
}

#[test]
fn when_all_addresses_fail_the_error_names_every_reason() {
    let full = FullListener::new();
    for (name, dial) in dialers() {
        let start = Instant::now();
        let refused = refusing();
        let reasons = failure(dial(&[refused, full.address], 500)).message;
        assert_took(start, 500, 5000);
        let expected = "127.0.0.1: connection refused; 127.0.0.1: no answer within ";
        assert!(reasons.starts_with(expected), "{name}: {reasons}");
    }
}

#[test]
fn recently_failed_addresses_are_tried_last_and_a_limited_number_is_remembered() {
    let known = Addresses::default();
    let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 443));
    for last in 1..=30 {
        known.connected(address(last).ip(), false);
    }
    known.connected(address(29).ip(), false);
    let mut addresses = [
        address(29),
        address(30),
        address(20),
        address(1),
        address(99),
    ];
    known.suspect_last(&mut addresses);
    let expected = [
        address(1),
        address(99),
        address(20),
        address(30),
        address(29),
    ];
    assert_eq!(addresses, expected);
}

/// Two listeners on one port of two addresses.
fn listen_twice() -> [TcpListener; 2] {
    loop {
        let (first, address) = listen();
        if let Ok(second) = TcpListener::bind(("127.0.0.2", address.port())) {
            return [first, second];
        }
    }
}

#[test]
fn the_next_attempt_starts_with_an_address_that_has_not_just_failed() {
    type Fail = fn(TcpStream);
    let fails: [(&str, Fail); 3] = [
        ("http", |mut stream| {
            // Closes without a response.
            read_request(&mut stream);
        }),
        ("http", |mut stream| {
            read_request(&mut stream);
            let _ = stream.read(&mut [0]);
        }),
        ("https", |stream| drop(stream.peek(&mut [0]))),
    ];
    for (scheme, fail) in fails {
        let [bad, good] = listen_twice();
        let port = bad.local_addr().unwrap().port();
        thread::spawn(move || bad.incoming().flatten().for_each(fail));
        let (sender, reached) = mpsc::channel();
        thread::spawn(move || {
            for mut stream in good.incoming().flatten() {
                sender.send(()).unwrap();
                read_request(&mut stream);
                let _ = stream.write_all(RESPONSE);
            }
        });
        let Connections {
            agent, addresses, ..
        } = connections(&network(), 500, |_, port| {
            Ok(vec![
                ([127, 0, 0, 1], port).into(),
                ([127, 0, 0, 2], port).into(),
            ])
        });
        let url = format!("{scheme}://a.example:{port}/");
        let first = post(&agent, &url).unwrap_err();
        assert!(reached.try_recv().is_err());
        let named = match first {
            ureq::Error::Other(_) => failure::<()>(Err(first)).message.into_owned(),
            _ => addresses.peer("a.example"),
        };
        assert!(named.contains(" (127.0.0.1)"), "{named}");
        let _ = post(&agent, &url);
        reached.recv_timeout(Duration::from_secs(5)).unwrap();
        // Both have failed now, the first earlier than the second.
        if scheme == "https" {
            post(&agent, &url).unwrap_err();
            assert!(addresses.peer("a.example").contains("127.0.0.1"));
            post(&agent, &url).unwrap_err();
            // A response clears only the address from which it came.
            addresses.answered();
            post(&agent, &url).unwrap_err();
            assert!(addresses.peer("a.example").contains("127.0.0.2"));
        }
    }
}
