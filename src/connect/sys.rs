//! What the standard library has no form of: sockets that connect without blocking, and waiting for them.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

/// A TCP socket that does not block and is not connected yet.
pub(super) fn open(address: &SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
    let stream = TcpStream::from(socket);
    // The standard library's way needs one system call, socket2's two.
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Starts connecting; `true` if that is already done.
pub(super) fn connect(stream: &TcpStream, address: &SocketAddr) -> io::Result<bool> {
    match SockRef::from(stream).connect(&(*address).into()) {
        Ok(()) => Ok(true),
        // An interrupted connect continues, like one that would block.
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
    // Rounded up: otherwise the last millisecond would be spent in a busy loop.
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

/// From now on the connection fails if something that was sent is not acknowledged within this
/// time. Best effort: systems without the option have their own, longer limits.
pub(super) fn expect_acknowledgement_within(stream: &TcpStream, limit: Duration) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(limit));
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (stream, limit);
}

/// Whether nothing has arrived on the connection, not even its end.
pub(super) fn is_idle(stream: &TcpStream) -> bool {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    let peeked = SockRef::from(stream).recv_with_flags(&mut [MaybeUninit::uninit()], flags);
    matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
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

    /// Threads of the library block signals. If none can be started, the wait is on a thread of the host.
    #[test]
    fn a_signal_ends_the_wait_without_an_error() {
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
