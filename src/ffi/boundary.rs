//! The panic guard, the checks of arguments, and the output of errors, for every exported function.

use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;

use super::object::{self, clopos_auth_error};
use crate::{Error, Status};

/// No text that C passes may be longer: the longest is a token.
const MAX_TEXT_BYTES: usize = 8192;

/// Runs the body of an exported function. A panic becomes `INTERNAL`; an error is handed out through
/// `err`, which is set to NULL first and may itself be NULL.
///
/// # Safety
/// `err` is NULL or valid for a write.
pub(super) unsafe fn guard(
    err: *mut *mut clopos_auth_error,
    body: impl FnOnce() -> Result<(), Error>,
) -> Status {
    if !err.is_null() {
        // SAFETY: not NULL, so valid for a write by this function's contract.
        unsafe { err.write(std::ptr::null_mut()) };
    }
    match catch(body) {
        Ok(()) => Status::Ok,
        Err(error) => {
            if !err.is_null() {
                // SAFETY: as above.
                unsafe { err.write(object::new_error(&error)) };
            }
            error.status()
        }
    }
}

/// [`guard`] for functions that hand out no error object.
pub(super) fn guard_status(body: impl FnOnce() -> Result<(), Error>) -> Status {
    match catch(body) {
        Ok(()) => Status::Ok,
        Err(error) => error.status(),
    }
}

fn catch(body: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        Err(Error::new(
            Status::Internal,
            "internal error: caught a panic; please report it",
        ))
    })
}

/// The text that C passed for the argument `name`.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string that stays as it is for `'a`.
pub(super) unsafe fn text<'a>(name: &str, text: *const c_char) -> Result<&'a str, Error> {
    if text.is_null() {
        return Err(Error::invalid_argument(format!("{name} is NULL")));
    }
    let bytes = text.cast::<u8>();
    // SAFETY: every byte up to the NUL can be read, and no byte behind it is.
    let length = (0..=MAX_TEXT_BYTES).find(|&i| unsafe { bytes.add(i).read() } == 0);
    let Some(length) = length else {
        return Err(Error::invalid_argument(format!(
            "{name} is longer than {MAX_TEXT_BYTES} bytes"
        )));
    };
    // SAFETY: `length` bytes before the NUL, unchanged for 'a.
    let bytes = unsafe { slice::from_raw_parts(bytes, length) };
    str::from_utf8(bytes).map_err(|_| Error::invalid_argument(format!("{name} is not UTF-8")))
}

/// The place that C wants a result of type `T` in. Set to `first` at once, so that a caller who
/// ignores the status finds nothing old in it.
///
/// # Safety
/// `out` is NULL or valid for writes until the end of the exported function.
pub(super) unsafe fn output<T>(name: &str, out: *mut T, first: T) -> Result<Output<T>, Error> {
    // SAFETY: passed on.
    unsafe { optional_output(out, first) }
        .ok_or_else(|| Error::invalid_argument(format!("{name} is NULL")))
}

/// The same for a result that C may not want.
///
/// # Safety
/// As for [`output`].
pub(super) unsafe fn optional_output<T>(out: *mut T, first: T) -> Option<Output<T>> {
    if out.is_null() {
        return None;
    }
    // SAFETY: not NULL, so valid for a write by this function's contract.
    unsafe { out.write(first) };
    Some(Output(out))
}

/// A checked place for a result.
pub(super) struct Output<T>(*mut T);

impl<T> Output<T> {
    pub fn set(&self, value: T) {
        // SAFETY: `output` and `optional_output`, which alone make this, require that it is valid for
        // writes until the exported function ends, and no `Output` outlives that.
        unsafe { self.0.write(value) }
    }
}

/// The error for a handle that is not valid.
pub(super) fn invalid_handle(name: &str) -> Error {
    Error::new(
        Status::InvalidHandle,
        format!(
            "{name} is not a valid handle: it was freed, is of another type, or was never made"
        ),
    )
}
