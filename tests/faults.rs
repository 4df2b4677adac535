//! The fault matrix: every fault at every stage of an exchange, one cell for each. A cell is a client, a
//! sandbox and a name of their own, in the network namespaces of `tests/network/lab.rs`.
#![cfg(target_os = "linux")]

#[path = "network/clock.rs"]
mod clock;
#[path = "network/dns.rs"]
mod dns;
#[path = "network/lab.rs"]
mod lab;
#[path = "support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clopos_auth::{Client, Config, Roots, Status};
use clopos_sandbox::{Fault, Sandbox, Step};

use clock::ShiftedClock;
use dns::{DnsFault, NameServer};
use lab::{DOMAIN, Lab, STORE_V4};
use support::{HOUR, MS, PROMPT, SECOND, credentials, noted, until};

/// How long a call may take. Less than the second pause of a flight (1 s at least), more than its first
/// (0.5 s at most): what fails at once is tried twice.
const CALL: Duration = Duration::from_millis(900);
/// How long an attempt may take: a call does not last to the end of one that hangs.
const ATTEMPT: Duration = Duration::from_millis(1500);
/// How late something is that still comes in time.
const LATE: Duration = Duration::from_millis(400);
/// A pause between bytes, with which nothing comes in time.
const TICK: Duration = Duration::from_millis(100);
/// For what works at the third time.
const PATIENTLY: Duration = Duration::from_secs(30);
/// How many cells are tested at a time.
const TOGETHER: usize = 8;

const STAGES: [&str; 8] = [
    "resolve",
    "connect",
    "TLS",
    "request",
    "status line",
    "headers",
    "body",
    "between",
];
const FAULTS: [&str; 9] = [
    "refuse", "reset", "hang", "drip", "truncate", "garbage", "oversize", "slow", "flap",
];

/// What is wrong.
enum Wrong {
    /// With the name.
    Name(DnsFault),
    /// With what arrives at the port: the name of a set in the firewall.
    Port(&'static str),
    /// With the service, until it is healed.
    Service(Fault),
    /// With the service, so many times.
    ServiceTimes(Fault, u32),
    /// With the connection, after an exchange that went well and before the next.
    Idle(Vec<Step>, Then),
}

/// What follows a fault on an idle connection.
enum Then {
    /// Nothing: it is over, or goes on by itself.
    Nothing,
    /// The port refuses.
    Refused,
    /// Two requests are lost.
    LostTwice,
}

/// When a call returns.
#[derive(Clone, Copy, Debug)]
enum When {
    /// As soon as it can, and before the deadline.
    Early,
    /// When so much time has passed, and before the deadline.
    After(Duration),
    /// At the deadline.
    AtDeadline,
}

struct Cell {
    wrong: Wrong,
    status: Status,
    /// How many requests the server has seen when the call returns.
    requests: u64,
    when: When,
    patience: Duration,
    /// How long the next call may take.
    next: Duration,
}

/// What a cell came to, for the table.
struct Came {
    status: Status,
    requests: u64,
    connections: u64,
    took: Duration,
    patience: Duration,
    next: Duration,
    problems: Vec<String>,
}

fn cell(stage: &str, fault: &str) -> Cell {
    use Step::{Close, Drip, Grant, Handshake, Hang, Proceed, Read, Repeat, Reset, Send};
    use Step::{SendBelow, Sleep};
    use Wrong::{Idle, Name, Port, Service, ServiceTimes};

    let fails = |wrong, status, requests| Cell {
        wrong,
        status,
        requests,
        when: When::Early,
        patience: CALL,
        next: 500 * MS,
    };
    // The next call waits for the end of the attempt, a pause, and the attempt after that.
    let hangs = |wrong, requests| Cell {
        when: When::AtDeadline,
        next: ATTEMPT - CALL + 1000 * MS,
        ..fails(wrong, Status::Timeout, requests)
    };
    let late = |wrong| Cell {
        when: When::After(LATE),
        ..fails(wrong, Status::Ok, 1)
    };
    // Fails, waits, fails, waits, works.
    let third_time = |wrong, requests| Cell {
        when: When::After(1250 * MS),
        patience: PATIENTLY,
        ..fails(wrong, Status::Ok, requests)
    };
    let fine = |wrong| fails(wrong, Status::Ok, 1);

    // A good answer, in parts that a fault can come between.
    const BODY: &[u8] = br#"{"success":true,"token":"a.b.c","expires_in":3600}"#;
    let [status, headers, rest] = [
        &b"HTTP/1.1 200 OK\r\n"[..],
        b"Content-Type: application/json\r\nContent-Le",
        b"ngth: 50\r\n\r\n",
    ]
    .map(<[u8]>::to_vec);
    assert_eq!(BODY.len(), 50);
    let slowly = |first: &[&[u8]], second: &[&[u8]]| {
        let steps = vec![
            Send(first.concat()),
            Sleep(LATE),
            Send(second.concat()),
            Close,
        ];
        late(Service(Fault::Request(steps)))
    };
    let connection = |steps| Service(Fault::Connection(steps));
    let request = |steps| Service(Fault::Request(steps));
    let idle = |steps| Idle(steps, Then::Nothing);
    let half_a_status_line = || Send(b"HTTP/1.1 20".to_vec());
    let banner = || b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n".to_vec();
    // The head of a TLS record that is longer than one may be.
    let record = |kind| [&[kind, 3, 3, 0xFF, 0xFF][..], &[0; 0xFFFF]].concat();

    match (stage, fault) {
        ("resolve", "refuse") => fails(Name(DnsFault::Code(5)), Status::Dns, 0),
        ("resolve", "reset") => fails(Name(DnsFault::ResetTcp), Status::Dns, 0),
        ("resolve", "hang") => hangs(Name(DnsFault::Silent), 0),
        // Nobody can break off the system's resolver, which listens to the end.
        ("resolve", "drip") => Cell {
            next: 10 * SECOND,
            ..hangs(Name(DnsFault::DripTcp), 0)
        },
        ("resolve", "truncate") => fails(Name(DnsFault::CutTcp), Status::Dns, 0),
        // The resolver waits for another answer.
        ("resolve", "garbage") => hangs(Name(DnsFault::Garbage), 0),
        ("resolve", "oversize") => fine(Name(DnsFault::Oversize)),
        ("resolve", "slow") => late(Name(DnsFault::Slow(LATE))),
        ("resolve", "flap") => third_time(Name(DnsFault::Flap(2)), 1),

        ("connect", "refuse") => fails(Port("refused"), Status::Connect, 0),
        ("connect", "reset") => fails(Service(Fault::ConnectReset), Status::Connect, 0),
        ("connect", "hang") => hangs(Port("dropped"), 0),
        ("connect", "drip") => fails(connection(vec![Drip(banner(), TICK), Hang]), Status::Tls, 0),
        ("connect", "truncate") => fails(Service(Fault::ConnectClose), Status::Connect, 0),
        ("connect", "garbage") => fails(connection(vec![Send(banner()), Hang]), Status::Tls, 0),
        ("connect", "oversize") => {
            let megabyte = vec![b'x'; 1 << 20];
            fails(connection(vec![Send(megabyte), Hang]), Status::Tls, 0)
        }
        // The first packet is lost; the kernel sends another after a second.
        ("connect", "slow") => Cell {
            when: When::After(950 * MS),
            patience: 3 * SECOND,
            ..fine(Port("halved"))
        },
        ("connect", "flap") => third_time(ServiceTimes(Fault::ConnectReset, 2), 1),

        ("TLS", "refuse") => {
            let handshake_failure = vec![21, 3, 3, 0, 2, 2, 40];
            let steps = vec![Read, Send(handshake_failure), Close];
            fails(connection(steps), Status::Tls, 0)
        }
        ("TLS", "reset") => fails(Service(Fault::TlsReset), Status::Connect, 0),
        ("TLS", "hang") => hangs(Service(Fault::TlsHang), 0),
        ("TLS", "drip") => hangs(Service(Fault::TlsDrip), 0),
        ("TLS", "truncate") => {
            let steps = vec![Handshake(Duration::ZERO, 50), Close];
            fails(connection(steps), Status::Connect, 0)
        }
        ("TLS", "garbage") => fails(Service(Fault::TlsGarbage), Status::Tls, 0),
        ("TLS", "oversize") => {
            let steps = vec![Read, Send(record(22)), Hang];
            fails(connection(steps), Status::Tls, 0)
        }
        ("TLS", "slow") => late(connection(vec![Sleep(LATE), Proceed])),
        ("TLS", "flap") => third_time(ServiceTimes(Fault::TlsReset, 2), 1),

        ("request", "refuse") => fails(Service(Fault::Status401), Status::Rejected, 1),
        ("request", "reset") => fails(Service(Fault::RequestReset), Status::Connect, 2),
        ("request", "hang") => hangs(Service(Fault::RequestHang), 1),
        // "Wait": a good word every 100 ms, and never an answer.
        ("request", "drip") => {
            let wait = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
            hangs(request(vec![Repeat(wait, TICK)]), 1)
        }
        ("request", "truncate") => fails(Service(Fault::RequestClose), Status::Connect, 2),
        ("request", "garbage") => fails(
            request(vec![SendBelow(vec![0xFF; 100]), Hang]),
            Status::Connect,
            2,
        ),
        ("request", "oversize") => fails(
            request(vec![SendBelow(record(23)), Hang]),
            Status::Connect,
            2,
        ),
        ("request", "slow") => late(request(vec![Sleep(LATE), Grant, Close])),
        ("request", "flap") => third_time(ServiceTimes(Fault::RequestReset, 2), 3),

        ("status line", "refuse") => fails(Service(Fault::Status503), Status::Server, 2),
        ("status line", "reset") => fails(
            request(vec![half_a_status_line(), Reset]),
            Status::Connect,
            2,
        ),
        ("status line", "hang") => hangs(Service(Fault::StatusHang), 1),
        ("status line", "drip") => hangs(request(vec![Drip(status, TICK), Hang]), 1),
        ("status line", "truncate") => fails(
            request(vec![half_a_status_line(), Close]),
            Status::Connect,
            2,
        ),
        ("status line", "garbage") => fails(Service(Fault::StatusGarbage), Status::Protocol, 1),
        ("status line", "oversize") => {
            let endless = [&b"HTTP/1.1 200 "[..], &[b'x'; 20_000]].concat();
            fails(request(vec![Send(endless), Hang]), Status::Protocol, 1)
        }
        ("status line", "slow") => slowly(&[&status[..9]], &[&status[9..], &headers, &rest, BODY]),
        ("status line", "flap") => {
            let steps = vec![half_a_status_line(), Reset];
            third_time(ServiceTimes(Fault::Request(steps), 2), 3)
        }

        ("headers", "refuse") => fails(Service(Fault::Status429), Status::RateLimited, 1),
        ("headers", "reset") => fails(Service(Fault::HeadersReset), Status::Connect, 2),
        ("headers", "hang") => hangs(Service(Fault::HeadersHang), 1),
        ("headers", "drip") => hangs(Service(Fault::HeadersDrip), 1),
        ("headers", "truncate") => fails(Service(Fault::HeadersTruncated), Status::Connect, 2),
        ("headers", "garbage") => {
            let bytes = [&status[..], b"\0\x01\xFF no header\r\n\r\n"].concat();
            fails(request(vec![Send(bytes), Hang]), Status::Protocol, 1)
        }
        ("headers", "oversize") => fails(Service(Fault::HeadersOversize), Status::Protocol, 1),
        ("headers", "slow") => slowly(&[&status, &headers], &[&rest, BODY]),
        ("headers", "flap") => third_time(ServiceTimes(Fault::HeadersReset, 2), 3),

        ("body", "refuse") => fails(Service(Fault::SuccessFalse), Status::Rejected, 1),
        ("body", "reset") => fails(Service(Fault::BodyReset), Status::Connect, 2),
        ("body", "hang") => hangs(Service(Fault::BodyHang), 1),
        ("body", "drip") => hangs(Service(Fault::BodyDrip), 1),
        ("body", "truncate") => fails(Service(Fault::BodyTruncated), Status::Connect, 2),
        ("body", "garbage") => fails(Service(Fault::BodyGarbage), Status::Protocol, 1),
        ("body", "oversize") => fails(Service(Fault::BodyOversize), Status::Protocol, 1),
        ("body", "slow") => slowly(&[&status, &headers, &rest, &BODY[..20]], &[&BODY[20..]]),
        ("body", "flap") => third_time(ServiceTimes(Fault::BodyReset, 2), 3),

        ("between", "refuse") => fails(Idle(vec![Grant, Close], Then::Refused), Status::Connect, 0),
        ("between", "reset") => fine(idle(vec![Grant, Reset])),
        ("between", "hang") => hangs(idle(vec![Grant, Hang]), 0),
        ("between", "drip") => fine(idle(vec![Grant, Repeat(b"x".to_vec(), TICK)])),
        ("between", "truncate") => fine(idle(vec![Grant, Close])),
        ("between", "garbage") => fine(idle(vec![Grant, SendBelow(vec![0xFF; 100]), Hang])),
        ("between", "oversize") => fine(idle(vec![Grant, SendBelow(vec![0; 1 << 20]), Hang])),
        // Takes the next request and closes, without an answer and late.
        ("between", "slow") => late(idle(vec![Grant, Read, Sleep(LATE), Close])),
        ("between", "flap") => third_time(Idle(vec![Grant, Reset], Then::LostTwice), 3),
        _ => unreachable!("{stage} {fault}"),
    }
}

/// What all cells have in common.
struct Scene<'a> {
    lab: &'a Lab,
    names: NameServer,
    lateness: Lateness,
}

impl Scene<'_> {
    fn new(lab: &Lab) -> Scene<'_> {
        let syn = "tcp flags & (syn | ack) == syn tcp dport";
        lab.nft_store(&format!(
            "add table inet lab; \
             add set inet lab refused {{ type inet_service; }}; \
             add set inet lab dropped {{ type inet_service; }}; \
             add set inet lab halved {{ type inet_service; }}; \
             {chain}; \
             add rule inet lab arriving {syn} @refused reject with tcp reset; \
             add rule inet lab arriving {syn} @dropped drop; \
             add rule inet lab arriving {syn} @halved numgen inc mod 2 == 0 drop",
            chain = lab::ARRIVING
        ));
        Scene {
            lab,
            names: NameServer::start(lab),
            lateness: Lateness::watch(),
        }
    }

    fn test(&self, number: usize, cell: &Cell) -> Came {
        let sandbox = self.lab.sandbox(|_| ());
        let host = format!("cell-{number}.{DOMAIN}");
        let addresses = [IpAddr::V4(STORE_V4)];
        self.names.set(&host, &addresses);
        let clock = ShiftedClock::new();
        let client = client(&sandbox, &host, &clock);

        self.harm(cell, &sandbox, &client, &host, &addresses);
        let (requests, connections) = (sandbox.auth_requests(), sandbox.connections());
        self.lateness.forget(number);
        let start = Instant::now();
        let result = noted(client.authenticate(Some(cell.patience)));
        let took = start.elapsed();
        let lateness = self.lateness.most(number);
        let requests = sandbox.auth_requests() - requests;
        let connections = sandbox.connections() - connections;
        self.heal(cell, &sandbox, &host, &addresses);

        let status = result.map_or_else(|error| error.status(), |_| Status::Ok);
        let mut problems = Vec::new();
        let mut expect = |fits: bool, problem: String| {
            if !fits {
                problems.push(problem);
            }
        };
        expect(status == cell.status, format!("not {}", cell.status.name()));
        expect(
            requests == cell.requests,
            format!("not {} requests", cell.requests),
        );
        let (earliest, latest) = match cell.when {
            When::Early => (Duration::ZERO, cell.patience),
            When::After(time) => (time, cell.patience),
            When::AtDeadline => (cell.patience, cell.patience + PROMPT),
        };
        let latest = latest + lateness;
        expect(
            (earliest..=latest).contains(&took),
            format!("not within {earliest:?} to {latest:?}"),
        );

        // Whatever the pace made of it is over.
        clock.sleep(HOUR);
        self.lateness.forget(number);
        let start = Instant::now();
        let next = noted(client.authenticate(Some(20 * SECOND)));
        let next_took = start.elapsed();
        expect(next.is_ok(), format!("next: {:?}", next.map(drop)));
        expect(
            next_took <= cell.next + self.lateness.most(number),
            format!("next: not within {:?}", cell.next),
        );
        Came {
            status,
            requests,
            connections,
            took,
            patience: cell.patience,
            next: next_took,
            problems,
        }
    }

    fn harm(
        &self,
        cell: &Cell,
        sandbox: &Sandbox,
        client: &Client,
        host: &str,
        addresses: &[IpAddr],
    ) {
        match &cell.wrong {
            Wrong::Name(trouble) => self.names.fail(host, addresses, *trouble),
            Wrong::Port(set) => self.element("add", set, sandbox.port()),
            Wrong::Service(fault) => sandbox.fail(fault.clone()),
            Wrong::ServiceTimes(fault, times) => sandbox.fail_times(fault.clone(), *times),
            Wrong::Idle(steps, then) => {
                sandbox.fail_times(Fault::Request(steps.clone()), 1);
                noted(client.authenticate(None)).expect("the first exchange goes well");
                match steps[1] {
                    Step::Close | Step::Reset => {
                        until("it was closed", || sandbox.scripts_ended() == 1);
                    }
                    Step::SendBelow(_) | Step::Repeat(..) => {
                        until("what nobody asked for is here", || {
                            !is_silent(sandbox.port())
                        });
                    }
                    _ => {}
                }
                match then {
                    Then::Nothing => {}
                    Then::Refused => self.element("add", "refused", sandbox.port()),
                    Then::LostTwice => sandbox.fail_times(Fault::RequestReset, 2),
                }
            }
        }
    }

    fn heal(&self, cell: &Cell, sandbox: &Sandbox, host: &str, addresses: &[IpAddr]) {
        self.names.set(host, addresses);
        sandbox.heal();
        match cell.wrong {
            Wrong::Port(set) => self.element("delete", set, sandbox.port()),
            Wrong::Idle(_, Then::Refused) => self.element("delete", "refused", sandbox.port()),
            _ => {}
        }
    }

    fn element(&self, verb: &str, set: &str, port: u16) {
        self.lab
            .nft_store(&format!("{verb} element inet lab {set} {{ {port} }}"));
    }
}

fn client(sandbox: &Sandbox, host: &str, clock: &std::sync::Arc<ShiftedClock>) -> Client {
    let mut config = Config::new();
    config
        .set_base_url(&format!("https://{host}:{}", sandbox.port()))
        .unwrap()
        .set_proxy("none")
        .unwrap()
        .set_timeout(PATIENTLY)
        .unwrap()
        .set_attempt_timeout(ATTEMPT)
        .unwrap()
        .set_roots(Roots::None);
    config.add_ca_pem(sandbox.ca_pem().as_bytes()).unwrap();
    clopos_auth::testing::set_clock(&mut config, clock.clock());
    Client::new(credentials(), &config).unwrap()
}

/// Whether nothing waits to be read on an open connection of this process's to `port`, by the kernel's
/// table.
fn is_silent(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let suffix = format!(":{port:04X}");
    table.lines().any(|row| {
        let row: Vec<&str> = row.split_whitespace().collect();
        row.len() > 4
            && row[2].ends_with(&suffix)
            && row[3] == "01"
            && row[4].ends_with(":00000000")
    })
}

/// How late this machine wakes threads that sleep: nobody can be held to less.
struct Lateness {
    most: std::sync::Arc<Mutex<HashMap<usize, Duration>>>,
    stop: std::sync::Arc<AtomicBool>,
}

impl Lateness {
    fn watch() -> Lateness {
        let lateness = Lateness {
            most: Default::default(),
            stop: Default::default(),
        };
        let (most, stop) = (lateness.most.clone(), lateness.stop.clone());
        thread::spawn(move || {
            const NAP: Duration = Duration::from_millis(2);
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                thread::sleep(NAP);
                let late = start.elapsed() - NAP;
                for most in most.lock().unwrap().values_mut() {
                    *most = late.max(*most);
                }
            }
        });
        lateness
    }

    fn forget(&self, who: usize) {
        self.most.lock().unwrap().insert(who, Duration::ZERO);
    }

    fn most(&self, who: usize) -> Duration {
        self.most.lock().unwrap().remove(&who).unwrap_or_default()
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn every_fault_at_every_stage_ends_in_time_with_its_status_and_the_next_call_succeeds() {
    lab::run(
        every_fault_at_every_stage_ends_in_time_with_its_status_and_the_next_call_succeeds,
        |lab| {
            let scene = Scene::new(lab);
            let cells: Vec<(&str, &str)> = STAGES
                .iter()
                .flat_map(|stage| FAULTS.map(|fault| (*stage, fault)))
                .collect();
            assert!(cells.len() >= 60);
            let came: Vec<Mutex<Option<Came>>> = cells.iter().map(|_| Mutex::default()).collect();
            let next = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..TOGETHER {
                    scope.spawn(|| {
                        loop {
                            let number = next.fetch_add(1, Ordering::SeqCst);
                            let Some((stage, fault)) = cells.get(number) else {
                                return;
                            };
                            let result = scene.test(number, &cell(stage, fault));
                            *came[number].lock().unwrap() = Some(result);
                        }
                    });
                }
            });
            let mut bad = Vec::new();
            lab::announce(format_args!(
                "| {:<11} | {:<8} | {:<12} | {:>8} | {:>8} | {:>8} | {:>11} | {:>8}",
                "stage", "fault", "status", "ms", "deadline", "requests", "connections", "next, ms"
            ));
            for ((stage, fault), came) in cells.iter().zip(came) {
                let came = came.into_inner().unwrap().expect("every cell was tested");
                lab::announce(format_args!(
                    "| {stage:<11} | {fault:<8} | {:<12} | {:>8} | {:>8} | {:>8} | {:>11} | {:>8}",
                    came.status.name(),
                    came.took.as_millis(),
                    came.patience.as_millis(),
                    came.requests,
                    came.connections,
                    came.next.as_millis(),
                ));
                if !came.problems.is_empty() {
                    bad.push(format!("{stage}, {fault}: {}", came.problems.join("; ")));
                }
            }
            assert!(bad.is_empty(), "{}", bad.join("\n"));
        },
    );
}
