//! Calls keep their deadlines at whichever stage the request hangs. Measured in real time, so this is a program
//! of its own: `cargo test` runs no other at the same time. nextest does, so the bounds leave room for that.
#![cfg(target_os = "linux")]

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clopos_auth::{Client, Config, Status};
use clopos_sandbox::Fault;

use support::*;

const DEADLINE: Duration = Duration::from_millis(250);

/// While a request hangs: calls keep their deadlines, a call with timeout 0 does not wait, and cancel and close
/// wake waiting calls.
fn assert_calls_keep_deadlines(client: Client) {
    let client = Arc::new(client);
    assert_eq!(
        status(returns_after(Duration::ZERO, || client.get_token(Some(Duration::ZERO)))),
        Status::WouldWait
    );
    // These join the request of the first call.
    assert_eq!(
        status(returns_after(DEADLINE, || client.get_token(Some(DEADLINE)))),
        Status::Timeout
    );
    assert_eq!(
        status(returns_after(DEADLINE, || client.authenticate(Some(DEADLINE)))),
        Status::Timeout
    );
    for close in [false, true] {
        let callers = waiters(3, {
            let client = client.clone();
            move || client.get_token(None)
        });
        callers.until_asleep();
        let wake = || {
            if close {
                client.close();
            } else {
                client.cancel();
            }
        };
        for result in ends_promptly(wake, callers) {
            assert_eq!(status(result), Status::Cancelled);
        }
    }
}

/// The call that starts the request also keeps its deadline.
fn assert_first_call_keeps_deadline(client: &Client) {
    assert_eq!(
        status(returns_after(DEADLINE, || client.get_token(Some(DEADLINE)))),
        Status::Timeout
    );
    client.close();
}

#[test]
fn calls_keep_their_deadlines_while_headers_or_body_stall_or_drip() {
    for fault in [
        Fault::RequestHang,
        Fault::StatusHang,
        Fault::HeadersHang,
        Fault::HeadersDrip,
        Fault::BodyHang,
        Fault::BodyDrip,
    ] {
        let fixture = Fixture::start();
        fixture.sandbox.fail(fault);
        assert_first_call_keeps_deadline(&fixture.client(&fixture.config()));
        assert_calls_keep_deadlines(fixture.client(&fixture.config()));
    }
}

#[test]
fn calls_keep_their_deadlines_while_the_handshake_stalls_or_drips() {
    for fault in [Fault::TlsHang, Fault::TlsDrip, Fault::RequestHang] {
        let fixture = Fixture::with_tls();
        fixture.sandbox.fail(fault);
        assert_first_call_keeps_deadline(&fixture.client(&fixture.config()));
        assert_calls_keep_deadlines(fixture.client(&fixture.config()));
    }
}

#[test]
fn calls_keep_their_deadlines_while_the_connection_stalls() {
    let (address, _full) = full_listener();
    let mut config = Config::new();
    config
        .set_base_url(&format!("http://{address}"))
        .and_then(|config| config.set_proxy("none"))
        .unwrap();
    assert_first_call_keeps_deadline(&Client::new(credentials(), &config).unwrap());
    assert_calls_keep_deadlines(Client::new(credentials(), &config).unwrap());
}

#[test]
fn calls_keep_their_deadlines_while_the_name_server_is_silent() {
    const INSIDE: &str = "CLOPOS_TEST_INSIDE_NETWORK_NAMESPACE";
    if std::env::var_os(INSIDE).is_none() {
        run_under(
            &["unshare", "--user", "--map-root-user", "--net", "--mount"],
            calls_keep_their_deadlines_while_the_name_server_is_silent,
            INSIDE,
        );
        return;
    }
    let _silent = silent_name_server();
    let mut config = Config::new();
    config
        .set_base_url("https://a-till.example")
        .and_then(|config| config.set_proxy("none"))
        .unwrap();
    assert_first_call_keeps_deadline(&Client::new(credentials(), &config).unwrap());
    assert_calls_keep_deadlines(Client::new(credentials(), &config).unwrap());
}

#[test]
fn a_call_without_a_timeout_uses_the_configured_one() {
    let fixture = Fixture::start();
    fixture.sandbox.fail(Fault::RequestHang);
    let mut config = fixture.config();
    config.set_timeout(DEADLINE).unwrap();
    let client = fixture.client(&config);
    let result = returns_after(DEADLINE, || client.get_token(None));
    assert_eq!(status(result), Status::Timeout);
}

#[test]
fn a_call_with_a_short_timeout_does_not_wait_for_a_request_that_a_longer_call_started() {
    let fixture = Fixture::start();
    fixture.sandbox.fail(Fault::RequestHang);
    let client = Arc::new(fixture.client(&fixture.config()));
    let long_call = waiters(1, {
        let client = client.clone();
        move || status(client.get_token(None))
    });
    fixture.until_requests(1);
    let short_calls: Vec<_> = [50, 500, 1000]
        .into_iter()
        .map(|deadline| {
            let client = client.clone();
            thread::spawn(move || {
                let deadline = deadline * MS;
                returns_after(deadline, || client.get_token(Some(deadline)))
            })
        })
        .collect();
    for call in short_calls {
        assert_eq!(status(call.join().unwrap()), Status::Timeout);
    }
    assert_eq!(fixture.requests(), 1);
    client.close();
    for status in long_call.results() {
        assert_eq!(status, Status::Cancelled);
    }
}

#[test]
fn an_attempt_that_hangs_ends_at_the_attempt_timeout_and_the_next_one_succeeds() {
    let fixture = Fixture::start();
    fixture.sandbox.fail_times(Fault::BodyDrip, 1);
    let mut config = fixture.config();
    config.set_attempt_timeout(DEADLINE).unwrap();
    let client = fixture.client(&config);
    let (result, took) = timed(|| status(client.get_token(None)));
    assert_eq!(result, Status::Ok);
    // Without the setting, the first attempt alone takes 10 s.
    assert!(took < 8 * SECOND, "{took:?}");
    assert_eq!(fixture.requests(), 2);
}

/// An address at which connections are neither accepted nor refused.
fn full_listener() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: the descriptor is open and listening; this only shortens its queue.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, 100 * MS) {
        queue.push(stream);
    }
    (address, (listener, queue))
}

/// Makes a socket that never responds the only name server of this namespace.
fn silent_name_server() -> UdpSocket {
    // SAFETY: plain system calls with valid, NUL-terminated arguments that live long enough.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        assert_eq!(libc::ioctl(socket, libc::SIOCSIFFLAGS, &request), 0);
        libc::close(socket);

        let path = std::env::temp_dir().join(format!("clopos-resolv-{}", std::process::id()));
        std::fs::write(
            &path,
            "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n",
        )
        .unwrap();
        let source = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        let target = c"/etc/resolv.conf".as_ptr();
        let none = std::ptr::null();
        assert_eq!(
            libc::mount(source.as_ptr(), target, none, libc::MS_BIND, none.cast()),
            0,
            "{}",
            std::io::Error::last_os_error()
        );
        // The mount keeps the file.
        std::fs::remove_file(path).unwrap();
    }
    UdpSocket::bind("127.0.0.1:53").expect("port 53 is free in this namespace")
}
