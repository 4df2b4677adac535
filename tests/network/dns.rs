//! A name server that a test controls: the addresses of each name, and the fault of its responses.
#![allow(dead_code)] // Every test program uses a part of it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::lab::{Lab, STORE_V4};

const A: u16 = 1;
const AAAA: u16 = 28;

/// How the name server responds. `…Tcp` and `Oversize`: the response over UDP is marked as truncated, so that the
/// resolver asks again over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsFault {
    None,
    /// With this code: 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    Code(u8),
    /// Not at all.
    Silent,
    /// With bytes that are no DNS.
    Garbage,
    /// Over TCP, the connection is reset after the question.
    ResetTcp,
    /// Over TCP, the response ends in the middle.
    TruncateTcp,
    /// Over TCP, a byte is sent every 100 ms.
    DripTcp,
    /// Over TCP, 3000 addresses, of which only the first can be reached.
    Oversize,
    /// After this time.
    Slow(Duration),
    /// With NXDOMAIN, this many times.
    Flap(u32),
}

#[derive(Clone)]
struct Name {
    addresses: Vec<IpAddr>,
    fault: DnsFault,
}

/// Its threads run until the end of the process.
#[derive(Clone)]
pub struct NameServer {
    names: Arc<Mutex<HashMap<String, Name>>>,
}

impl NameServer {
    /// Starts it in the store, at the address in the till's `resolv.conf`.
    pub fn start(lab: &Lab) -> NameServer {
        let server = NameServer {
            names: Arc::default(),
        };
        lab.in_store(|| {
            let udp = UdpSocket::bind((STORE_V4, 53)).expect("port 53 is free");
            let tcp = TcpListener::bind((STORE_V4, 53)).expect("port 53 is free");
            let on_udp = server.clone();
            thread::spawn(move || on_udp.serve_udp(&udp));
            let on_tcp = server.clone();
            thread::spawn(move || {
                for stream in tcp.incoming().flatten() {
                    let server = on_tcp.clone();
                    thread::spawn(move || server.serve_tcp(stream));
                }
            });
        });
        server
    }

    pub fn set(&self, name: &str, addresses: &[IpAddr]) {
        self.fail(name, addresses, DnsFault::None);
    }

    pub fn fail(&self, name: &str, addresses: &[IpAddr], fault: DnsFault) {
        let name = name.to_ascii_lowercase();
        let addresses = addresses.to_vec();
        let entry = Name { addresses, fault };
        self.names.lock().unwrap().insert(name, entry);
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Some(question) = Question::parse(&buffer[..length]) else {
                continue;
            };
            let response = match self.look_up(&question) {
                (_, DnsFault::Silent) => continue,
                (_, DnsFault::Garbage) => vec![0xFF; 40],
                (_, DnsFault::Code(code)) => question.response(&[], code, false),
                (
                    _,
                    DnsFault::ResetTcp
                    | DnsFault::TruncateTcp
                    | DnsFault::DripTcp
                    | DnsFault::Oversize,
                ) => question.response(&[], 0, true),
                (addresses, DnsFault::Slow(time)) => {
                    let response = question.response(&addresses, 0, false);
                    let socket = socket.try_clone().unwrap();
                    thread::spawn(move || {
                        thread::sleep(time);
                        socket.send_to(&response, from)
                    });
                    continue;
                }
                (addresses, DnsFault::None | DnsFault::Flap(_)) => {
                    question.response(&addresses, 0, false)
                }
            };
            let _: Result<usize, _> = socket.send_to(&response, from);
        }
    }

    fn serve_tcp(&self, mut stream: TcpStream) {
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut bytes).is_err() {
                return;
            }
            let Some(question) = Question::parse(&bytes) else {
                return;
            };
            let (mut addresses, fault) = self.look_up(&question);
            if fault == DnsFault::ResetTcp {
                return reset(&stream);
            }
            if fault == DnsFault::Oversize && question.kind == A {
                let unused = IpAddr::from([198, 51, 100, 1]);
                addresses.resize(3000, unused);
            }
            let response = question.response(&addresses, 0, false);
            let mut bytes = (response.len() as u16).to_be_bytes().to_vec();
            bytes.extend(response);
            if fault == DnsFault::TruncateTcp {
                bytes.truncate(bytes.len() / 2);
            }
            let step = match fault {
                DnsFault::DripTcp => 1,
                _ => bytes.len(),
            };
            for part in bytes.chunks(step) {
                if stream.write_all(part).is_err() {
                    return;
                }
                if fault == DnsFault::DripTcp {
                    thread::sleep(Duration::from_millis(100));
                }
            }
            if fault == DnsFault::TruncateTcp {
                return;
            }
        }
    }

    fn look_up(&self, question: &Question) -> (Vec<IpAddr>, DnsFault) {
        let mut names = self.names.lock().unwrap();
        let Some(name) = names.get_mut(&question.name) else {
            return (Vec::new(), DnsFault::Code(3));
        };
        let mut fault = name.fault;
        if let DnsFault::Flap(times) = fault
            && times > 0
        {
            if question.kind == A {
                name.fault = DnsFault::Flap(times - 1);
            }
            fault = DnsFault::Code(3);
        }
        let wanted = |address: &IpAddr| match address {
            IpAddr::V4(_) => question.kind == A,
            IpAddr::V6(_) => question.kind == AAAA,
        };
        let addresses = name.addresses.iter().copied().filter(wanted).collect();
        (addresses, fault)
    }
}

/// Closes a connection with a reset (RST).
pub fn reset(stream: &TcpStream) {
    use std::os::fd::AsRawFd;
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the descriptor is open; the option's value is a linger that outlives the call.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of_val(&linger) as libc::socklen_t,
        )
    };
    assert_eq!(set, 0);
}

struct Question {
    id: [u8; 2],
    /// The question section, which a response repeats.
    section: Vec<u8>,
    name: String,
    kind: u16,
}

impl Question {
    fn parse(bytes: &[u8]) -> Option<Question> {
        let mut at = 12;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            let label = bytes.get(at..at + length)?;
            labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
            at += length;
        }
        let kind = bytes.get(at..at + 2)?;
        Some(Question {
            id: [bytes[0], bytes[1]],
            section: bytes.get(12..at + 4)?.to_vec(),
            name: labels.join("."),
            kind: u16::from_be_bytes([kind[0], kind[1]]),
        })
    }

    fn response(&self, addresses: &[IpAddr], code: u8, truncated: bool) -> Vec<u8> {
        let flags = 0x84 | if truncated { 0x02 } else { 0 };
        let count = (addresses.len() as u16).to_be_bytes();
        let mut bytes = vec![self.id[0], self.id[1], flags | 0x01, 0x80 | code];
        bytes.extend([0, 1, count[0], count[1], 0, 0, 0, 0]);
        bytes.extend(&self.section);
        for address in addresses {
            bytes.extend([0xC0, 12]);
            bytes.extend(self.kind.to_be_bytes());
            bytes.extend([0, 1, 0, 0, 0, 0]);
            match address {
                IpAddr::V4(v4) => {
                    bytes.extend([0, 4]);
                    bytes.extend(v4.octets());
                }
                IpAddr::V6(v6) => {
                    bytes.extend([0, 16]);
                    bytes.extend(v6.octets());
                }
            }
        }
        bytes
    }
}
