//! RFC 8305 (Happy Eyeballs) with real interfaces and a real resolver. Order and timing are tested in
//! `src/connect/tests/racing.rs` and `src/connect/race.rs`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use clopos_auth::{Client, Config, Roots, Status};
use clopos_sandbox::Sandbox;

use crate::dns::NameServer;
use crate::lab::{self, ARRIVING, DOMAIN, Lab, STORE_V4, v6};
use crate::support::{MS, SECOND, credentials, failed, until, value};

/// More addresses of the store, whose packets the firewall drops or rejects.
const BAD_V6: IpAddr = IpAddr::V6(v6(3));
const BAD_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));
const GOOD_V4: IpAddr = IpAddr::V4(STORE_V4);

struct Setup<'a> {
    lab: &'a Lab,
    names: NameServer,
    sandbox: Sandbox,
}

impl Setup<'_> {
    fn new(lab: &Lab) -> Setup<'_> {
        lab.ip_store("address add 192.0.2.3/24 dev wire");
        lab.ip_store("address add 2001:db8::3/64 dev wire nodad");
        lab.nft_store(ARRIVING);
        // The kernel sends an ICMP error for every rejected packet.
        let limit = "/proc/sys/net/ipv4/icmp_ratelimit";
        lab.in_store(|| std::fs::write(limit, "0").unwrap());
        let setup = Setup {
            lab,
            names: NameServer::start(lab),
            sandbox: lab.sandbox(|_| ()),
        };
        setup.names.set(&format!("good.{DOMAIN}"), &[GOOD_V4]);
        setup
    }

    /// Sets what the firewall does with packets to the bad addresses.
    fn set_firewall(&self, v4: &str, v6: &str) {
        self.lab.nft_store(&format!(
            "flush chain inet lab arriving; \
             add rule inet lab arriving ip daddr 192.0.2.3 meta l4proto tcp {v4}; \
             add rule inet lab arriving ip6 daddr 2001:db8::3 meta l4proto tcp {v6}"
        ));
    }

    fn bad_v4_was_tried(&self) -> bool {
        let rules = self.lab.nft_store("list chain inet lab arriving");
        !rules.contains("packets 0 ")
    }

    fn client(&self, host: &str) -> Client {
        let mut config = Config::new();
        let url = format!("https://{host}.{DOMAIN}:{}", self.sandbox.port());
        config.set_base_url(&url).unwrap();
        config.set_proxy("none").unwrap();
        config.set_attempt_timeout(3 * SECOND).unwrap();
        config.set_max_attempts(1).unwrap();
        config.set_roots(Roots::None);
        config.add_ca_pem(self.sandbox.ca_pem().as_bytes()).unwrap();
        Client::new(credentials(), &config).unwrap()
    }

    /// The time of a sign-in with a new client.
    fn time(&self, host: &str) -> Duration {
        let client = self.client(host);
        let start = Instant::now();
        value(client.authenticate(None));
        start.elapsed()
    }

    /// The time of the fastest of five sign-ins with these addresses, and how much more that is than with one good
    /// address. The fastest, in turns: other programs of this machine take time, too.
    fn time_and_added(&self, addresses: &[IpAddr]) -> (Duration, Duration) {
        self.names.set(&format!("bad.{DOMAIN}"), addresses);
        let times = [(); 5].map(|()| (self.time("bad"), self.time("good")));
        let bad = times.map(|(bad, _)| bad).into_iter().min().unwrap();
        let good = times.map(|(_, good)| good).into_iter().min().unwrap();
        (bad, bad.saturating_sub(good))
    }

    fn added_time(&self, addresses: &[IpAddr]) -> Duration {
        self.time_and_added(addresses).1
    }
}

#[test]
fn an_ipv6_address_that_drops_packets_adds_less_than_500_ms() {
    lab::run(
        an_ipv6_address_that_drops_packets_adds_less_than_500_ms,
        |lab| {
            let setup = Setup::new(lab);
            setup.set_firewall("drop", "drop");
            let (fastest, added) = setup.time_and_added(&[BAD_V6, GOOD_V4]);
            lab::announce(format_args!("| IPv6 packets dropped: {added:?} more"));
            // Less would mean that IPv6 was not tried first.
            assert!(fastest >= 250 * MS, "{fastest:?}");
            assert!(added < 500 * MS, "{added:?}");
        },
    );
}

#[test]
fn an_address_reported_as_unreachable_adds_less_than_200_ms() {
    lab::run(
        an_address_reported_as_unreachable_adds_less_than_200_ms,
        |lab| {
            let setup = Setup::new(lab);
            // Only for IPv4: over a cable without latency, an ICMPv6 error arrives while connect() still holds
            // the socket, and the kernel handles it only at the next retransmission.
            for (what, v4) in [
                ("ENETUNREACH", "counter reject with icmp net-unreachable"),
                ("EHOSTUNREACH", "counter reject with icmp host-unreachable"),
            ] {
                setup.set_firewall(v4, "drop");
                let added = setup.added_time(&[BAD_V4, GOOD_V4]);
                lab::announce(format_args!("| {what}: {added:?} more"));
                assert!(added < 200 * MS, "{what}: {added:?}");
                assert!(setup.bad_v4_was_tried(), "{what}");
            }
        },
    );
}

#[test]
fn an_address_without_a_route_adds_no_delay_and_is_named() {
    lab::run(
        an_address_without_a_route_adds_no_delay_and_is_named,
        |lab| {
            let setup = Setup::new(lab);
            setup.set_firewall("drop", "drop");
            lab.ip_till("route add unreachable 2001:db8:1::/48");
            lab.ip_till("route add blackhole 2001:db8:2::/48");
            lab.ip_till("route add prohibit 2001:db8:3::/48");
            // The system sorts addresses without a route last: the bad IPv4 address comes first, and then the
            // families alternate.
            let unreachable: [IpAddr; 4] = [
                "2001:db8:1::1".parse().unwrap(),
                "2001:db8:2::1".parse().unwrap(),
                "2001:db8:3::1".parse().unwrap(),
                "2001:db8:4::1".parse().unwrap(),
            ];
            for address in unreachable {
                let added = setup.added_time(&[address, BAD_V4, GOOD_V4]);
                assert!(added < 450 * MS, "{address}: {added:?}");
            }
            // With only these addresses there is an error immediately, which names each.
            setup.names.set(&format!("bad.{DOMAIN}"), &unreachable);
            let start = Instant::now();
            let error = failed(setup.client("bad").authenticate(None));
            assert!(start.elapsed() < 2500 * MS, "{:?}", start.elapsed());
            assert_eq!(error.status(), Status::Connect);
            for address in unreachable {
                assert!(error.message().contains(&address.to_string()), "{error}");
            }
            assert!(error.message().contains("unreachable"), "{error}");
        },
    );
}

/// How many sockets this process has open.
fn sockets() -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    descriptors
        .flatten()
        .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

#[test]
fn losing_connection_attempts_leave_no_socket_open() {
    lab::run(losing_connection_attempts_leave_no_socket_open, |lab| {
        let setup = Setup::new(lab);
        setup.set_firewall("drop", "drop");
        let host = format!("bad.{DOMAIN}");
        let bad: Vec<IpAddr> = (3..9).map(|last| v6(last).into()).collect();
        for (addresses, succeeds) in [(&[&bad[..], &[GOOD_V4]].concat(), true), (&bad, false)] {
            setup.names.set(&host, addresses);
            let client = setup.client("bad");
            let before = sockets();
            std::thread::scope(|scope| {
                let call = scope.spawn(|| client.authenticate(Some(10 * SECOND)));
                // Otherwise no attempt would lose.
                until("two attempts run at the same time", || {
                    sockets() >= before + 2
                });
                assert_eq!(call.join().unwrap().is_ok(), succeeds);
            });
            // Both ends of the connection are in this process, because the sandbox is.
            let kept = if succeeds { 2 } else { 0 };
            until("only the successful connection is open", || {
                sockets() == before + kept
            });
            drop(client);
            until("no connection is open", || sockets() == before);
        }
    });
}

/// The names of this process's threads.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

#[test]
fn connecting_starts_no_thread_for_any_number_of_addresses() {
    lab::run(
        connecting_starts_no_thread_for_any_number_of_addresses,
        |lab| {
            let setup = Setup::new(lab);
            setup.set_firewall("drop", "drop");
            for addresses in [&[BAD_V4][..], &[BAD_V6, BAD_V4, v6(4).into()]] {
                setup.names.set(&format!("bad.{DOMAIN}"), addresses);
                let client = setup.client("bad");
                let (before, idle) = (threads().len(), sockets());
                std::thread::scope(|scope| {
                    let call = scope.spawn(|| client.authenticate(Some(2 * SECOND)));
                    // The threads of the caller and the sign-in; the one of the look-up has ended.
                    until("the sign-in connects", || {
                        sockets() > idle && threads().len() == before + 2
                    });
                    let mut most = 0;
                    while !call.is_finished() {
                        most = most.max(threads().len());
                        std::thread::sleep(MS);
                    }
                    assert_eq!(most, before + 2, "{:?}", threads());
                    assert_eq!(failed(call.join().unwrap()).status(), Status::Timeout);
                });
                drop(client);
                until("the sign-in has ended", || {
                    !threads().iter().any(|name| name == "clopos-auth")
                });
            }
        },
    );
}
