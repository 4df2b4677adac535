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

/// A token. Made by the library, read-only, the caller's until `clopos_auth_token_free()`, which wipes
/// it. Independent of the client: it stays readable after the client is freed, and any thread may
/// read it. A later version may add fields at the end: never copy or allocate this struct by its size.
#[repr(C)]
pub struct clopos_auth_token {
    /// The JWT, NUL-terminated: 1 to 8192 visible ASCII characters, safe to put into a header. Send it
    /// as it is in the header `x-token`.
    pub value: *const c_char,
    /// The length of `value` in bytes, without the NUL.
    pub value_len: usize,
    /// "Bearer", as the service says; the header `x-token` does not want it.
    pub token_type: *const c_char,
    /// When the token ends, in Unix seconds on the *server's* clock; this device's may differ. At most
    /// 253402300799, the end of the year 9999.
    pub expires_at: i64,
    /// Seconds that the token had left when it was handed out, whatever the device's date says.
    pub expires_in: i64,
    /// The number of the token: the same each time that this token is handed out, never that of another
    /// token in this process, never 0. See `clopos_auth_current()`. Since 1.1: read it only if
    /// `clopos_auth_version_number()` is at least 0x010100.
    pub serial: u64,
}

/// Why a call failed. Made by the library, read-only, the caller's until `clopos_auth_error_free()`.
/// Independent of the client; any thread may read it. A later version may add fields at the end: never
/// copy or allocate this struct by its size.
#[repr(C)]
pub struct clopos_auth_error {
    /// The number that the call returned.
    pub status: Status,
    /// The HTTP status of the response (of the proxy's, if `status` is PROXY); 0 where no response was
    /// received.
    pub http_status: i32,
    /// 1: the same call may succeed later without anybody changing anything. 0: somebody has to act.
    pub retryable: i32,
    /// Milliseconds until the next call can lead to a request; -1 where that is not known.
    pub retry_after_ms: i64,
    /// What the service gave in the body's "error" field, an identifier or a sentence; NULL if nothing.
    /// At most 512 bytes on one line, with secrets and tokens masked.
    pub server_code: *const c_char,
    /// One line for a log: never NULL, never a secret. Its wording may change in any version.
    pub message: *const c_char,
    /// Why the service refused the sign-in, if `status` is REJECTED: for people and reports. Since 1.1:
    /// read it only if `clopos_auth_version_number()` is at least 0x010100.
    pub reason: Reason,
}

/// What was known of a client when `clopos_auth_get_state()` was called. Made by the library, read-only,
/// the caller's until `clopos_auth_state_free()`. Independent of the client; any thread may read it. A
/// later version may add fields at the end: never copy or allocate this struct by its size. Since 1.1.
///
/// The counts are those of this process: in a child of `fork()` they start at 0.
#[repr(C)]
pub struct clopos_auth_state {
    /// 1: there is a token that has not expired. 0: there is none.
    pub has_token: i32,
    /// 1: `clopos_auth_get_token()` gives the token without waiting. 0: it waits for a new one first.
    pub is_fresh: i32,
    /// 1: a sign-in is running: a request is under way, or its next attempt is being waited for.
    pub request_in_flight: i32,
    /// Milliseconds until the token expires; -1: there is none.
    pub expires_in_ms: i64,
    /// Milliseconds until the token is due to be replaced, 0 if it is; -1: there is none. The first call that
    /// needs a token after that starts the request.
    pub refresh_in_ms: i64,
    /// Milliseconds until the next request may be sent, as after a failure; 0: at once.
    pub next_request_in_ms: i64,
    /// How the last request that has finished ended, OK if it brought a token and if there was none.
    /// REJECTED also where the service refused that token within a minute, see `clopos_auth_invalidate()`.
    pub last_status: Status,
    /// The HTTP status of that request's response (of the proxy's, if `last_status` is PROXY); 0 where no
    /// response was received.
    pub last_http_status: i32,
    /// Milliseconds since then; -1: no request has finished yet.
    pub last_result_age_ms: i64,
    /// How many requests were made, also such that did not reach the service.
    pub requests: u64,
    /// How many of them failed.
    pub failures: u64,
    /// The message that belongs to `last_status`: one line for a log, never a secret. NULL if that is OK.
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
    // Not `alloc_zeroed`: glibc gives malloc() what a thread has freed before without a search, calloc()
    // not, and a token that is handed out costs a third more.
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
    // As in `secret::wipe`. Here not even the padding had a value.
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

/// Wipes and frees a token. NULL is allowed and does nothing. Pass each token exactly once, and
/// nothing that is not from this library: unlike a client, a token is a real address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_token_free(token: *mut clopos_auth_token) {
    // SAFETY: the caller's contract, as documented.
    unsafe { free(token) }
}

/// Frees an error. NULL is allowed and does nothing. Pass each error exactly once, and nothing that
/// is not from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_error_free(error: *mut clopos_auth_error) {
    // SAFETY: the caller's contract, as documented.
    unsafe { free(error) }
}

/// Frees a state. NULL is allowed and does nothing. Pass each state exactly once, and nothing that is
/// not from this library. Since 1.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clopos_auth_state_free(state: *mut clopos_auth_state) {
    // SAFETY: the caller's contract, as documented.
    unsafe { free(state) }
}
