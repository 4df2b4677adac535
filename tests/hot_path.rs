//! The allocations and system calls of getting a cached token, and the status if memory is exhausted.
#![cfg(target_os = "linux")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clopos_auth::Status;
use clopos_auth::ffi::*;
use clopos_sandbox::{CLIENT_ID, CLIENT_SECRET, Sandbox, Settings, TEST_BRAND, TEST_INTEGRATOR};

use support::until;

struct CountingAllocator;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// The size of the last allocation.
    static LAST_SIZE: Cell<usize> = const { Cell::new(0) };
    /// Allocations of this size fail.
    static EXHAUSTED_SIZE: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        LAST_SIZE.set(layout.size());
        if layout.size() == EXHAUSTED_SIZE.get() {
            return null_mut();
        }
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The handle of a client that has a token.
fn client_with_token(sandbox: &Sandbox) -> usize {
    let text = |text: &str| CString::new(text).unwrap();
    let (url, pem) = (text(&sandbox.url()), sandbox.ca_pem());
    let [id, secret, brand, integrator] =
        [CLIENT_ID, CLIENT_SECRET, TEST_BRAND, TEST_INTEGRATOR].map(text);
    let mut client = null_mut();
    // SAFETY: every pointer is to a live value, every string ends with a NUL.
    unsafe {
        let config = clopos_auth_config_new();
        let status = clopos_auth_config_set_base_url(config, url.as_ptr(), null_mut());
        assert_eq!(status, Status::Ok);
        let status =
            clopos_auth_config_add_ca_pem(config, pem.as_ptr().cast(), pem.len(), null_mut());
        assert_eq!(status, Status::Ok);
        let status = clopos_auth_client_new(
            id.as_ptr(),
            secret.as_ptr(),
            brand.as_ptr(),
            integrator.as_ptr(),
            config,
            &mut client,
            null_mut(),
        );
        assert_eq!(status, Status::Ok);
        clopos_auth_config_free(config);
    }
    assert_eq!(copy_token(client.addr(), 10_000), Status::Ok);
    client.addr()
}

fn copy_token(client: usize, timeout_ms: u32) -> Status {
    let mut buf = [0 as c_char; CLOPOS_AUTH_TOKEN_MAX + 1];
    // SAFETY: the buffer has the given size; the other outputs are NULL.
    unsafe {
        clopos_auth_copy_token(
            std::ptr::without_provenance_mut(client),
            timeout_ms,
            buf.as_mut_ptr(),
            buf.len(),
            null_mut(),
            null_mut(),
            null_mut(),
        )
    }
}

fn get_and_free_token(client: usize) -> Status {
    let mut token = null_mut();
    // SAFETY: the output is a live value; the token is freed once.
    unsafe {
        let client = std::ptr::without_provenance_mut(client);
        let status = clopos_auth_get_token(client, 0, &mut token, null_mut());
        clopos_auth_token_free(token);
        status
    }
}

fn current(client: usize) -> Status {
    // SAFETY: the seconds are NULL; a handle may be any number.
    let serial = unsafe { clopos_auth_current(std::ptr::without_provenance(client), null_mut()) };
    match serial {
        0 => Status::WouldWait,
        _ => Status::Ok,
    }
}

/// The allocations of a hundred calls.
fn allocations(call: impl Fn() -> Status) -> usize {
    // The first call on a thread allocates.
    assert_eq!(call(), Status::Ok);
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        assert_eq!(call(), Status::Ok);
    }
    ALLOCATIONS.get() - before
}

#[test]
fn copying_a_cached_token_allocates_nothing_and_getting_it_allocates_once() {
    let sandbox = Sandbox::start(Settings::default()).unwrap();
    let client = client_with_token(&sandbox);
    assert_eq!(allocations(|| copy_token(client, 0)), 0);
    assert_eq!(allocations(|| current(client)), 0);
    assert_eq!(allocations(|| get_and_free_token(client)), 100);
    clopos_auth_client_free(std::ptr::without_provenance_mut(client));
}

/// The header promises about 300 bytes, which the next new thread reuses.
#[test]
fn the_first_copy_on_a_thread_makes_one_small_allocation_at_most() {
    let sandbox = Sandbox::start(Settings::default()).unwrap();
    let client = client_with_token(&sandbox);
    let first_copy = move || {
        let before = ALLOCATIONS.get();
        assert_eq!(copy_token(client, 0), Status::Ok);
        let count = ALLOCATIONS.get() - before;
        assert!(count == 0 || LAST_SIZE.get() <= 320, "{}", LAST_SIZE.get());
        count
    };
    for _ in 0..3 {
        let count = thread::spawn(first_copy).join().unwrap();
        assert!(count <= 1, "{count} allocations");
    }
    clopos_auth_client_free(std::ptr::without_provenance_mut(client));
}

#[test]
fn without_memory_for_a_token_calls_return_internal() {
    let sandbox = Sandbox::start(Settings::default()).unwrap();
    let client = client_with_token(&sandbox);
    assert_eq!(get_and_free_token(client), Status::Ok);
    let size_of_a_token = LAST_SIZE.get();
    let call = |authenticates: bool| {
        let (mut token, mut error) = (std::ptr::without_provenance_mut(8), null_mut());
        EXHAUSTED_SIZE.set(size_of_a_token);
        // SAFETY: the outputs are live values, and overwritten; the error is valid until it is freed.
        unsafe {
            let client = std::ptr::without_provenance_mut(client);
            let status = match authenticates {
                true => clopos_auth_authenticate(client, 10_000, &mut token, &mut error),
                false => clopos_auth_get_token(client, 0, &mut token, &mut error),
            };
            EXHAUSTED_SIZE.set(0);
            assert!(token.is_null());
            assert_eq!(CStr::from_ptr((*error).message), c"out of memory");
            clopos_auth_error_free(error);
            status
        }
    };
    assert_eq!(call(false), Status::Internal);
    assert_eq!(call(true), Status::Internal);
    // The client is still usable.
    assert_eq!(get_and_free_token(client), Status::Ok);
    clopos_auth_client_free(std::ptr::without_provenance_mut(client));
}

#[test]
fn without_memory_for_a_state_the_call_returns_internal() {
    let sandbox = Sandbox::start(Settings::default()).unwrap();
    let client = client_with_token(&sandbox);
    let call = |exhausted_size| {
        let (mut state, mut error) = (std::ptr::without_provenance_mut(8), null_mut());
        EXHAUSTED_SIZE.set(exhausted_size);
        // SAFETY: the outputs are live values, and overwritten; each object is freed once.
        unsafe {
            let client = std::ptr::without_provenance(client);
            let status = clopos_auth_get_state(client, &mut state, &mut error);
            EXHAUSTED_SIZE.set(0);
            assert_eq!(status == Status::Ok, !state.is_null());
            clopos_auth_state_free(state);
            clopos_auth_error_free(error);
            status
        }
    };
    assert_eq!(call(0), Status::Ok);
    // The state was the last allocation.
    assert_eq!(call(LAST_SIZE.get()), Status::Internal);
    assert_eq!(call(0), Status::Ok);
    clopos_auth_client_free(std::ptr::without_provenance_mut(client));
}

/// From now on, the kernel kills this thread at any system call except the one that ends it. (The older strict
/// mode would also forbid reading the processor's clock.)
fn forbid_system_calls() {
    let statement = |code: u32, k: u32, jt: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf: 0,
        k,
    };
    let mut rules = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            libc::SYS_exit as u32,
            1,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_KILL_THREAD,
            0,
        ),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog {
        len: rules.len() as u16,
        filter: rules.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the rules before the call returns.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program),
            0
        );
    }
}

#[test]
fn copying_a_cached_token_makes_no_system_call() {
    static COPIED: AtomicBool = AtomicBool::new(false);
    let sandbox = Sandbox::start(Settings::default()).unwrap();
    let client = client_with_token(&sandbox);
    thread::spawn(move || {
        assert_eq!(copy_token(client, 0), Status::Ok);
        forbid_system_calls();
        let copied =
            (0..1000).all(|_| copy_token(client, 0) == Status::Ok && current(client) == Status::Ok);
        COPIED.store(copied, Ordering::Release);
        // SAFETY: ends this thread, which is not joined and owns nothing.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
    until("a thousand copies were made", || {
        COPIED.load(Ordering::Acquire)
    });
    clopos_auth_client_free(std::ptr::without_provenance_mut(client));
}
