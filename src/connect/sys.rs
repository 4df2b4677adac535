//! The libc calls that the standard library has no safe form of. The only file here with `unsafe`.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// A TCP socket that does not block and is not connected yet.
pub(super) fn open(address: &SocketAddr) -> io::Result<TcpStream> {
    let family = match address {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    // At creation where that exists: another thread of the host may be between fork and exec.
    #[cfg(not(target_vendor = "apple"))]
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    #[cfg(target_vendor = "apple")]
    let kind = libc::SOCK_STREAM;

    // SAFETY: takes no pointers.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: `fd` was just made, and nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };

    #[cfg(target_vendor = "apple")]
    {
        // What the standard library does for its own sockets there: close on exec, no SIGPIPE.
        let on: libc::c_int = 1;
        // SAFETY: `fd` is open; the option's value is a c_int that outlives the call.
        unsafe {
            check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC))?;
            check(libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NOSIGPIPE,
                (&raw const on).cast(),
                mem::size_of_val(&on) as libc::socklen_t,
            ))?;
        }
    }

    let stream = TcpStream::from(fd);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Starts connecting; `true` if that is already done.
pub(super) fn connect(stream: &TcpStream, address: &SocketAddr) -> io::Result<bool> {
    let fd = stream.as_raw_fd();
    let result = match address {
        SocketAddr::V4(v4) => {
            // SAFETY: sockaddr_in is plain integers, for which all zeroes is a value.
            let mut raw: libc::sockaddr_in = unsafe { mem::zeroed() };
            raw.sin_family = libc::AF_INET as libc::sa_family_t;
            raw.sin_port = v4.port().to_be();
            raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            let length = mem::size_of_val(&raw) as libc::socklen_t;
            // SAFETY: `raw` is a valid address of `length` bytes that outlives the call.
            unsafe { libc::connect(fd, (&raw const raw).cast(), length) }
        }
        SocketAddr::V6(v6) => {
            // SAFETY: sockaddr_in6 is plain integers, for which all zeroes is a value.
            let mut raw: libc::sockaddr_in6 = unsafe { mem::zeroed() };
            raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            raw.sin6_port = v6.port().to_be();
            raw.sin6_addr.s6_addr = v6.ip().octets();
            raw.sin6_flowinfo = v6.flowinfo();
            raw.sin6_scope_id = v6.scope_id();
            let length = mem::size_of_val(&raw) as libc::socklen_t;
            // SAFETY: `raw` is a valid address of `length` bytes that outlives the call.
            unsafe { libc::connect(fd, (&raw const raw).cast(), length) }
        }
    };
    match check(result) {
        Ok(_) => Ok(true),
        // An interrupted connect goes on by itself, like one that would block.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Waits until one of `streams` has connected or failed to: its index, or `None` when `timeout`
/// ran out or a signal arrived.
pub(super) fn wait<'a>(
    streams: impl Iterator<Item = &'a TcpStream>,
    timeout: Option<Duration>,
) -> io::Result<Option<usize>> {
    let mut waiting: Vec<libc::pollfd> = streams
        .map(|stream| libc::pollfd {
            fd: stream.as_raw_fd(),
            events: libc::POLLOUT,
            revents: 0,
        })
        .collect();
    // Rounded up: rounded down, the last millisecond would be spent spinning.
    let timeout_ms = timeout.map_or(-1, |timeout| {
        libc::c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
    });
    // SAFETY: the pointer and the length are those of `waiting`, which nothing else touches.
    let ready = unsafe {
        libc::poll(
            waiting.as_mut_ptr(),
            waiting.len() as libc::nfds_t,
            timeout_ms,
        )
    };
    match check(ready) {
        Ok(_) => Ok(waiting.iter().position(|entry| entry.revents != 0)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

/// From now on, gives the connection up when something that was sent is not acknowledged for this
/// long. Best effort: systems without the option go by their own, longer limits.
pub(super) fn expect_acknowledgement_within(stream: &TcpStream, limit: Duration) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let ms = libc::c_uint::try_from(limit.as_millis()).unwrap_or(libc::c_uint::MAX);
        // SAFETY: the descriptor is open; the option's value is a c_uint that outlives the call.
        unsafe {
            libc::setsockopt(
                stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_USER_TIMEOUT,
                (&raw const ms).cast(),
                mem::size_of_val(&ms) as libc::socklen_t,
            );
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (stream, limit);
}

/// Whether nothing has arrived on the connection, not even its end.
pub(super) fn is_idle(stream: &TcpStream) -> bool {
    let mut byte = 0u8;
    // SAFETY: `byte` is one writable byte that outlives the call.
    let peeked = unsafe {
        libc::recv(
            stream.as_raw_fd(),
            (&raw mut byte).cast(),
            1,
            libc::MSG_PEEK | libc::MSG_DONTWAIT,
        )
    };
    peeked < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

/// The name of the code of `getaddrinfo` whose message, as far as it is UTF-8, is `text`.
pub(super) fn resolver_code(text: &str) -> Option<&'static str> {
    const CODES: [(libc::c_int, &str); 6] = [
        (libc::EAI_NONAME, "EAI_NONAME: there is no such name"),
        (libc::EAI_AGAIN, "EAI_AGAIN: no name server answers"),
        (libc::EAI_FAIL, "EAI_FAIL: the name server failed"),
        (libc::EAI_MEMORY, "EAI_MEMORY: out of memory"),
        (libc::EAI_FAMILY, "EAI_FAMILY: no address of a usable kind"),
        (libc::EAI_SERVICE, "EAI_SERVICE: unknown service"),
    ];
    let message = |code| {
        // SAFETY: takes any number and returns a string that stays as it is: a constant or part of
        // the loaded translations.
        unsafe { CStr::from_ptr(libc::gai_strerror(code)) }.to_string_lossy()
    };
    let found = CODES.into_iter().find(|(code, _)| message(*code) == text);
    found.map(|(_, name)| name)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    #[test]
    fn a_resolver_message_that_is_not_utf_8_is_named_by_its_code() {
        // SAFETY: as in `resolver_code`.
        let text = unsafe { CStr::from_ptr(libc::gai_strerror(libc::EAI_AGAIN)) };
        let code = resolver_code(&text.to_string_lossy());
        assert_eq!(code, Some("EAI_AGAIN: no name server answers"));
        assert_eq!(resolver_code("\u{fffd}sim"), None);
    }

    /// On the library's own threads signals are blocked, but where none can be had, the host's wait.
    #[test]
    fn a_signal_ends_the_wait_and_is_no_failure() {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGUSR2, nothing as *const () as libc::sighandler_t) };
        let (sender, receiver) = mpsc::channel();
        let waiter = thread::spawn(move || {
            // SAFETY: takes no arguments and cannot fail.
            sender.send(unsafe { libc::pthread_self() }).unwrap();
            let start = Instant::now();
            let ended = wait(std::iter::empty(), Some(Duration::from_secs(20)));
            (ended.unwrap(), start.elapsed())
        });
        let id = receiver.recv().unwrap();
        while !waiter.is_finished() {
            // SAFETY: the thread is not joined yet, so its id is still its own.
            unsafe { libc::pthread_kill(id, libc::SIGUSR2) };
            thread::sleep(Duration::from_millis(5));
        }
        let (ended, took) = waiter.join().unwrap();
        assert_eq!(ended, None);
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}
