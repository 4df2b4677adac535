//! Connections that are kept, dropped, half-open.

use std::time::{Duration, Instant};

use clopos_auth::{Client, Config, LogLevel, Roots, Status};
use clopos_sandbox::{Fault, Step};

use crate::clock::ShiftedClock;
use crate::lab::{self, ARRIVING, STORE_V4};
use crate::support::{Bench, HOUR, MS, SECOND, credentials, failed, until, value};

/// A kept connection, and everything to look at it.
struct Scene {
    bench: Bench,
    clock: std::sync::Arc<ShiftedClock>,
    client: Client,
}

impl Scene {
    /// After one sign-in.
    fn kept() -> Scene {
        let bench = Bench::with_tls();
        let clock = ShiftedClock::new();
        let mut config = bench.config();
        clopos_auth::testing::set_clock(&mut config, clock.clock());
        let client = bench.client(&config);
        value(client.authenticate(None));
        Scene {
            bench,
            clock,
            client,
        }
    }

    fn connections(&self) -> u64 {
        self.bench.sandbox.connections()
    }

    fn failures(&self) -> usize {
        self.bench.log.count(LogLevel::Warn, "") + self.bench.log.count(LogLevel::Error, "")
    }

    /// Signs in again, as quickly as if nothing were wrong.
    fn sign_in(&self) {
        let start = Instant::now();
        value(self.client.authenticate(None));
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
        assert_eq!(self.failures(), 0);
    }
}

#[test]
fn a_connection_is_kept_for_the_next_exchange() {
    let scene = Scene::kept();
    for _ in 0..3 {
        scene.sign_in();
    }
    assert_eq!(scene.connections(), 1);
    assert_eq!(scene.bench.requests(), 4);
}

#[test]
fn a_connection_that_the_server_dropped_meanwhile_is_replaced_without_a_failure() {
    for end in [Step::Close, Step::Reset] {
        let scene = Scene::kept();
        let steps = vec![Step::Grant, end];
        scene.bench.sandbox.fail_times(Fault::Request(steps), 1);
        scene.sign_in();
        until("the server has dropped it", || {
            scene.bench.sandbox.scripts_ended() == 1
        });
        scene.sign_in();
        assert_eq!(scene.connections(), 2);
        assert_eq!(scene.bench.requests(), 3);
    }
}

#[test]
fn a_request_that_meets_the_servers_good_bye_is_sent_again_at_once_without_a_failure() {
    let waited_too_long = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n".to_vec();
    let without_good_bye = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n".to_vec();
    for end in [
        vec![Step::Close],
        vec![Step::Reset],
        vec![],
        vec![Step::Send(waited_too_long), Step::Close],
        vec![Step::Send(without_good_bye), Step::Hang],
    ] {
        let scene = Scene::kept();
        // Reads the request and ends the kept connection instead of answering.
        scene
            .bench
            .sandbox
            .fail_times(Fault::Request(end.clone()), 1);
        scene.sign_in();
        assert_eq!(scene.connections(), 2, "{end:?}");
        assert_eq!(scene.bench.requests(), 3, "{end:?}");
    }
}

#[test]
fn it_is_sent_again_once_and_then_it_is_a_failure() {
    let scene = Scene::kept();
    scene.bench.sandbox.fail(Fault::RequestClose);
    // Not long enough for the attempt after the first pause.
    let error = failed(scene.client.authenticate(Some(100 * MS)));
    assert_eq!(error.status(), Status::Connect, "{error}");
    assert_eq!(scene.bench.requests(), 3);
    assert_eq!(scene.failures(), 1);
}

#[test]
fn a_connection_is_not_kept_across_a_sleep() {
    let scene = Scene::kept();
    scene.clock.sleep(10 * SECOND);
    scene.sign_in();
    assert_eq!(scene.connections(), 1);
    scene.clock.sleep(16 * SECOND);
    scene.sign_in();
    assert_eq!(scene.connections(), 2);
    scene.clock.sleep(HOUR);
    scene.sign_in();
    assert_eq!(scene.connections(), 3);
}

/// Where the till's end of a connection to the store's `port` is, from the kernel's table.
fn local_port(port: u16) -> u16 {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let suffix = format!(":{port:04X}");
    let row = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>())
        // 01: established.
        .find(|row| row.len() > 3 && row[2].ends_with(&suffix) && row[3] == "01")
        .expect("there is a connection");
    let (_, port) = row[1].split_once(':').unwrap();
    u16::from_str_radix(port, 16).unwrap()
}

#[test]
fn a_kept_connection_whose_peer_vanished_costs_3_s_and_not_a_whole_attempt() {
    lab::run(
        a_kept_connection_whose_peer_vanished_costs_3_s_and_not_a_whole_attempt,
        |lab| {
            let sandbox = lab.sandbox(|_| ());
            let clock = ShiftedClock::new();
            let mut config = Config::new();
            let url = format!("https://{STORE_V4}:{}", sandbox.port());
            config.set_base_url(&url).unwrap();
            config.set_proxy("none").unwrap();
            clopos_auth::testing::set_clock(&mut config, clock.clock());
            config.set_roots(Roots::None);
            config.add_ca_pem(sandbox.ca_pem().as_bytes()).unwrap();
            lab.nft_store(ARRIVING);
            let sign_in = |client: &Client| {
                let start = Instant::now();
                value(client.authenticate(None));
                start.elapsed()
            };
            let vanish = || {
                let port = local_port(sandbox.port());
                lab.nft_store(&format!("add rule inet lab arriving tcp sport {port} drop"));
            };

            // A router forgot it within seconds: the kernel notices that nothing is acknowledged.
            let client = Client::new(credentials(), &config).unwrap();
            sign_in(&client);
            vanish();
            let took = sign_in(&client);
            lab::announce(format_args!("| peer vanished: {took:?}"));
            assert!(took < Duration::from_millis(4500), "{took:?}");
            assert_eq!(sandbox.connections(), 2);
            // And that was nobody's failure: the next one may leave at once.
            assert!(sign_in(&client) < SECOND);

            // The device slept: the connection is not even tried.
            vanish();
            clock.sleep(HOUR);
            let took = sign_in(&client);
            assert!(took < SECOND, "{took:?}");
            assert_eq!(sandbox.connections(), 3);
        },
    );
}
