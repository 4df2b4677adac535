//! When a connection is reused, and what happens if the server has ended it.

use std::time::Instant;

use clopos_auth::{Client, Config, LogLevel, Roots, Status};
use clopos_sandbox::{Fault, Step};

use crate::clock::ShiftedClock;
use crate::lab::{self, ARRIVING, STORE_V4};
use crate::support::{Fixture, HOUR, MS, SECOND, credentials, failed, until, value};

/// A client with an idle connection, and its sandbox and clock.
struct IdleConnection {
    fixture: Fixture,
    clock: std::sync::Arc<ShiftedClock>,
    client: Client,
}

impl IdleConnection {
    /// Makes a client that makes one attempt for each sign-in, and signs in once.
    fn new() -> IdleConnection {
        let fixture = Fixture::with_tls();
        let clock = ShiftedClock::new();
        let mut config = fixture.config();
        config.set_max_attempts(1).unwrap();
        clopos_auth::testing::set_clock(&mut config, clock.clock());
        let client = fixture.client(&config);
        value(client.authenticate(None));
        IdleConnection {
            fixture,
            clock,
            client,
        }
    }

    fn connections(&self) -> u64 {
        self.fixture.sandbox.connections()
    }

    fn failures(&self) -> usize {
        self.fixture.log.count(LogLevel::Warn, "") + self.fixture.log.count(LogLevel::Error, "")
    }

    /// Signs in again, without a wait for a timeout (10 s) and without a failed attempt.
    fn sign_in(&self) {
        let start = Instant::now();
        value(self.client.authenticate(None));
        assert!(start.elapsed() < 5 * SECOND, "{:?}", start.elapsed());
        assert_eq!(self.failures(), 0);
    }
}

#[test]
fn a_connection_is_reused_for_the_next_sign_in() {
    let idle = IdleConnection::new();
    for _ in 0..3 {
        idle.sign_in();
    }
    assert_eq!(idle.connections(), 1);
    assert_eq!(idle.fixture.requests(), 4);
}

#[test]
fn a_connection_dropped_while_idle_is_replaced_without_a_failure() {
    for end in [Step::Close, Step::Reset] {
        let idle = IdleConnection::new();
        let steps = vec![Step::Grant, end];
        idle.fixture.sandbox.fail_times(Fault::Request(steps), 1);
        idle.sign_in();
        until("the server has ended the connection", || {
            idle.fixture.sandbox.scripts_ended() == 1
        });
        idle.sign_in();
        assert_eq!(idle.connections(), 2);
        assert_eq!(idle.fixture.requests(), 3);
    }
}

#[test]
fn a_request_on_a_connection_that_the_server_ends_is_sent_again_without_a_failure() {
    let timeout = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n".to_vec();
    let timeout_without_close =
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n".to_vec();
    for end in [
        vec![Step::Close],
        vec![Step::Reset],
        vec![],
        vec![Step::Send(timeout), Step::Close],
        vec![Step::Send(timeout_without_close), Step::Hang],
    ] {
        let idle = IdleConnection::new();
        // The server reads the request and ends the connection instead of responding.
        idle.fixture
            .sandbox
            .fail_times(Fault::Request(end.clone()), 1);
        idle.sign_in();
        assert_eq!(idle.connections(), 2, "{end:?}");
        assert_eq!(idle.fixture.requests(), 3, "{end:?}");
    }
}

#[test]
fn a_request_is_sent_again_only_once() {
    let idle = IdleConnection::new();
    idle.fixture.sandbox.fail(Fault::RequestClose);
    let error = failed(idle.client.authenticate(None));
    assert_eq!(error.status(), Status::Connect, "{error}");
    assert_eq!(idle.fixture.requests(), 3);
    assert_eq!(idle.client.state().failures, 1);
}

#[test]
fn a_connection_is_not_reused_after_16_s_of_sleep() {
    let idle = IdleConnection::new();
    idle.clock.sleep(10 * SECOND);
    idle.sign_in();
    assert_eq!(idle.connections(), 1);
    idle.clock.sleep(16 * SECOND);
    idle.sign_in();
    assert_eq!(idle.connections(), 2);
    idle.clock.sleep(HOUR);
    idle.sign_in();
    assert_eq!(idle.connections(), 3);
}

/// The local port of the connection to `port`, from the kernel's table.
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
fn a_reused_connection_whose_peer_vanished_adds_less_than_4500_ms() {
    lab::run(
        a_reused_connection_whose_peer_vanished_adds_less_than_4500_ms,
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
            lab.nft_store("add chain inet lab leaving { type filter hook output priority -300; }");
            let sign_in = |client: &Client| {
                let start = Instant::now();
                value(client.authenticate(None));
                start.elapsed()
            };
            let vanish = || {
                let port = local_port(sandbox.port());
                lab.nft_store(&format!(
                    "add rule inet lab arriving tcp sport {port} drop; \
                     add rule inet lab leaving tcp dport {port} drop"
                ));
            };

            // A router has forgotten the connection, in both directions: the kernel notices that nothing is acknowledged.
            let client = Client::new(credentials(), &config).unwrap();
            sign_in(&client);
            vanish();
            let took = sign_in(&client);
            lab::announce(format_args!("| peer vanished: {took:?}"));
            assert!(took < 4500 * MS, "{took:?}");
            assert_eq!(sandbox.connections(), 2);
            assert_eq!(client.state().failures, 0);
            sign_in(&client);

            // After a sleep the connection is not tried.
            vanish();
            clock.sleep(HOUR);
            let took = sign_in(&client);
            // Less than the silence after which a connection is given up, 3 s.
            assert!(took < 2500 * MS, "{took:?}");
            assert_eq!(sandbox.connections(), 3);
        },
    );
}
