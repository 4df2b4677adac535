//! Name resolution: errors, deadlines, and addresses that are not accepted.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn a_name_that_does_not_resolve_is_a_dns_error_that_names_it() {
    let url = "https://no-such-host.invalid/";
    let failure = failure(post(&agent_for(&network(), 20_000), url));
    assert_eq!(failure.status, Status::Dns);
    let start = "cannot resolve no-such-host.invalid: ";
    assert!(failure.message.starts_with(start), "{failure}");
    assert!(!failure.message.contains("lookup"), "{failure}");
}

#[test]
fn plain_http_connects_only_to_loopback_addresses_unless_permitted() {
    let (listener, address) = listen();
    listener.set_nonblocking(true).unwrap();
    let confined = Network {
        allow_plain_http: false,
        ..network()
    };
    let url = format!("http://localhost:{}/", address.port());
    // On Linux, a connection to this address also reaches this device, but it is not a loopback address.
    let elsewhere = [0, 0, 0, 0];
    let agent = agent_with_resolver(&confined, 2000, move |_, port| {
        Ok(vec![(elsewhere, port).into()])
    });
    let failure = failure(post(&agent, &url));
    assert_eq!(failure.status, Status::Dns);
    for part in ["cannot resolve localhost", "0.0.0.0", "not this device"] {
        assert!(failure.message.contains(part), "{failure}");
    }
    // The request does not go through a proxy, which would resolve the name itself.
    let (proxy, requests) = tunnelling_proxy();
    let through_proxy = Network {
        proxy: through(proxy, "").proxy,
        ..confined
    };
    let found = move |_: &str, port| {
        Ok(vec![
            (elsewhere, port).into(),
            ([127, 0, 0, 1], port).into(),
        ])
    };
    let agent = agent_with_resolver(&through_proxy, 2000, found);
    let request = thread::spawn(move || post(&agent, &url));
    listener.set_nonblocking(false).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    assert!(stream.local_addr().unwrap().ip().is_loopback());
    read_request(&mut stream);
    stream.write_all(RESPONSE).unwrap();
    assert_eq!(request.join().unwrap().unwrap(), "ok");
    assert!(requests.lock().unwrap().is_empty());
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "there was one connection");
}

/// A resolver whose look-ups block until this is dropped. `begun` receives a message for each look-up.
struct Hanging {
    begun: mpsc::Receiver<()>,
    release: Arc<AtomicBool>,
}

impl Hanging {
    fn new() -> (
        Hanging,
        impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) {
        let (sender, begun) = mpsc::channel();
        let release = Arc::new(AtomicBool::new(false));
        let released = release.clone();
        let look_up = move |_: &str, port| {
            let _ = sender.send(());
            let start = Instant::now();
            while !released.load(Ordering::Acquire) && start.elapsed().as_secs() < 30 {
                thread::park_timeout(Duration::from_millis(1));
            }
            Ok(vec![([127, 0, 0, 1], port).into()])
        };
        (Hanging { begun, release }, look_up)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.release.store(true, Ordering::Release);
    }
}

#[test]
fn a_look_up_that_hangs_ends_with_its_attempt_and_the_next_attempt_looks_up_again() {
    let address = serve(|mut stream| {
        read_request(&mut stream);
        stream.write_all(RESPONSE).unwrap();
    });
    let (hanging, hang) = Hanging::new();
    let recovered = Arc::new(AtomicBool::new(false));
    let has_recovered = recovered.clone();
    let agent = agent_with_resolver(&network(), 2000, move |host, port| {
        match has_recovered.load(Ordering::Acquire) {
            true => Ok(vec![([127, 0, 0, 1], port).into()]),
            false => hang(host, port),
        }
    });
    let url = format!("http://a.example:{}/", address.port());
    let start = Instant::now();
    let failure = failure(post(&agent, &url));
    assert_took(start, 2000, 15_000);
    assert_eq!(failure.status, Status::Dns);
    assert!(failure.message.contains("took longer than "), "{failure}");
    hanging.begun.recv().unwrap();
    recovered.store(true, Ordering::Release);
    assert_eq!(post(&agent, &url).unwrap(), "ok");
}

#[test]
fn no_more_than_four_look_ups_hang_at_a_time() {
    let (hanging, hang) = Hanging::new();
    let agent = agent_with_resolver(&network(), 1000, hang);
    let look_up = || failure(post(&agent, "http://a.example/"));
    thread::scope(|scope| {
        for _ in 0..resolve::MAX_RUNNING {
            scope.spawn(look_up);
        }
    });
    for _ in 0..resolve::MAX_RUNNING {
        hanging.begun.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    let failure = look_up();
    assert_eq!(failure.status, Status::Dns);
    assert!(failure.message.contains("4 earlier look-ups"), "{failure}");
}

#[test]
fn shutdown_interrupts_the_wait_for_a_look_up() {
    let (hanging, hang) = Hanging::new();
    let agent = agent_with_resolver(&network(), 20_000, hang);
    let worker = agent.clone();
    let request = thread::spawn(move || post(&worker, "http://a.example/"));
    hanging.begun.recv().unwrap();
    let start = Instant::now();
    agent.shutdown();
    request.join().unwrap().unwrap_err();
    assert_took(start, 0, 10_000);
}

#[test]
fn a_name_without_an_address_is_a_dns_error() {
    for (found, part) in [
        (None, "cannot resolve a.example: the name has no address"),
        (
            Some(io::ErrorKind::TimedOut),
            "cannot resolve a.example: no answer",
        ),
    ] {
        let agent = agent_with_resolver(&network(), 2000, move |_, _| match found {
            None => Ok(Vec::new()),
            Some(kind) => Err(kind.into()),
        });
        let failure = failure(post(&agent, "http://a.example/"));
        assert_eq!((failure.status, &*failure.message), (Status::Dns, part));
    }
}
