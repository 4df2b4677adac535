//! The client: made, asked for tokens, freed.

use std::ffi::c_char;
use std::sync::Arc;
use std::time::Duration;

use super::boundary::{guard, guard_status, invalid_handle, optional_output, output, text};
use super::config::{clopos_auth_config, settings};
use super::handle::{Kind, Table};
use super::object::{
    clopos_auth_error, clopos_auth_state, clopos_auth_token, new_state, new_token, whole_seconds,
};
use crate::cache::{CachedToken, TokenCache};
use crate::check;
use crate::clock::CoarseTime;
use crate::protocol::MAX_TOKEN_BYTES;
use crate::{Client, Credentials, Error, Status};

/// Signs in to the service and keeps the token. An opaque handle, not a pointer to memory: an invalid one
/// gives INVALID_HANDLE and never crashes. (Bindings: store it as an integer or as a pointer to an incomplete
/// type, because a garbage collector may mistake it for an address.) Any number of threads may use a client at
/// the same time, and one may free it while others use it.
pub struct clopos_auth_client {
    _opaque: [u8; 0],
}

/// A value for `timeout_ms`: the time set by `clopos_auth_config_set_timeout_ms()`, by default 30 000 ms.
pub const CLOPOS_AUTH_TIMEOUT_DEFAULT: u32 = u32::MAX;

/// The maximum length of a token in bytes, without the NUL: a buffer of this plus 1 is always large enough.
pub const CLOPOS_AUTH_TOKEN_MAX: usize = 8192;
const _: () = assert!(CLOPOS_AUTH_TOKEN_MAX == MAX_TOKEN_BYTES);

/// Each slot has a token cache that its clients use one after the other, so that a cached token is read with
/// one lock-free load. Simpler would be a cache inside the client, but then there are two: of the client in
/// its slot and of the token in its client. Measured in one run, `clopos_auth_copy_token()` took 53 ns that
/// way and 35 ns this way, on 1, 8 and 32 threads alike: half as much again in the call that a program makes
/// before every request. A lock or a reference count in place of a load would not scale with the threads.
static CLIENTS: Table<Client, Arc<TokenCache>> = Table::new(Kind::Client);

fn find(client: *const clopos_auth_client) -> Result<Arc<Client>, Error> {
    CLIENTS
        .get(client.addr())
        .ok_or_else(|| invalid_handle("client"))
}

fn timeout(timeout_ms: u32) -> Option<Duration> {
    (timeout_ms != CLOPOS_AUTH_TIMEOUT_DEFAULT).then(|| Duration::from_millis(timeout_ms.into()))
}

/// Reads the cached token of a client where `get_token` would give it without doing anything else: from
/// the slot's cache, without a lock or a reference count. `read` may run although the client is freed in
/// that very moment; then its result is dropped.
#[inline(always)]
fn read_cached<R>(
    client: *const clopos_auth_client,
    read: impl FnOnce(&CachedToken, Duration) -> R,
) -> Option<R> {
    let key = client.addr();
    let now = CoarseTime::now();
    let slot = CLIENTS.find(key)?;
    slot.slot_data.read(now, read).filter(|_| slot.has_key(key))
}

/// Reads the token of a client: the cached one, or what the client gets.
#[inline(always)]
fn read_token<R>(
    client: *const clopos_auth_client,
    timeout_ms: u32,
    read: impl Fn(&CachedToken, Duration) -> R,
) -> Result<R, Error> {
    if let Some(result) = read_cached(client, &read) {
        return Ok(result);
    }
    let token = find(client)?.get_token(timeout(timeout_ms))?;
    Ok(read(token.cached(), token.expires_in()))
}

fn no_memory() -> Error {
    Error::new(Status::Internal, "out of memory")
}

/// Makes a client. Copies all its arguments; sends nothing yet.
///
/// `client_id`, `client_secret`, `brand`: the store's; its back office shows the first two (Add-ons, Open
/// API). `integrator_id`: the integration's, issued by Clopos; the same for every store. Each is
/// NUL-terminated UTF-8, 1 to 1024 bytes, no control characters.
/// `config`: NULL for the defaults; copied, may be freed at once.
/// `out`: receives the client; free it with `clopos_auth_client_free()`. NULL on failure.
/// `err`: may be NULL; receives an error to free on failure, else NULL.
///
/// Errors: INVALID_ARGUMENT (also for conflicting settings: plain http to another host,
/// CLOPOS_AUTH_ROOTS_NONE without an added certificate), INVALID_HANDLE (`config`), PROXY (an unusable
/// URL in the environment), INTERNAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_client_new(
    client_id: *const c_char,
    client_secret: *const c_char,
    brand: *const c_char,
    integrator_id: *const c_char,
    config: *const clopos_auth_config,
    out: *mut *mut clopos_auth_client,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract: pointers are NULL or valid, strings NUL-terminated.
    unsafe {
        guard(err, || {
            let out = output("out", out, std::ptr::null_mut())?;
            let credentials = Credentials::new(
                text("client_id", client_id)?,
                text("client_secret", client_secret)?,
                text("brand", brand)?,
                text("integrator_id", integrator_id)?,
            )?;
            let settings = settings(config)?;
            let key = CLIENTS
                .insert(|cache| Client::with_cache(credentials, &settings, cache.clone()))?;
            let key = key.ok_or_else(|| Error::new(Status::Internal, "too many clients"))?;
            out.set(std::ptr::without_provenance_mut(key));
            Ok(())
        })
    }
}

/// Frees a client: wipes its token and credentials, closes its connections. Does nothing for NULL and for a
/// handle that was already freed. Any thread, also while others use the client: waiting calls return
/// CANCELLED immediately, others INVALID_HANDLE. Blocks only while a log or change function of this client
/// runs on another thread; afterwards neither is called again. If several threads free the same client at
/// the same time, this is true for each of them.
///
/// A request in progress is aborted. The system's resolver cannot be: if no name server answers, a client
/// leaves one thread, or up to four if it had tried several times, until the resolver gives up (see THREADS).
/// On Windows, making a connection cannot be aborted either: a thread for each address is left until the attempt's
/// timeout, and one of them has the credentials.
#[unsafe(no_mangle)]
pub extern "C" fn clopos_auth_client_free(client: *mut clopos_auth_client) {
    let _ = std::panic::catch_unwind(|| CLIENTS.remove(client.addr(), Client::close));
}

/// Signs in now: requests a new token even if one is cached, or joins this client's sign-in that is running.
/// The new token replaces the cached one. For a "test the credentials" button; programs that just need a
/// token call `clopos_auth_get_token()`. Keeps the pauses, as that function does for a call without a token:
/// while no request may be sent, it waits or returns the last error.
///
/// `timeout_ms`: limits the whole call, see TIME. 0 does not wait: it starts or joins a sign-in and returns
/// WOULD_WAIT, or the last error while no request may be sent. The change function tells when the sign-in has
/// ended. From then on `clopos_auth_get_token()` returns its token (with another `serial`) if it has
/// succeeded, and another call of this function starts another sign-in.
/// `out`: receives the token; free it with `clopos_auth_token_free()`. NULL on failure.
/// `err`: may be NULL; receives an error to free on failure, else NULL.
///
/// Errors: every status but OK and BUFFER_TOO_SMALL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_authenticate(
    client: *mut clopos_auth_client,
    timeout_ms: u32,
    out: *mut *mut clopos_auth_token,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        guard(err, || {
            let out = output("out", out, std::ptr::null_mut())?;
            let token = find(client)?.authenticate(timeout(timeout_ms))?;
            let object = new_token(token.cached(), token.expires_in()).into_raw();
            if object.is_null() {
                return Err(no_memory());
            }
            out.set(object);
            Ok(())
        })
    }
}

/// Returns the cached token if it is fresh, immediately and without a lock; otherwise requests a new one.
/// Call it before every request instead of keeping a token yourself.
///
/// Well before a token becomes stale, a call starts a refresh in the background and returns the fresh token.
/// A call with a stale token waits for a new one, for half of the remaining lifetime at most, and then
/// returns the stale one. An expired token is never returned.
///
/// While no request may be sent, a call without a token waits, if the pause ends before its timeout; else it
/// returns the last error immediately. After REJECTED, TLS, CLOCK, PROTOCOL and a PROXY that is not retryable
/// it never waits. Wait for the error's `retry_after_ms` before the next call: a loop of calls without a pause
/// keeps a processor core busy.
///
/// `timeout_ms`: limits the whole call, see TIME. 0 does not wait: without a token it starts or joins a
/// sign-in and returns WOULD_WAIT, or the last error while no request may be sent.
/// `out`: receives the token; free it with `clopos_auth_token_free()`. NULL on failure.
/// `err`: may be NULL; receives an error to free on failure, else NULL.
///
/// Errors: every status but OK and BUFFER_TOO_SMALL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_get_token(
    client: *mut clopos_auth_client,
    timeout_ms: u32,
    out: *mut *mut clopos_auth_token,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        guard(err, || {
            let out = output("out", out, std::ptr::null_mut())?;
            let object = read_token(client, timeout_ms, new_token)?.into_raw();
            if object.is_null() {
                return Err(no_memory());
            }
            out.set(object);
            Ok(())
        })
    }
}

/// Like `clopos_auth_get_token()`, but copies the token into the caller's buffer: nothing to free, and no
/// allocation if the token is fresh and no refresh is started.
///
/// `buf`, `cap`: the buffer and its size; receives the token and a NUL. On failure `buf` holds the empty
/// string (if `cap` is not 0). `buf` may be NULL if `cap` is 0. Tokens are about 400 bytes today and
/// CLOPOS_AUTH_TOKEN_MAX at most.
/// `needed`: may be NULL; receives the size of the token with its NUL, in bytes, on OK and on
/// BUFFER_TOO_SMALL, else 0.
/// `expires_at`: may be NULL; receives the expiry in Unix seconds, by the server's clock; 0 on failure.
///
/// Errors: every status but OK; BUFFER_TOO_SMALL if `cap` is less than `*needed`. Any thread. Wiping
/// `buf` is up to the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_copy_token(
    client: *mut clopos_auth_client,
    timeout_ms: u32,
    buf: *mut c_char,
    cap: usize,
    needed: *mut usize,
    expires_at: *mut i64,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        guard(err, || {
            let needed = optional_output(needed, 0);
            let expires_at = optional_output(expires_at, 0);
            if buf.is_null() && cap != 0 {
                return Err(Error::invalid_argument("buf is NULL, but cap is not 0"));
            }
            if cap != 0 {
                buf.write(0);
            }
            let (bytes, ends) = read_token(client, timeout_ms, |cached, _| {
                let token = cached.grant.token.expose();
                if token.len() < cap {
                    // SAFETY: the caller's contract: `cap` bytes can be written.
                    buf.cast::<u8>()
                        .copy_from_nonoverlapping(token.as_ptr(), token.len());
                    buf.add(token.len()).write(0);
                }
                (token.len() + 1, cached.grant.expires_at)
            })
            .inspect_err(|_| wipe(buf, cap))?;
            if let Some(needed) = needed {
                needed.set(bytes);
            }
            if bytes > cap {
                return Err(Error::new(
                    Status::BufferTooSmall,
                    format!("the token needs {bytes} bytes with its NUL; the buffer has {cap}"),
                ));
            }
            if let Some(expires_at) = expires_at {
                expires_at.set(ends);
            }
            Ok(())
        })
    }
}

/// Leaves the empty string, and no part of a token, in a buffer.
///
/// # Safety
/// `cap` bytes can be written to `buf`.
unsafe fn wipe(buf: *mut c_char, cap: usize) {
    if cap != 0 {
        // SAFETY: this function's contract; zeros are initialised bytes.
        unsafe { buf.write_bytes(0, cap.min(MAX_TOKEN_BYTES + 1)) };
    }
}

/// Returns the `serial` of the cached token if that is fresh and not due to be replaced, else 0, also if the
/// handle is not valid; then call `clopos_auth_get_token()`. For wrappers that keep a token object of their
/// own: as long as the number is the same, that object is current. Costs less than
/// `clopos_auth_copy_token()`: no lock, no allocation. Since 1.1.
///
/// `expires_in`: may be NULL; receives the remaining seconds of the token, 0 if the function returns 0.
///
/// Any thread, never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_current(
    client: *const clopos_auth_client,
    expires_in: *mut i64,
) -> u64 {
    let (serial, left) = read_cached(client, |token, left| (token.serial(), whole_seconds(left)))
        .unwrap_or_default();
    // SAFETY: the caller's contract: NULL or valid for a write.
    let _ = unsafe { optional_output(expires_in, left) };
    serial
}

/// Returns what is known of a client at this moment, for a status display, a health check or a report.
/// Never sends a request, and never waits for one. Since 1.1.
///
/// `out`: receives the state; free it with `clopos_auth_state_free()`. NULL on failure.
/// `err`: may be NULL; receives an error to free on failure, else NULL.
///
/// Errors: INVALID_ARGUMENT, INVALID_HANDLE, INTERNAL (out of memory). Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_get_state(
    client: *const clopos_auth_client,
    out: *mut *mut clopos_auth_state,
    err: *mut *mut clopos_auth_error,
) -> Status {
    // SAFETY: the caller's contract.
    unsafe {
        guard(err, || {
            let out = output("out", out, std::ptr::null_mut())?;
            let state = new_state(&find(client)?.state());
            if state.is_null() {
                return Err(no_memory());
            }
            out.set(state);
            Ok(())
        })
    }
}

/// Drops the cached token because the service refused it: the next call requests a new one. Call it if another
/// endpoint answers HTTP 401 and the body contains "Invalid token" or "Token expired". Any other 401 is not
/// about the token: keep it. Drops only the token that was refused: many threads may report the same 401 (one
/// request follows), and a late report does not drop a newer token.
///
/// Since 1.1: if a token is refused within a minute of its issue (or the first half of its lifetime, if that
/// is less), the service refuses the tokens that it issues, and another sign-in would not help. The next
/// sign-in then waits 5 s, doubling to 225 s, and up to a quarter more, with at most two in a minute, until a
/// token has been in use for that minute. During such a pause calls that need a token return REJECTED
/// immediately, retryable and with `retry_after_ms`: pass the 401 on to the caller of that request.
///
/// `rejected_value`: the text of the refused token, not empty. NULL drops any cached token, which also counts
/// as refused; for a new token without that, call `clopos_auth_authenticate()`.
///
/// Errors: INVALID_ARGUMENT, INVALID_HANDLE. Any thread, never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_invalidate(
    client: *mut clopos_auth_client,
    rejected_value: *const c_char,
) -> Status {
    guard_status(|| {
        let client = find(client)?;
        if rejected_value.is_null() {
            client.invalidate(None);
        } else {
            // SAFETY: the caller's contract.
            let rejected = unsafe { text("rejected_value", rejected_value) }?;
            check::text("rejected_value", rejected, MAX_TOKEN_BYTES)?;
            client.invalidate(Some(rejected));
        }
        Ok(())
    })
}

/// Makes every waiting call of this client return CANCELLED. The sign-in continues, and later calls
/// can use its result; the client stays usable. To limit one call only, use its `timeout_ms`. Has no
/// effect on a call that runs the request itself because no thread can be started (see THREADS).
///
/// Errors: INVALID_HANDLE. Any thread, never waits.
#[unsafe(no_mangle)]
pub extern "C" fn clopos_auth_cancel(client: *mut clopos_auth_client) -> Status {
    guard_status(|| {
        find(client)?.cancel();
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::super::object::TokenObject;
    use super::*;
    use crate::cache::ClientCache;
    use crate::clock::Clock;
    use crate::freshness::{self, Spread};
    use crate::protocol::Grant;
    use crate::secret::Secret;
    use std::cell::Cell;

    /// A token object that counts itself.
    struct Counted<'a>(#[allow(dead_code)] TokenObject, &'a Cell<u32>);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.1.set(self.1.get() - 1);
        }
    }

    #[test]
    fn a_token_read_from_a_client_freed_meanwhile_is_dropped() {
        let key = CLIENTS
            .insert(|cache| {
                let credentials = Credentials::new("id", "secret", "brand", "integrator")?;
                Client::with_cache(credentials, &crate::Config::new(), cache.clone())
            })
            .unwrap()
            .expect("the table has room");
        let grant = Grant {
            token: Secret::new("a token"),
            token_type: "Bearer".into(),
            expires_in: Duration::from_secs(3600),
            expires_at: 1_793_939_000,
            http_status: 200,
        };
        let now = Clock::System.now();
        let lifetime = freshness::plan(now, grant.expires_in, Spread::Narrow, 0);
        let cache = ClientCache::new(CLIENTS.find(key).expect("it is valid").slot_data.clone());
        let token = CachedToken::new(grant, lifetime, Clock::System, cache.owner());
        cache.store(Arc::new(token));

        let client = std::ptr::without_provenance_mut(key);
        let (made, existing) = (Cell::new(0), Cell::new(0));
        let result = read_token(client, 0, |token, left| {
            clopos_auth_client_free(client);
            made.set(made.get() + 1);
            existing.set(existing.get() + 1);
            Counted(new_token(token, left), &existing)
        });
        assert_eq!(
            result.err().map(|e| e.status()),
            Some(Status::InvalidHandle)
        );
        assert_eq!((made.get(), existing.get()), (1, 0));
        cache.clear();
    }
}
