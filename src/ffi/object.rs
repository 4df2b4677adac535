//! The objects that C receives: one allocation each, read-only, their texts behind the struct.
//!
//! The structs grow at their end only. A caller never makes one, so a program that was built against
//! an older header just does not see the newer fields.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::c_char;
use std::ptr;
use std::slice;
use std::time::Duration;

use zeroize::optimization_barrier;

use crate::cache::CachedToken;
use crate::{Error, Reason, State, Status};

/// A token. Made by the library and read-only. Owned by the caller until `clopos_auth_token_free()`, which
/// wipes it. Independent of the client: it can be read after the client is freed, and by any thread. A later
/// version may add fields at the end: never copy or allocate this struct by its size.
#[repr(C)]
pub struct clopos_auth_token {
    /// The JWT, NUL-terminated: 1 to 8192 visible ASCII characters. Send it unchanged in the header `x-token`.
    pub value: *const c_char,
    /// The length of `value` in bytes, without the NUL.
    pub value_len: usize,
    /// "Bearer", as sent by the service. Do not send it in `x-token`.
    pub token_type: *const c_char,
    /// The expiry time in Unix seconds, by the *server's* clock; this device's may differ. At most
    /// 253402300799, the end of the year 9999.
    pub expires_at: i64,
    /// The remaining seconds when the token was returned; independent of the device's date.
    pub expires_in: i64,
    /// The number of the token: the same each time that this token is returned, different from that of every
    /// other token in this process, never 0. See `clopos_auth_current()`. Since 1.1: read it only if
    /// `clopos_auth_version_number()` is at least 0x010100.
    pub serial: u64,
}

/// Why a call failed. Made by the library and read-only. Owned by the caller until
/// `clopos_auth_error_free()`. Independent of the client; any thread may read it. A later version may add
/// fields at the end: never copy or allocate this struct by its size.
#[repr(C)]
pub struct clopos_auth_error {
    /// The status that the call returned.
    pub status: Status,
    /// The HTTP status of the response (of the proxy's, if `status` is PROXY); 0 if none was received.
    pub http_status: i32,
    /// 1 if the same call may succeed later without any change, else 0; see `clopos_auth_status`.
    pub retryable: i32,
    /// Milliseconds until the next request may be sent; -1 if there is no pause to wait for, as after
    /// WOULD_WAIT, CANCELLED and the timeout of a call: then call again when a token is needed.
    pub retry_after_ms: i64,
    /// The "error" field of the response, an identifier or a sentence; NULL if there was none.
    /// At most 512 bytes on one line, with secrets and tokens masked.
    pub server_code: *const c_char,
    /// One line for a log: never NULL, never a secret. Its wording may change in any version.
    pub message: *const c_char,
    /// Why the service refused the sign-in, if `status` is REJECTED: for people and reports. Since 1.1:
    /// read it only if `clopos_auth_version_number()` is at least 0x010100.
    pub reason: Reason,
}

/// What was known of a client when `clopos_auth_get_state()` was called. Made by the library and read-only.
/// Owned by the caller until `clopos_auth_state_free()`. Independent of the client; any thread may read it. A
/// later version may add fields at the end: never copy or allocate this struct by its size. Since 1.1.
///
/// The counts are those of this process: in a child of `fork()` they start at 0.
#[repr(C)]
pub struct clopos_auth_state {
    /// 1 if there is a token that has not expired, else 0.
    pub has_token: i32,
    /// 1 if the token is fresh: `clopos_auth_get_token()` returns it immediately. 0 if it is stale or there is
    /// none.
    pub is_fresh: i32,
    /// 1 if a sign-in is running, else 0. Despite the name also while it waits before its next attempt.
    pub request_in_flight: i32,
    /// Milliseconds until the token expires; -1 if there is none.
    pub expires_in_ms: i64,
    /// Milliseconds until the token is due to be replaced, 0 if it is; -1 if there is none. The first
    /// `clopos_auth_get_token()` after that starts the refresh.
    pub refresh_in_ms: i64,
    /// Milliseconds until the next request may be sent; 0 if it may be sent now.
    pub next_request_in_ms: i64,
    /// The result of the last request that has ended: OK if it returned a token, and if there was no request
    /// yet. REJECTED also if the service has refused that token within a minute, see
    /// `clopos_auth_invalidate()`.
    pub last_status: Status,
    /// The HTTP status of its response (of the proxy's, if `last_status` is PROXY); 0 if none was received.
    pub last_http_status: i32,
    /// Milliseconds since that result; -1 if no request has ended yet.
    pub last_result_age_ms: i64,
    /// The number of requests, including those that did not reach the service.
    pub requests: u64,
    /// The number of attempts that failed. An attempt may send two requests, see WORDS.
    pub failures: u64,
    /// The message of that failure: one line for a log, never a secret. NULL if `last_status` is OK.
    pub last_message: *const c_char,
}

/// An object, and behind it the bytes of its texts. The size is the library's own and stays behind
/// whatever fields the object has.
#[repr(C)]
struct Block<T> {
    object: T,
    size: usize,
}

/// Allocates an object with its texts. NULL if there is no memory.
fn allocate<T, const N: usize>(
    texts: [&str; N],
    make: impl FnOnce([*const c_char; N]) -> T,
) -> *mut T {
    let size = size_of::<Block<T>>() + texts.iter().map(|text| text.len() + 1).sum::<usize>();
    let Ok(layout) = Layout::from_size_align(size, align_of::<Block<T>>()) else {
        return ptr::null_mut();
    };
    // Not `alloc_zeroed`: glibc's malloc() returns what the thread has freed before without a search, its calloc()
    // does not, and a token that is handed out would cost a third more.
    // SAFETY: the size is not zero.
    let start = unsafe { alloc(layout) };
    if start.is_null() {
        return ptr::null_mut();
    }
    let mut offset = size_of::<Block<T>>();
    let pointers = texts.map(|text| {
        // SAFETY: the texts with their NULs end exactly at `size`.
        let place = unsafe { start.add(offset) };
        // SAFETY: `text.len()` bytes and a NUL fit there, and new memory overlaps nothing.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr(), place, text.len());
            place.add(text.len()).write(0);
        }
        offset += text.len() + 1;
        place.cast_const().cast::<c_char>()
    });
    let block = start.cast::<Block<T>>();
    let object = make(pointers);
    // SAFETY: the allocation starts with room and alignment for a Block<T>.
    unsafe { block.write(Block { object, size }) };
    block.cast::<T>()
}

/// Wipes and frees an object.
///
/// # Safety
/// `object` is NULL or came from [`allocate`] with the same `T` and was not freed since.
unsafe fn free<T>(object: *mut T) {
    if object.is_null() {
        return;
    }
    let block = object.cast::<Block<T>>();
    // SAFETY: by this function's contract this is the start of a live block.
    let size = unsafe { (*block).size };
    // SAFETY: the block's whole allocation, nobody else's any more.
    unsafe { ptr::write_bytes(block.cast::<u8>(), 0, size) };
    // As in `wiped::wipe`, but by a pointer: the padding was never initialised.
    // SAFETY: the same bytes, all of them initialised just now.
    optimization_barrier(unsafe { slice::from_raw_parts(block.cast::<u8>(), size) });
    let layout = Layout::from_size_align(size, align_of::<Block<T>>());
    // SAFETY: the very layout that `allocate` used, which was valid then.
    unsafe { dealloc(block.cast::<u8>(), layout.unwrap_unchecked()) };
}

/// A token object that C does not have yet: wiped and freed unless it is handed out.
pub(super) struct TokenObject(*mut clopos_auth_token);

impl TokenObject {
    /// For C, which frees it. NULL if there was no memory.
    pub fn into_raw(self) -> *mut clopos_auth_token {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for TokenObject {
    fn drop(&mut self) {
        // SAFETY: NULL or from `allocate` in `new_token`, which alone makes this; nobody else has it.
        unsafe { free(self.0) }
    }
}

/// Holds NULL if there is no memory.
pub(super) fn new_token(token: &CachedToken, left: Duration) -> TokenObject {
    let grant = &token.grant;
    let value = grant.token.expose();
    let object = allocate([value, &grant.token_type], |[text, token_type]| {
        clopos_auth_token {
            value: text,
            value_len: value.len(),
            token_type,
            expires_at: grant.expires_at,
            expires_in: whole_seconds(left),
            serial: token.serial(),
        }
    });
    TokenObject(object)
}

/// NULL if there is no memory.
pub(super) fn new_error(error: &Error) -> *mut clopos_auth_error {
    let code = error.server_code();
    allocate(
        [error.message(), code.unwrap_or_default()],
        |[message, server_code]| clopos_auth_error {
            status: error.status(),
            http_status: error.http_status().map_or(0, i32::from),
            retryable: i32::from(error.is_retryable()),
            retry_after_ms: error.retry_after().map_or(-1, wait_ms),
            server_code: if code.is_some() {
                server_code
            } else {
                ptr::null()
            },
            message,
            reason: error.reason(),
        },
    )
}

/// NULL if there is no memory.
pub(super) fn new_state(state: &State) -> *mut clopos_auth_state {
    let last = state.last_result.as_ref();
    let error = last.and_then(|last| last.error.as_ref());
    let http_status = last.and_then(|last| last.http_status);
    let message = error.map(Error::message);
    allocate([message.unwrap_or_default()], |[last_message]| {
        clopos_auth_state {
            has_token: state.expires_in.is_some().into(),
            is_fresh: state.is_fresh.into(),
            request_in_flight: state.request_in_flight.into(),
            expires_in_ms: state.expires_in.map_or(-1, whole_ms),
            refresh_in_ms: state.refresh_in.map_or(-1, wait_ms),
            next_request_in_ms: wait_ms(state.next_request_in),
            last_status: error.map_or(Status::Ok, Error::status),
            last_http_status: http_status.map_or(0, i32::from),
            last_result_age_ms: last.map_or(-1, |last| whole_ms(last.age)),
            requests: state.requests,
            failures: state.failures,
            last_message: if message.is_some() {
                last_message
            } else {
                ptr::null()
            },
        }
    })
}

pub(super) fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn whole_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Rounded up: who waits this long must not come too early.
fn wait_ms(wait: Duration) -> i64 {
    i64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// Wipes and frees a token. Does nothing for NULL. Pass each token exactly once, and only tokens of this
/// library: unlike a client, a token is a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_token_free(token: *mut clopos_auth_token) {
    // SAFETY: the caller's contract, as documented.
    unsafe { free(token) }
}

/// Frees an error. Does nothing for NULL. Pass each error exactly once, and only errors of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_error_free(error: *mut clopos_auth_error) {
    // SAFETY: the caller's contract, as documented.
    unsafe { free(error) }
}

/// Frees a state. Does nothing for NULL. Pass each state exactly once, and only states of this library.
/// Since 1.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_state_free(state: *mut clopos_auth_state) {
    // SAFETY: the caller's contract, as documented.
    unsafe { free(state) }
}
