//! The fault matrix: every fault at every stage of a sign-in, one cell for each. A cell has its own client,
//! sandbox and host name, in the network namespaces of `tests/network/lab.rs`.
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
use support::{HOUR, MS, PROMPT, SECOND, credentials, recorded, until};

/// The timeout of a call whose first attempt is its last: it hangs, or the service asks for a pause of 10 s.
const SHORT_TIMEOUT: Duration = Duration::from_millis(900);
/// The attempt timeout: longer than that, so that a call returns before an attempt that hangs ends.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2500);
/// The timeout of a call of one or two attempts: too short for two attempts that hang.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A delay with which a response still comes in time.
const DELAY: Duration = Duration::from_millis(400);
/// A pause after each byte with which a response does not come in time.
const DRIP_PAUSE: Duration = Duration::from_millis(100);
/// The timeout of a call that succeeds at the third attempt.
const LONG_TIMEOUT: Duration = Duration::from_secs(30);
/// How many cells are tested at a time.
const PARALLEL_CELLS: usize = 8;

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

/// Where a fault is injected.
enum Injection {
    /// The name server.
    Name(DnsFault),
    /// The port: the name of a set in the firewall.
    Port(&'static str),
    /// The service, until it is healed.
    Service(Fault),
    /// The service, this many times.
    ServiceTimes(Fault, u32),
    /// The connection, after a successful sign-in and before the next one.
    Idle(Vec<Step>, AfterIdle),
}

/// What follows a fault on an idle connection.
enum AfterIdle {
    Nothing,
    /// The port refuses connections.
    Refused,
    /// Two requests are lost.
    LostTwice,
}

/// When a call returns.
#[derive(Clone, Copy, Debug)]
enum When {
    /// At any time before the deadline.
    Early,
    /// After this time and before the deadline.
    After(Duration),
    /// At the deadline.
    AtDeadline,
}

struct Cell {
    injection: Injection,
    status: Status,
    /// How many requests the server has received when the call returns.
    requests: u64,
    when: When,
    timeout: Duration,
    /// The maximum number of attempts.
    attempts: u32,
    /// How long the next call may take.
    next: Duration,
}

struct CellResult {
    status: Status,
    requests: u64,
    connections: u64,
    took: Duration,
    timeout: Duration,
    next: Duration,
    problems: Vec<String>,
}

fn cell(stage: &str, fault: &str) -> Cell {
    use Injection::{Idle, Name, Port, Service, ServiceTimes};
    use Step::{Close, Drip, Grant, Handshake, Hang, Proceed, Read, Repeat, Reset, Send};
    use Step::{SendBelow, Sleep};

    let fails = |injection, status, requests| Cell {
        injection,
        status,
        requests,
        when: When::Early,
        timeout: CALL_TIMEOUT,
        attempts: 2,
        // Less than an attempt that hangs.
        next: 2 * SECOND,
    };
    // The next call waits for the end of the attempt, a pause, and the attempt after that.
    let hangs = |injection, requests| Cell {
        when: When::AtDeadline,
        timeout: SHORT_TIMEOUT,
        attempts: 3,
        next: 4 * SECOND,
        ..fails(injection, Status::Timeout, requests)
    };
    let delayed = |injection| Cell {
        when: When::After(DELAY),
        attempts: 1,
        ..fails(injection, Status::Ok, 1)
    };
    // Two attempts fail, each with a pause after it, and the third succeeds.
    let third_time = |injection, requests| Cell {
        when: When::After(1250 * MS),
        timeout: LONG_TIMEOUT,
        attempts: 3,
        ..fails(injection, Status::Ok, requests)
    };
    let succeeds = |injection| Cell {
        attempts: 1,
        ..fails(injection, Status::Ok, 1)
    };

    // A good response, in parts between which a fault can be injected.
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
            Sleep(DELAY),
            Send(second.concat()),
            Close,
        ];
        delayed(Service(Fault::Request(steps)))
    };
    let connection = |steps| Service(Fault::Connection(steps));
    let request = |steps| Service(Fault::Request(steps));
    let idle = |steps| Idle(steps, AfterIdle::Nothing);
    let half_a_status_line = || Send(b"HTTP/1.1 20".to_vec());
    let banner = || b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n".to_vec();
    // A TLS record longer than the permitted maximum.
    let record = |kind| [&[kind, 3, 3, 0xFF, 0xFF][..], &[0; 0xFFFF]].concat();

    match (stage, fault) {
        ("resolve", "refuse") => fails(Name(DnsFault::Code(5)), Status::Dns, 0),
        ("resolve", "reset") => fails(Name(DnsFault::ResetTcp), Status::Dns, 0),
        ("resolve", "hang") => hangs(Name(DnsFault::Silent), 0),
        // The system's resolver cannot be interrupted, so the next call waits for it.
        ("resolve", "drip") => Cell {
            next: 20 * SECOND,
            ..hangs(Name(DnsFault::DripTcp), 0)
        },
        ("resolve", "truncate") => fails(Name(DnsFault::TruncateTcp), Status::Dns, 0),
        // The resolver ignores the garbage and waits for another response.
        ("resolve", "garbage") => hangs(Name(DnsFault::Garbage), 0),
        ("resolve", "oversize") => succeeds(Name(DnsFault::Oversize)),
        ("resolve", "slow") => delayed(Name(DnsFault::Slow(DELAY))),
        ("resolve", "flap") => third_time(Name(DnsFault::Flap(2)), 1),

        ("connect", "refuse") => fails(Port("refused"), Status::Connect, 0),
        ("connect", "reset") => fails(Service(Fault::ConnectReset), Status::Connect, 0),
        ("connect", "hang") => hangs(Port("dropped"), 0),
        ("connect", "drip") => fails(
            connection(vec![Drip(banner(), DRIP_PAUSE), Hang]),
            Status::Tls,
            0,
        ),
        ("connect", "truncate") => fails(Service(Fault::ConnectClose), Status::Connect, 0),
        ("connect", "garbage") => fails(connection(vec![Send(banner()), Hang]), Status::Tls, 0),
        ("connect", "oversize") => {
            let megabyte = vec![b'x'; 1 << 20];
            fails(connection(vec![Send(megabyte), Hang]), Status::Tls, 0)
        }
        // The first packet is lost; the kernel sends another after a second.
        ("connect", "slow") => Cell {
            when: When::After(950 * MS),
            ..succeeds(Port("halved"))
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
        ("TLS", "slow") => delayed(connection(vec![Sleep(DELAY), Proceed])),
        ("TLS", "flap") => third_time(ServiceTimes(Fault::TlsReset, 2), 1),

        ("request", "refuse") => fails(Service(Fault::Status401), Status::Rejected, 1),
        ("request", "reset") => fails(Service(Fault::RequestReset), Status::Connect, 2),
        ("request", "hang") => hangs(Service(Fault::RequestHang), 1),
        // An interim response every 100 ms, and never the final one.
        ("request", "drip") => {
            let wait = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
            hangs(request(vec![Repeat(wait, DRIP_PAUSE)]), 1)
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
        ("request", "slow") => delayed(request(vec![Sleep(DELAY), Grant, Close])),
        ("request", "flap") => third_time(ServiceTimes(Fault::RequestReset, 2), 3),

        ("status line", "refuse") => fails(Service(Fault::Status503), Status::Server, 2),
        ("status line", "reset") => fails(
            request(vec![half_a_status_line(), Reset]),
            Status::Connect,
            2,
        ),
        ("status line", "hang") => hangs(Service(Fault::StatusHang), 1),
        ("status line", "drip") => hangs(request(vec![Drip(status, DRIP_PAUSE), Hang]), 1),
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

        ("headers", "refuse") => Cell {
            timeout: SHORT_TIMEOUT,
            ..fails(Service(Fault::Status429), Status::RateLimited, 1)
        },
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

        ("between", "refuse") => fails(
            Idle(vec![Grant, Close], AfterIdle::Refused),
            Status::Connect,
            0,
        ),
        ("between", "reset") => succeeds(idle(vec![Grant, Reset])),
        ("between", "hang") => hangs(idle(vec![Grant, Hang]), 0),
        ("between", "drip") => succeeds(idle(vec![Grant, Repeat(b"x".to_vec(), DRIP_PAUSE)])),
        ("between", "truncate") => succeeds(idle(vec![Grant, Close])),
        ("between", "garbage") => succeeds(idle(vec![Grant, SendBelow(vec![0xFF; 100]), Hang])),
        ("between", "oversize") => succeeds(idle(vec![Grant, SendBelow(vec![0; 1 << 20]), Hang])),
        // Reads the next request, and closes after a delay without a response.
        ("between", "slow") => delayed(idle(vec![Grant, Read, Sleep(DELAY), Close])),
        ("between", "flap") => third_time(Idle(vec![Grant, Reset], AfterIdle::LostTwice), 3),
        _ => unreachable!("{stage} {fault}"),
    }
}

/// What all cells share.
struct Matrix<'a> {
    lab: &'a Lab,
    names: NameServer,
    lateness: Lateness,
}

impl Matrix<'_> {
    fn new(lab: &Lab) -> Matrix<'_> {
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
        Matrix {
            lab,
            names: NameServer::start(lab),
            lateness: Lateness::start(),
        }
    }

    fn test(&self, number: usize, cell: &Cell) -> CellResult {
        let sandbox = self.lab.sandbox(|_| ());
        let host = format!("cell-{number}.{DOMAIN}");
        let addresses = [IpAddr::V4(STORE_V4)];
        self.names.set(&host, &addresses);
        let clock = ShiftedClock::new();
        let client = client(&sandbox, &host, &clock, cell.attempts);

        self.inject(cell, &sandbox, &client, &host, &addresses);
        let (requests, connections) = (sandbox.auth_requests(), sandbox.connections());
        self.lateness.reset(number);
        let start = Instant::now();
        let result = recorded(client.authenticate(Some(cell.timeout)));
        let took = start.elapsed();
        let lateness = self.lateness.take(number);
        let requests = sandbox.auth_requests() - requests;
        let connections = sandbox.connections() - connections;
        self.heal(cell, &sandbox, &host, &addresses);

        let status = result.map_or_else(|error| error.status(), |_| Status::Ok);
        let mut problems = Vec::new();
        let mut expect = |is_expected: bool, problem: String| {
            if !is_expected {
                problems.push(problem);
            }
        };
        expect(status == cell.status, format!("not {}", cell.status.name()));
        expect(
            requests == cell.requests,
            format!("not {} requests", cell.requests),
        );
        let (earliest, latest) = match cell.when {
            When::Early => (Duration::ZERO, cell.timeout),
            When::After(time) => (time, cell.timeout),
            When::AtDeadline => (cell.timeout, cell.timeout + PROMPT),
        };
        let latest = latest + lateness;
        expect(
            (earliest..=latest).contains(&took),
            format!("not within {earliest:?} to {latest:?}"),
        );

        // Every pause that the failure has caused is over after an hour.
        clock.sleep(HOUR);
        self.lateness.reset(number);
        let start = Instant::now();
        let next = recorded(client.authenticate(Some(20 * SECOND)));
        let next_took = start.elapsed();
        expect(next.is_ok(), format!("next: {:?}", next.map(drop)));
        expect(
            next_took <= cell.next + self.lateness.take(number),
            format!("next: not within {:?}", cell.next),
        );
        CellResult {
            status,
            requests,
            connections,
            took,
            timeout: cell.timeout,
            next: next_took,
            problems,
        }
    }

    fn inject(
        &self,
        cell: &Cell,
        sandbox: &Sandbox,
        client: &Client,
        host: &str,
        addresses: &[IpAddr],
    ) {
        match &cell.injection {
            Injection::Name(fault) => self.names.fail(host, addresses, *fault),
            Injection::Port(set) => self.firewall("add", set, sandbox.port()),
            Injection::Service(fault) => sandbox.fail(fault.clone()),
            Injection::ServiceTimes(fault, times) => sandbox.fail_times(fault.clone(), *times),
            Injection::Idle(steps, after) => {
                sandbox.fail_times(Fault::Request(steps.clone()), 1);
                recorded(client.authenticate(None)).expect("the first sign-in succeeds");
                match steps[1] {
                    Step::Close | Step::Reset => {
                        until("the connection is closed", || sandbox.scripts_ended() == 1);
                    }
                    Step::SendBelow(_) | Step::Repeat(..) => {
                        until("unexpected bytes have arrived", || {
                            has_unread_bytes(sandbox.port())
                        });
                    }
                    _ => {}
                }
                match after {
                    AfterIdle::Nothing => {}
                    AfterIdle::Refused => self.firewall("add", "refused", sandbox.port()),
                    AfterIdle::LostTwice => sandbox.fail_times(Fault::RequestReset, 2),
                }
            }
        }
    }

    fn heal(&self, cell: &Cell, sandbox: &Sandbox, host: &str, addresses: &[IpAddr]) {
        self.names.set(host, addresses);
        sandbox.heal();
        match cell.injection {
            Injection::Port(set) => self.firewall("delete", set, sandbox.port()),
            Injection::Idle(_, AfterIdle::Refused) => {
                self.firewall("delete", "refused", sandbox.port())
            }
            _ => {}
        }
    }

    /// Adds a port to a set of the firewall, or deletes it.
    fn firewall(&self, verb: &str, set: &str, port: u16) {
        self.lab
            .nft_store(&format!("{verb} element inet lab {set} {{ {port} }}"));
    }
}

fn client(
    sandbox: &Sandbox,
    host: &str,
    clock: &std::sync::Arc<ShiftedClock>,
    attempts: u32,
) -> Client {
    let mut config = Config::new();
    config
        .set_base_url(&format!("https://{host}:{}", sandbox.port()))
        .unwrap()
        .set_proxy("none")
        .unwrap()
        .set_timeout(LONG_TIMEOUT)
        .unwrap()
        .set_attempt_timeout(ATTEMPT_TIMEOUT)
        .unwrap()
        .set_max_attempts(attempts)
        .unwrap()
        .set_roots(Roots::None);
    config.add_ca_pem(sandbox.ca_pem().as_bytes()).unwrap();
    clopos_auth::testing::set_clock(&mut config, clock.clock());
    Client::new(credentials(), &config).unwrap()
}

/// Whether bytes can be read on this process's connection to `port`, by the kernel's table.
fn has_unread_bytes(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let suffix = format!(":{port:04X}");
    !table.lines().any(|row| {
        let row: Vec<&str> = row.split_whitespace().collect();
        row.len() > 4
            && row[2].ends_with(&suffix)
            && row[3] == "01"
            && row[4].ends_with(":00000000")
    })
}

/// Measures how late this machine wakes sleeping threads. Calls may be late by as much.
struct Lateness {
    most: std::sync::Arc<Mutex<HashMap<usize, Duration>>>,
    stop: std::sync::Arc<AtomicBool>,
}

impl Lateness {
    fn start() -> Lateness {
        let lateness = Lateness {
            most: Default::default(),
            stop: Default::default(),
        };
        let (most, stop) = (lateness.most.clone(), lateness.stop.clone());
        thread::spawn(move || {
            const INTERVAL: Duration = Duration::from_millis(2);
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                thread::sleep(INTERVAL);
                let late = start.elapsed() - INTERVAL;
                for most in most.lock().unwrap().values_mut() {
                    *most = late.max(*most);
                }
            }
        });
        lateness
    }

    /// Starts a measurement for a cell.
    fn reset(&self, cell: usize) {
        self.most.lock().unwrap().insert(cell, Duration::ZERO);
    }

    /// Ends it and returns the greatest lateness.
    fn take(&self, cell: usize) -> Duration {
        self.most.lock().unwrap().remove(&cell).unwrap_or_default()
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
            let matrix = Matrix::new(lab);
            let cells: Vec<(&str, &str)> = STAGES
                .iter()
                .flat_map(|stage| FAULTS.map(|fault| (*stage, fault)))
                .collect();
            assert!(cells.len() >= 60);
            let results: Vec<Mutex<Option<CellResult>>> =
                cells.iter().map(|_| Mutex::default()).collect();
            let next = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..PARALLEL_CELLS {
                    scope.spawn(|| {
                        loop {
                            let number = next.fetch_add(1, Ordering::SeqCst);
                            let Some((stage, fault)) = cells.get(number) else {
                                return;
                            };
                            let result = matrix.test(number, &cell(stage, fault));
                            *results[number].lock().unwrap() = Some(result);
                        }
                    });
                }
            });
            let mut bad = Vec::new();
            lab::announce(format_args!(
                "| {:<11} | {:<8} | {:<12} | {:>8} | {:>8} | {:>8} | {:>11} | {:>8}",
                "stage", "fault", "status", "ms", "deadline", "requests", "connections", "next, ms"
            ));
            for ((stage, fault), result) in cells.iter().zip(results) {
                let result = result.into_inner().unwrap().expect("every cell was tested");
                lab::announce(format_args!(
                    "| {stage:<11} | {fault:<8} | {:<12} | {:>8} | {:>8} | {:>8} | {:>11} | {:>8}",
                    result.status.name(),
                    result.took.as_millis(),
                    result.timeout.as_millis(),
                    result.requests,
                    result.connections,
                    result.next.as_millis(),
                ));
                if !result.problems.is_empty() {
                    bad.push(format!("{stage}, {fault}: {}", result.problems.join("; ")));
                }
            }
            assert!(bad.is_empty(), "{}", bad.join("\n"));
        },
    );
}
