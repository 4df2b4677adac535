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

use crate::protocol::Grant;
use crate::{Error, Reason, Status};

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
pub(super) fn new_token(grant: &Grant, left: Duration) -> TokenObject {
    let value = grant.token.expose();
    let object = allocate([value, &grant.token_type], |[text, token_type]| {
        clopos_auth_token {
            value: text,
            value_len: value.len(),
            token_type,
            expires_at: grant.expires_at,
            expires_in: whole_seconds(left),
        }
    });
    TokenObject(object)
}

/// NULL if there is no memory.
pub(super) fn new_error(error: &Error) -> *mut clopos_auth_error {
    let code = error.server_code();
    allocate(
        [error.message(), code.unwrap_or_default()],
        |[message, server_code]| {
            clopos_auth_error {
                status: error.status(),
                http_status: error.http_status().map_or(0, i32::from),
                retryable: i32::from(error.is_retryable()),
                retry_after_ms: error.retry_after().map_or(-1, |wait| {
                    // Rounded up: who waits this long must not come too early.
                    i64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
                }),
                server_code: if code.is_some() {
                    server_code
                } else {
                    ptr::null()
                },
                message,
                reason: error.reason(),
            }
        },
    )
}

fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
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
