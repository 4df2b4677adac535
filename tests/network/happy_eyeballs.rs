//! RFC 8305, through real interfaces and a real resolver. Order and timing are tested in
//! `src/connect/tests.rs` and `src/connect/race.rs`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use clopos_auth::{Client, Config, Roots, Status};
use clopos_sandbox::Sandbox;

use crate::dns::NameServer;
use crate::lab::{self, ARRIVING, DOMAIN, Lab, STORE_V4, v6};
use crate::support::{MS, SECOND, credentials, failed, until, value};

/// More addresses of the store's, for which something is in the way.
const BAD_V6: IpAddr = IpAddr::V6(v6(3));
const BAD_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));
const GOOD_V4: IpAddr = IpAddr::V4(STORE_V4);

struct Scene<'a> {
    lab: &'a Lab,
    names: NameServer,
    sandbox: Sandbox,
}

impl Scene<'_> {
    fn new(lab: &Lab) -> Scene<'_> {
        lab.ip_store("address add 192.0.2.3/24 dev wire");
        lab.ip_store("address add 2001:db8::3/64 dev wire nodad");
        lab.nft_store(ARRIVING);
        // Every packet that is refused gets its answer.
        let limit = "/proc/sys/net/ipv4/icmp_ratelimit";
        lab.in_store(|| std::fs::write(limit, "0").unwrap());
        let scene = Scene {
            lab,
            names: NameServer::start(lab),
            sandbox: lab.sandbox(|_| ()),
        };
        scene.names.set(&format!("good.{DOMAIN}"), &[GOOD_V4]);
        scene
    }

    /// What becomes of packets to the bad addresses.
    fn spoil(&self, v4: &str, v6: &str) {
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

    /// How long the quickest of a few first sign-ins takes.
    fn time(&self, host: &str) -> Duration {
        (0..3)
            .map(|_| {
                let client = self.client(host);
                let start = Instant::now();
                value(client.authenticate(None));
                start.elapsed()
            })
            .min()
            .unwrap()
    }

    /// How much longer that takes with these addresses than with a single good one.
    fn cost(&self, addresses: &[IpAddr]) -> Duration {
        self.names.set(&format!("bad.{DOMAIN}"), addresses);
        self.time("bad").saturating_sub(self.time("good"))
    }
}

#[test]
fn an_ipv6_that_black_holes_costs_at_most_300_ms() {
    lab::run(an_ipv6_that_black_holes_costs_at_most_300_ms, |lab| {
        let scene = Scene::new(lab);
        scene.spoil("drop", "drop");
        let cost = scene.cost(&[BAD_V6, GOOD_V4]);
        lab::announce(format_args!("| IPv6 black hole: {cost:?} more"));
        // Less would mean that IPv6 was not tried first.
        assert!((200 * MS..300 * MS).contains(&cost), "{cost:?}");
    });
}

#[test]
fn an_address_that_a_router_calls_unreachable_costs_nothing() {
    lab::run(
        an_address_that_a_router_calls_unreachable_costs_nothing,
        |lab| {
            let scene = Scene::new(lab);
            // Only for IPv4: over a cable without any latency, an ICMPv6 error comes back while connect()
            // still holds the socket, and the kernel puts it off to the next retransmission.
            for (what, v4) in [
                ("ENETUNREACH", "counter reject with icmp net-unreachable"),
                ("EHOSTUNREACH", "counter reject with icmp host-unreachable"),
            ] {
                scene.spoil(v4, "drop");
                let cost = scene.cost(&[BAD_V4, GOOD_V4]);
                lab::announce(format_args!("| {what}: {cost:?} more"));
                assert!(cost < 100 * MS, "{what}: {cost:?}");
                assert!(scene.bad_v4_was_tried(), "{what}");
            }
        },
    );
}

#[test]
fn a_network_without_a_route_is_passed_over_at_once() {
    lab::run(a_network_without_a_route_is_passed_over_at_once, |lab| {
        let scene = Scene::new(lab);
        scene.spoil("drop", "drop");
        lab.ip_till("route add unreachable 2001:db8:1::/48");
        lab.ip_till("route add blackhole 2001:db8:2::/48");
        lab.ip_till("route add prohibit 2001:db8:3::/48");
        // The system sorts what has no route behind what has: the bad IPv4 comes first, and then the
        // families alternate.
        let lost: [IpAddr; 4] = [
            "2001:db8:1::1".parse().unwrap(),
            "2001:db8:2::1".parse().unwrap(),
            "2001:db8:3::1".parse().unwrap(),
            "2001:db8:4::1".parse().unwrap(),
        ];
        for lost in lost {
            let cost = scene.cost(
                &[lost, BAD_V4]
                    .into_iter()
                    .chain([GOOD_V4])
                    .collect::<Vec<_>>(),
            );
            assert!(cost < 300 * MS, "{lost}: {cost:?}");
        }
        // And with nothing but those there is an error at once, which names each.
        scene.names.set(&format!("bad.{DOMAIN}"), &lost);
        let start = Instant::now();
        let error = failed(scene.client("bad").authenticate(None));
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
        assert_eq!(error.status(), Status::Connect);
        for lost in lost {
            assert!(error.message().contains(&lost.to_string()), "{error}");
        }
        assert!(error.message().contains("unreachable"), "{error}");
    });
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
fn attempts_that_lost_leave_nothing_open_whoever_won() {
    lab::run(attempts_that_lost_leave_nothing_open_whoever_won, |lab| {
        let scene = Scene::new(lab);
        scene.spoil("drop", "drop");
        let host = format!("bad.{DOMAIN}");
        let holes: Vec<IpAddr> = (3..9).map(|last| v6(last).into()).collect();
        for (addresses, wins) in [(&[&holes[..], &[GOOD_V4]].concat(), true), (&holes, false)] {
            scene.names.set(&host, addresses);
            let client = scene.client("bad");
            let before = sockets();
            std::thread::scope(|scope| {
                let call = scope.spawn(|| client.authenticate(Some(10 * SECOND)));
                // At least one beside another, or the test would show nothing.
                until("attempts run side by side", || sockets() >= before + 2);
                assert_eq!(call.join().unwrap().is_ok(), wins);
            });
            // The sandbox is in this process, too: its end of the connection and ours.
            let kept = if wins { 2 } else { 0 };
            until("only the winner is open", || sockets() == before + kept);
            drop(client);
            until("nothing is open", || sockets() == before);
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
fn connecting_costs_no_thread_however_many_addresses_there_are() {
    lab::run(
        connecting_costs_no_thread_however_many_addresses_there_are,
        |lab| {
            let scene = Scene::new(lab);
            scene.spoil("drop", "drop");
            for addresses in [&[BAD_V4][..], &[BAD_V6, BAD_V4, v6(4).into()]] {
                scene.names.set(&format!("bad.{DOMAIN}"), addresses);
                let client = scene.client("bad");
                let (before, idle) = (threads().len(), sockets());
                std::thread::scope(|scope| {
                    let call = scope.spawn(|| client.authenticate(Some(800 * MS)));
                    // The caller's and the flight's, and no more once the look-up has ended.
                    until("the flight connects", || {
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
                until("the flight is over", || {
                    !threads().iter().any(|name| name == "clopos-auth")
                });
            }
        },
    );
}
