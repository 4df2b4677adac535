//! Slow and lossy links. A token still arrives within the default timeout.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clopos_auth::{Client, Config, Roots};
use clopos_sandbox::Sandbox;

use crate::dns::NameServer;
use crate::lab::{self, ARRIVING, DOMAIN, Lab, STORE_V4};
use crate::support::{SECOND, credentials, value};

/// Signs in with a new client (look-up, connection, handshake, request) and returns the time that it took.
fn sign_in(lab: &Lab, sandbox: &Sandbox, port: u16, what: &str) -> Duration {
    let names = NameServer::start(lab);
    names.set(&format!("link.{DOMAIN}"), &[IpAddr::V4(STORE_V4)]);
    let mut config = Config::new();
    let url = format!("https://link.{DOMAIN}:{port}");
    config.set_base_url(&url).unwrap();
    config.set_proxy("none").unwrap().set_roots(Roots::None);
    config.add_ca_pem(sandbox.ca_pem().as_bytes()).unwrap();
    let client = Client::new(credentials(), &config).unwrap();
    let start = Instant::now();
    value(client.get_token(None));
    let took = start.elapsed();
    let requests = sandbox.auth_requests();
    lab::announce(format_args!("| {what}: {took:?}, {requests} requests"));
    took
}

/// Drops this percentage of the packets of these protocols in both directions, and counts all and the dropped
/// ones.
fn lose(lab: &Lab, protocols: &str, percent: u32) {
    for nft in [Lab::nft_store, Lab::nft_till] {
        nft(lab, ARRIVING);
        nft(
            lab,
            &format!(
                "add rule inet lab arriving meta l4proto {protocols} counter; \
                 add rule inet lab arriving meta l4proto {protocols} \
                 numgen random mod 100 < {percent} counter drop"
            ),
        );
    }
}

/// All packets and the dropped ones, in each direction.
fn losses(lab: &Lab) -> [(u64, u64); 2] {
    [Lab::nft_store, Lab::nft_till].map(|nft| {
        let rules = nft(lab, "list chain inet lab arriving");
        let mut counts = rules
            .split("counter packets ")
            .skip(1)
            .map(|rest| rest.split(' ').next().unwrap().parse().unwrap());
        (counts.next().unwrap(), counts.next().unwrap())
    })
}

/// Checks that packets passed the rule that drops them. How many it drops is random.
fn assert_lossy(lab: &Lab) {
    let counts = losses(lab);
    for (all, lost) in counts {
        lab::announce(format_args!("| {lost} of {all} packets lost one way"));
        // The handshakes of TCP and TLS, and the request or the response.
        assert!(all >= 3, "{counts:?}");
    }
}

/// Starts a relay that forwards every byte after `delay`, and returns its port.
fn relay(lab: &Lab, to: SocketAddr, delay: Duration) -> u16 {
    fn pump(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
        let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
        thread::spawn(move || {
            for (due, bytes) in receiver {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    return;
                }
            }
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
        let mut buffer = [0; 4096];
        while let Ok(count) = from.read(&mut buffer)
            && count > 0
        {
            let _ = sender.send((Instant::now() + delay, buffer[..count].to_vec()));
        }
    }
    lab.in_store(|| {
        let listener = TcpListener::bind((STORE_V4, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // The time that the handshake of TCP would have taken.
                thread::sleep(2 * delay);
                let server = TcpStream::connect(to).unwrap();
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let pair = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || pump(client, server, delay));
                thread::spawn(move || pump(pair.0, pair.1, delay));
            }
        });
        port
    })
}

#[test]
fn a_token_arrives_over_a_link_that_loses_30_percent() {
    lab::run(a_token_arrives_over_a_link_that_loses_30_percent, |lab| {
        let sandbox = lab.sandbox(|_| ());
        lose(lab, "tcp", 30);
        sign_in(lab, &sandbox, sandbox.port(), "30 % loss of TCP, each way");
        assert_lossy(lab);
    });
}

#[test]
fn a_token_arrives_over_a_link_with_1_s_of_delay() {
    lab::run(a_token_arrives_over_a_link_with_1_s_of_delay, |lab| {
        let sandbox = lab.sandbox(|_| ());
        let to = SocketAddr::from((STORE_V4, sandbox.port()));
        let port = relay(lab, to, SECOND);
        let took = sign_in(lab, &sandbox, port, "1 s of delay, each way");
        assert!(took > 6 * SECOND, "{took:?}: there was no delay");
        assert_eq!(sandbox.auth_requests(), 1);
    });
}

#[test]
fn a_token_arrives_over_a_link_of_32_kbit() {
    lab::run(a_token_arrives_over_a_link_of_32_kbit, |lab| {
        let sandbox = lab.sandbox(|_| ());
        lab.shape("32kbit");
        let took = sign_in(lab, &sandbox, sandbox.port(), "32 kbit/s");
        // The first 1600 bytes pass without a delay.
        assert!(
            took > Duration::from_millis(50),
            "{took:?}: it was not slow"
        );
        assert_eq!(sandbox.auth_requests(), 1);
    });
}

#[test]
fn a_token_arrives_over_a_link_that_is_slow_and_late_and_loses_packets() {
    lab::run(
        a_token_arrives_over_a_link_that_is_slow_and_late_and_loses_packets,
        |lab| {
            let sandbox = lab.sandbox(|_| ());
            let to = SocketAddr::from((STORE_V4, sandbox.port()));
            let port = relay(lab, to, Duration::from_millis(500));
            lab.shape("32kbit");
            lose(lab, "tcp", 10);
            let what = "10 % loss, 0.5 s of delay and 32 kbit/s at once, each way";
            sign_in(lab, &sandbox, port, what);
            assert_lossy(lab);
        },
    );
}
