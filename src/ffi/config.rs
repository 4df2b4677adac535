//! The settings of a client, one setter each.

use std::ffi::{CString, c_char, c_void};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::boundary::{guard, invalid_handle, text};
use super::handle::{Kind, Table};
use super::object::clopos_auth_error;
use crate::{Config, Error, LogLevel, Roots, Status};

/// The settings of a client. An opaque handle. Not thread-safe: one thread at a time. May be freed after
/// `clopos_auth_client_new()`, which copies it.
pub struct clopos_auth_config {
    _opaque: [u8; 0],
}

/// Receives log lines. `level` is a CLOPOS_AUTH_LOG_* number; `line` is one NUL-terminated UTF-8 line
/// without a line break, valid during the call, and never contains a secret; `user` is the pointer that
/// was passed with the function.
///
/// It may be called from any thread, and on several threads at the same time. The library holds no lock
/// during the call: the function may call this library, even `clopos_auth_client_free()`. A sign-in waits
/// while the function runs, so a call with the same client inside it does not wait, whatever its
/// `timeout_ms` is: it returns the cached token, WOULD_WAIT or the last error. The function must not throw,
/// `longjmp` or unwind.
///
/// It is not called after `clopos_auth_client_free()` has returned. A function that frees its own client is
/// still running afterwards: `user` must stay valid until it returns. It must free no other client: two
/// functions that free each other's clients would wait for each other. In an interpreter or a managed
/// runtime, free the client before the runtime shuts down.
pub type clopos_auth_log_fn =
    Option<unsafe extern "C" fn(level: i32, line: *const c_char, user: *mut c_void)>;

/// Called when a call with a timeout of 0 would return something new: once each time that an attempt of the
/// client has ended (unless the next one starts at once), and if a sign-in has to wait before its first request.
/// `status` is OK if there is a new token, otherwise why the attempt failed or has to wait (a CLOPOS_AUTH_*
/// number): also of a refresh that fails while the cached token is still returned. `user` is the pointer that
/// was passed with the function. Not called for `clopos_auth_invalidate()` and `clopos_auth_cancel()`. Since
/// 1.1.
///
/// An event loop calls `clopos_auth_get_token()` with a timeout of 0. WOULD_WAIT means that a sign-in is
/// running: return to the loop, let this function post an event to it (write to an eventfd or a pipe,
/// PostMessage()), and call again when the event arrives. After an error, call again at the next event or
/// after the error's `retry_after_ms` (if that is not -1), whichever is first. (If the sign-in has further
/// attempts, it continues, and `request_in_flight` of `clopos_auth_get_state()` is 1. Otherwise the next call
/// starts another one.)
///
/// The rules of `clopos_auth_log_fn` apply: any thread, several at the same time, no lock held; it may call
/// this library, even `clopos_auth_client_free()`; a call with the same client inside it does not wait; it
/// must not throw, `longjmp` or unwind; it must free no client but its own; it is not called after
/// `clopos_auth_client_free()` has returned. If the library can start no thread, it is called inside a call
/// of yours: do not hold a lock during your calls that this function needs as well.
pub type clopos_auth_change_fn = Option<unsafe extern "C" fn(status: i32, user: *mut c_void)>;

static CONFIGS: Table<Mutex<Config>, ()> = Table::new(Kind::Config);

/// A copy of the settings behind a handle; NULL stands for the defaults.
pub(super) fn settings(config: *const clopos_auth_config) -> Result<Config, Error> {
    if config.is_null() {
        return Ok(Config::new());
    }
    let config = find(config)?;
    let config = config.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(config.clone())
}

fn find(config: *const clopos_auth_config) -> Result<Arc<Mutex<Config>>, Error> {
    CONFIGS
        .get(config.addr())
        .ok_or_else(|| invalid_handle("config"))
}

/// # Safety
/// As for [`guard`].
unsafe fn set(
    config: *mut clopos_auth_config,
    err: *mut *mut clopos_auth_error,
    set: impl FnOnce(&mut Config) -> Result<(), Error>,
) -> Status {
    // SAFETY: passed on.
    unsafe {
        guard(err, || {
            let config = find(config)?;
            set(&mut config.lock().unwrap_or_else(PoisonError::into_inner))
        })
    }
}

/// Returns settings with their defaults, or NULL if no handle is left. Check for NULL:
/// `clopos_auth_client_new()` accepts it and uses the defaults. Free it with `clopos_auth_config_free()`.
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn clopos_auth_config_new() -> *mut clopos_auth_config {
    let key = std::panic::catch_unwind(|| {
        CONFIGS
            .insert(|()| Ok::<_, Error>(Mutex::new(Config::new())))
            .ok()
            .flatten()
    });
    std::ptr::without_provenance_mut(key.ok().flatten().unwrap_or(0))
}

/// Frees settings. Does nothing for NULL and for a handle that was already freed. Clients that were made
/// with them are not affected.
#[unsafe(no_mangle)]
pub extern "C" fn clopos_auth_config_free(config: *mut clopos_auth_config) {
    let _ = std::panic::catch_unwind(|| CONFIGS.remove(config.addr(), |_| {}));
}

/// Where the service is: "https://HOST[:PORT][/PREFIX]", at most 2048 bytes, without user name, query or
/// fragment; the path of the sign-in is added (see `clopos_auth_config_set_auth_path()`). Default:
/// "https://integrations.clopos.com". Plain "http://" is accepted for this device itself (localhost,
/// 127.0.0.0/8, [::1]) and, with `clopos_auth_config_set_allow_plain_http()`, for any host; this is checked
/// in `clopos_auth_client_new()`. Without that permission it connects to loopback addresses only, whatever
/// the name resolves to, and uses no proxy (since 1.1).
///
/// Errors: INVALID_ARGUMENT, INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_set_base_url(
    config: *mut clopos_auth_config,
    base_url: *const c_char,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract: pointers are NULL or valid, strings NUL-terminated.
    unsafe {
        set(config, err, |config| {
            config.set_base_url(text("base_url", base_url)?).map(drop)
        })
    }
}

/// The path of the sign-in, which is added to the base URL: 1 to 256 bytes, beginning with one "/",
/// percent-encoded as in a URL, without query or fragment. Default: "/open-api/v2/auth". Set it if the
/// service has moved the sign-in: PROTOCOL with `http_status` 404, 410 or 3xx says so, and its message
/// names the path. It cannot name another host; `clopos_auth_config_set_base_url()` does. Since 1.1.
///
/// Errors: INVALID_ARGUMENT, INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_set_auth_path(
    config: *mut clopos_auth_config,
    auth_path: *const c_char,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        set(config, err, |config| {
            config
                .set_auth_path(text("auth_path", auth_path)?)
                .map(drop)
        })
    }
}

/// The timeout of calls whose `timeout_ms` is CLOPOS_AUTH_TIMEOUT_DEFAULT: 1 to 3 600 000 ms. Default:
/// 30 000.
///
/// Errors: INVALID_ARGUMENT, INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_set_timeout_ms(
    config: *mut clopos_auth_config,
    timeout_ms: u32,
    err: *mut *mut clopos_auth_error,
) -> Status {
    let timeout = Duration::from_millis(timeout_ms.into());
    // SAFETY: the caller's contract.
    unsafe { set(config, err, |config| config.set_timeout(timeout).map(drop)) }
}

/// The timeout of one attempt, from name resolution to the last byte of the response: 1 to 600 000 ms.
/// Default: 10 000 (the service's own upstream timeout is 8 000).
///
/// Errors: INVALID_ARGUMENT, INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_set_attempt_timeout_ms(
    config: *mut clopos_auth_config,
    attempt_timeout_ms: u32,
    err: *mut *mut clopos_auth_error,
) -> Status {
    let timeout = Duration::from_millis(attempt_timeout_ms.into());
    // SAFETY: the caller's contract.
    unsafe {
        set(config, err, |config| {
            config.set_attempt_timeout(timeout).map(drop)
        })
    }
}

/// The number of attempts of one sign-in, after which its callers get an error: 1 to 10. Default: 3. Only
/// transient failures are retried: TIMEOUT, DNS, CONNECT, SERVER, RATE_LIMITED, INTERNAL, and a PROXY that is
/// retryable.
///
/// Errors: INVALID_ARGUMENT, INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_set_max_attempts(
    config: *mut clopos_auth_config,
    max_attempts: u32,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        set(config, err, |config| {
            config.set_max_attempts(max_attempts).map(drop)
        })
    }
}

/// The maximum number of requests that this client starts in any minute, without those that cannot connect: 1
/// to 60. Default: 12. The service allows 60 a minute for all devices behind one public
/// IP address together (Clopos' page on rate limits), so five clients stay within it. Each client of each
/// process counts its own.
///
/// Errors: INVALID_ARGUMENT, INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_set_requests_per_minute(
    config: *mut clopos_auth_config,
    requests_per_minute: u32,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        set(config, err, |config| {
            config
                .set_requests_per_minute(requests_per_minute)
                .map(drop)
        })
    }
}

/// The root certificates that are trusted in addition to added ones: a CLOPOS_AUTH_ROOTS_* number. Default:
/// CLOPOS_AUTH_ROOTS_BUNDLED.
///
/// Errors: INVALID_ARGUMENT, INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_set_roots(
    config: *mut clopos_auth_config,
    roots: i32,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        set(config, err, |config| {
            config.set_roots(Roots::from_number(roots)?);
            Ok(())
        })
    }
}

/// Trusts more root certificates: `pem` is the *content* of a PEM file, `pem_len` its length in bytes
/// (no NUL needed, 1 MiB at most), with one or more BEGIN CERTIFICATE blocks. For a TLS-inspecting
/// proxy's CA, or, together with CLOPOS_AUTH_ROOTS_NONE, to trust a private CA only. May be called
/// repeatedly. On failure it adds nothing.
///
/// A server cannot use a CA's certificate (CA:TRUE) as its own, even if it is added here: "openssl req
/// -x509" makes such a one. Add the CA and let the server use a certificate that it has issued, or make
/// the self-signed certificate with CA:FALSE.
///
/// Errors: INVALID_ARGUMENT (empty, binary DER, damaged, a private key, no certificate inside),
/// INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_add_ca_pem(
    config: *mut clopos_auth_config,
    pem: *const c_char,
    pem_len: usize,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        set(config, err, |config| {
            if pem.is_null() {
                return Err(Error::invalid_argument("pem is NULL"));
            }
            // Checked here, too: a slice must not be longer than isize::MAX.
            let pem_len = pem_len.min(crate::roots::MAX_PEM_BYTES + 1);
            // SAFETY: the caller's contract: `pem_len` bytes can be read.
            let pem = slice::from_raw_parts(pem.cast::<u8>(), pem_len);
            config.add_ca_pem(pem).map(drop)
        })
    }
}

/// The HTTP proxy to use: "http://[USER[:PASSWORD]@]HOST[:PORT]" (percent-encoded, at most 2048 bytes, port
/// 80 unless given), "none", or "environment", the default: HTTPS_PROXY or else ALL_PROXY, unless NO_PROXY
/// names the host; each also in lower case. For an "http://" base URL it is http_proxy, in lower case only,
/// instead of HTTPS_PROXY. The variables are read once, in `clopos_auth_client_new()`, not again in a forked
/// child; localhost never goes through their proxy. If the one for the base URL cannot be used, such as a
/// SOCKS or "https://" proxy, `clopos_auth_client_new()` fails with PROXY (not retryable).
///
/// The first client of a process reads the proxy variables in any case, since the HTTP library does; later
/// ones read them only with "environment". No thread may call setenv() while a client is made.
///
/// Errors: INVALID_ARGUMENT, INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_set_proxy(
    config: *mut clopos_auth_config,
    proxy: *const c_char,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        set(config, err, |config| {
            config.set_proxy(text("proxy", proxy)?).map(drop)
        })
    }
}

/// Names the host program in the User-Agent header, before this library's own
/// "libclopos_auth/VERSION": 1 to 256 printable ASCII characters, such as "MyTill/4.2".
/// Default: only the library's own.
///
/// Errors: INVALID_ARGUMENT, INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_set_user_agent(
    config: *mut clopos_auth_config,
    user_agent: *const c_char,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        set(config, err, |config| {
            config
                .set_user_agent(text("user_agent", user_agent)?)
                .map(drop)
        })
    }
}

/// 1 permits "http://" to other hosts than this device. The client secret is then sent unencrypted: for
/// testing only. 0, the default, forbids it.
///
/// Errors: INVALID_ARGUMENT (neither 0 nor 1), INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_set_allow_plain_http(
    config: *mut clopos_auth_config,
    allow: i32,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        set(config, err, |config| {
            config.set_allow_plain_http(match allow {
                0 => false,
                1 => true,
                _ => return Err(Error::invalid_argument("allow is neither 0 nor 1")),
            });
            Ok(())
        })
    }
}

/// Sends the log lines whose number is `level` (a CLOPOS_AUTH_LOG_* number) or less to `log`, together with
/// `user`. If `log` is NULL, the default, nothing is logged; `level` and `user` are then ignored. `user`
/// must stay valid until every client that was made with these settings is freed.
///
/// Errors: INVALID_ARGUMENT, INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_set_log(
    config: *mut clopos_auth_config,
    level: i32,
    log: clopos_auth_log_fn,
    user: *mut c_void,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        set(config, err, |config| {
            match log {
                Some(function) => {
                    let target = Target { function, user };
                    config.set_log(LogLevel::from_number(level)?, move |level, line| {
                        target.log(level, line)
                    })
                }
                None => config.clear_log(),
            };
            Ok(())
        })
    }
}

/// Sets the function that is called at each change, with `user`: see `clopos_auth_change_fn`. If it is NULL,
/// the default, nothing is called; `user` is then ignored. `user` must stay valid until every client that was
/// made with these settings is freed. Since 1.1.
///
/// Errors: INVALID_HANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_config_set_on_change(
    config: *mut clopos_auth_config,
    on_change: clopos_auth_change_fn,
    user: *mut c_void,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        set(config, err, |config| {
            match on_change {
                Some(function) => {
                    let target = Target { function, user };
                    config.set_on_change(move |status| target.changed(status))
                }
                None => config.clear_on_change(),
            };
            Ok(())
        })
    }
}

/// A C function with its user pointer.
struct Target<F> {
    function: F,
    user: *mut c_void,
}

// SAFETY: the contract of both types of function is to be called from any thread; the pointer is only
// passed to them.
unsafe impl<F: Send> Send for Target<F> {}
// SAFETY: as above.
unsafe impl<F: Sync> Sync for Target<F> {}

impl Target<unsafe extern "C" fn(i32, *const c_char, *mut c_void)> {
    fn log(&self, level: LogLevel, line: &str) {
        // Lines have no NUL: texts of the server come without control characters.
        let Ok(line) = CString::new(line) else { return };
        // SAFETY: the contract of clopos_auth_log_fn; `line` lives until the call returns.
        unsafe { (self.function)(level as i32, line.as_ptr(), self.user) }
    }
}

impl Target<unsafe extern "C" fn(i32, *mut c_void)> {
    fn changed(&self, status: Status) {
        // SAFETY: the contract of clopos_auth_change_fn.
        unsafe { (self.function)(status as i32, self.user) }
    }
}
