//! What a library needs to run in any program: noticing `fork`, and threads on which the host's signals are
//! blocked.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use once_cell::race::OnceBox;

/// The number of forks between the process that loaded the library and this one.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Enough for name resolution, a TLS handshake and a log callback; untouched pages cost nothing.
const STACK_BYTES: usize = 256 * 1024;

/// What the system itself needs of a new thread's stack. Set by [`init`]: finding out waits while another
/// thread loads a library.
static SYSTEM_STACK_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A number that changes when all threads but the caller's have vanished: in a child of `fork`, and on
/// Windows when the process ends and detaches its DLLs.
#[inline]
pub(crate) fn fork_count() -> u64 {
    #[cfg(windows)]
    {
        #[link(name = "ntdll")]
        unsafe extern "system" {
            fn RtlDllShutdownInProgress() -> u8;
        }
        // SAFETY: has no requirements; reads a flag of the process.
        u64::from(unsafe { RtlDllShutdownInProgress() })
    }
    #[cfg(unix)]
    FORKS.load(Ordering::Relaxed)
}

/// Registers the fork handler for [`fork_count`], and keeps the program or library that contains this code
/// loaded as long as the process: a request may be running on a thread of ours. Children of a bare `clone`
/// or `vfork` system call are not noticed: like any code between fork and exec, they must not call this
/// library.
pub(crate) fn init() {
    #[cfg(unix)]
    {
        use std::sync::atomic::AtomicBool;

        // Not a `Once`: a child forked while another thread is inside would wait for it indefinitely.
        // Registering twice is harmless.
        static WATCHED: AtomicBool = AtomicBool::new(false);
        extern "C" fn in_child() {
            FORKS.fetch_add(1, Ordering::Relaxed);
        }
        if !WATCHED.load(Ordering::Acquire) {
            // SAFETY: `in_child` only touches an atomic, which is allowed between fork and exec, and
            // lives as long as the process: the library is never unloaded. A failure
            // (no memory) leaves forks unnoticed, nothing worse.
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
            stay_loaded();
            #[cfg(all(target_os = "linux", target_env = "gnu"))]
            SYSTEM_STACK_BYTES.store(system_stack_bytes(), Ordering::Relaxed);
            WATCHED.store(true, Ordering::Release);
        }
    }
    #[cfg(windows)]
    {
        use std::ffi::c_void;

        const FROM_ADDRESS: u32 = 4;
        const PIN: u32 = 1;
        #[link(name = "kernel32")]
        unsafe extern "system" {
            fn GetModuleHandleExW(
                flags: u32,
                address: *const c_void,
                module: *mut *mut c_void,
            ) -> i32;
        }
        let mut module = std::ptr::null_mut();
        let here = (&raw const FORKS).cast();
        // SAFETY: with FROM_ADDRESS the second argument is any address inside the module, and `here`
        // is; `module` is valid for a write. A failure leaves the module as unloadable as it was.
        unsafe { GetModuleHandleExW(FROM_ADDRESS | PIN, here, &mut module) };
    }
}

/// The shared library is linked with `-z nodelete`; a library of the host's that contains the static one
/// need not be.
#[cfg(unix)]
fn stay_loaded() {
    use std::mem::MaybeUninit;

    let mut module = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: any address may be asked about; where `dladdr` succeeds, the name is a C string of the
    // loader's. With NOLOAD nothing is loaded, and the handle keeps loaded what it names. In a static
    // program there is no such name, which is a failure without consequences.
    unsafe {
        if libc::dladdr((&raw const FORKS).cast(), module.as_mut_ptr()) != 0 {
            let name = module.assume_init().dli_fname;
            libc::dlopen(
                name,
                libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE,
            );
        }
    }
}

/// glibc also places the thread-locals there of the program and of the libraries that were loaded with it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn system_stack_bytes() -> usize {
    use std::mem::{MaybeUninit, transmute};

    type MinStack = unsafe extern "C" fn(*const libc::pthread_attr_t) -> libc::size_t;
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the name is a C string; glibc's function of this name has this type (the standard library
    // calls it, too) and reads attributes, which are initialised and destroyed around the call.
    unsafe {
        let function = libc::dlsym(libc::RTLD_DEFAULT, c"__pthread_get_minstack".as_ptr());
        if function.is_null() || libc::pthread_attr_init(attributes.as_mut_ptr()) != 0 {
            return 0;
        }
        let function = transmute::<*mut libc::c_void, MinStack>(function);
        let bytes = function(attributes.as_ptr());
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        bytes
    }
}

/// A value of which every process has its own: a forked child starts with a new one and never touches
/// the parent's, whose locks may be held by threads that do not exist in the child.
///
/// A chain with one link for each fork, so that nothing is freed that another thread may be reading.
pub(crate) struct PerProcess<T> {
    fork_count: u64,
    value: T,
    next: OnceBox<PerProcess<T>>,
}

impl<T> PerProcess<T> {
    /// For a static, which is there before any fork.
    pub const fn new_static(value: T) -> PerProcess<T> {
        PerProcess {
            fork_count: 0,
            value,
            next: OnceBox::new(),
        }
    }

    pub fn new(value: T) -> PerProcess<T> {
        PerProcess {
            fork_count: fork_count(),
            value,
            next: OnceBox::new(),
        }
    }

    /// This process's value, made by `init` at the first call in a child.
    #[inline]
    pub fn get(&self, init: impl Fn() -> T) -> &T {
        let mut link = self;
        while link.fork_count != fork_count() {
            link = link.next.get_or_init(|| Box::new(PerProcess::new(init())));
        }
        &link.value
    }

    /// This process's value, if it has made one.
    pub fn existing(&self) -> Option<&T> {
        let mut link = self;
        while link.fork_count != fork_count() {
            link = link.next.get()?;
        }
        Some(&link.value)
    }
}

/// Starts a detached thread on which the signals that are sent to the process are blocked: the host's
/// handlers expect the host's threads and their stacks. Two kinds are not blocked, unless the starting thread
/// blocks them:
///
/// - those that a runtime sends to one thread: Mono stops every thread that ever called into it that way, and
///   would wait for ever for one that blocks them;
/// - those that report a fault of the thread itself: the kernel kills the process for a blocked one, while a
///   runtime whose log function runs here may make an exception of it (.NET and Mono do, of a null reference).
pub(crate) fn spawn(body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // A process that ends would not run it.
    #[cfg(windows)]
    if fork_count() != 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let builder = thread::Builder::new()
        .name("clopos-auth".into())
        .stack_size(STACK_BYTES + SYSTEM_STACK_BYTES.load(Ordering::Relaxed));
    without_signals(|| builder.spawn(body)).map(drop)
}

/// The signals of a thread's own faults.
#[cfg(unix)]
const FAULTS: [libc::c_int; 6] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
];

#[cfg(unix)]
fn without_signals<R>(body: impl FnOnce() -> R) -> R {
    use std::mem::MaybeUninit;

    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigfillset` initialises `all`, the signals taken out of it exist, and `pthread_sigmask`
    // with a valid `how` initialises `before`; neither can fail with these arguments. A new thread inherits
    // the mask. Only ever adds to it: a signal that the host has blocked, to read it from a descriptor or
    // with `sigwait`, would end the process on a thread where it is open.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        for signal in FAULTS {
            libc::sigdelset(all.as_mut_ptr(), signal);
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        for signal in (libc::SIGRTMIN()..=libc::SIGRTMAX()).chain([libc::SIGPWR, libc::SIGXCPU]) {
            libc::sigdelset(all.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
    }
    let result = body();
    // SAFETY: `before` was initialised above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

#[cfg(not(unix))]
fn without_signals<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_process_keeps_its_first_value() {
        let value = PerProcess::new(1);
        assert_eq!(*value.get(|| 2), 1);
    }

    #[test]
    fn a_forked_process_makes_its_own_value_once() {
        let parents = PerProcess {
            fork_count: fork_count() + 1,
            value: 1,
            next: OnceBox::new(),
        };
        assert_eq!(parents.existing(), None);
        assert_eq!(*parents.get(|| 2), 2);
        assert_eq!(*parents.get(|| 3), 2);
        assert_eq!(parents.existing(), Some(&2));
    }

    /// Whether the calling thread blocks each of these signals.
    #[cfg(unix)]
    fn blocked<const N: usize>(signals: [libc::c_int; N]) -> [bool; N] {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: with no new mask this only writes the current one to `set`.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
            let set = set.assume_init();
            signals.map(|signal| libc::sigismember(&set, signal) == 1)
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_started_thread_blocks_process_signals_and_its_starter_keeps_its_mask() {
        let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGPROF, libc::SIGCHLD];
        let before = blocked(signals);
        let (sender, receiver) = mpsc::channel();
        spawn(move || sender.send(blocked(signals)).unwrap()).unwrap();
        assert_eq!(receiver.recv().unwrap(), [true; 4]);
        assert_eq!(blocked(signals), before);
    }

    #[cfg(unix)]
    #[test]
    fn a_started_thread_does_not_block_fault_signals() {
        use std::sync::atomic::AtomicBool;

        static CAUGHT: AtomicBool = AtomicBool::new(false);
        extern "C" fn handler(_: libc::c_int) {
            CAUGHT.store(true, Ordering::SeqCst);
        }
        // SAFETY: the handler only touches an atomic. SIGTRAP, because the standard library has handlers for the
        // others. If it were blocked, it would end this process.
        unsafe { libc::signal(libc::SIGTRAP, handler as *const () as libc::sighandler_t) };
        let (sender, receiver) = mpsc::channel();
        spawn(move || {
            let blocked = blocked(FAULTS);
            // SAFETY: has no requirements; the signal goes to this thread.
            unsafe { libc::raise(libc::SIGTRAP) };
            sender.send(blocked).unwrap();
        })
        .unwrap();
        assert_eq!(receiver.recv().unwrap(), [false; 6]);
        assert!(CAUGHT.load(Ordering::SeqCst));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_started_thread_does_not_block_the_signals_that_runtimes_use() {
        let (sender, receiver) = mpsc::channel();
        spawn(move || {
            let blocked = blocked([
                libc::SIGRTMIN(),
                libc::SIGRTMAX(),
                libc::SIGPWR,
                libc::SIGXCPU,
            ]);
            sender.send(blocked).unwrap();
        })
        .unwrap();
        assert_eq!(receiver.recv().unwrap(), [false; 4]);
    }
}
