//! Two network namespaces with a cable between them: a till, in which a test runs again in its own process,
//! and a store's network, in which sandboxes, name servers and proxies run. A test injects faults with routes,
//! nftables and traffic control.
//!
//! Needs root, iproute2 and nftables. Without them a test prints `SKIPPED: reason`; with `CI` set it fails.
#![allow(dead_code)] // Every test program uses a part of it.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use clopos_sandbox::{Sandbox, Settings};

use crate::support::test_name;

/// The addresses of the till.
pub const TILL_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const TILL_V6: Ipv6Addr = v6(1);
/// The addresses of the store's network. All its servers listen on them.
pub const STORE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const STORE_V6: Ipv6Addr = v6(2);

/// An IPv6 address on the cable.
pub const fn v6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

/// The domain of the names in the certificate of [`Lab::sandbox`].
pub const DOMAIN: &str = "store.test";

const INSIDE: &str = "CLOPOS_TEST_LAB";
const PREFIX: &str = "clopos-";

/// Prints a line that is shown even if the test's output is captured.
pub fn announce(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints why a test cannot run here. With `CI` set, fails.
pub fn skip(reason: &str) {
    announce(format_args!("SKIPPED: {reason}"));
    assert!(env::var_os("CI").is_none(), "skipped on CI: {reason}");
}

/// Runs `body` in a lab. `test` is the calling test: it is run again in a process inside the lab.
pub fn run(test: impl Fn(), body: impl FnOnce(&Lab)) {
    if let Some(lab) = Lab::around() {
        return body(&lab);
    }
    let namespaces = match Namespaces::build() {
        Ok(namespaces) => namespaces,
        Err(why) => return skip(&format!("no network namespaces: {why}")),
    };
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", &namespaces.till])
        .arg(env::current_exe().expect("this program has a path"))
        .env(INSIDE, namespaces.name());
    let output = run_again(&mut command, test);
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        panic!("in the lab:\n{}", String::from_utf8_lossy(&text));
    }
}

/// Runs one test of this program again: its name and options are appended to `command`.
pub fn run_again(command: &mut Command, test: impl Fn()) -> Output {
    let name = test_name(test);
    let output = command
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .output()
        .expect("the test program can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("running 1 test"), "no test is named {name}");
    // Repeats the lines that it announced.
    for line in text.lines() {
        // The first one is on the line with the test's name.
        let line = line.split_once(" ... ").map_or(line, |(_, rest)| rest);
        if line.starts_with("| ") || line.starts_with("SKIPPED: ") {
            announce(format_args!("{line}"));
        }
    }
    output
}

/// The two namespaces. Dropping this removes them.
struct Namespaces {
    till: String,
    store: String,
}

impl Namespaces {
    fn build() -> Result<Namespaces, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // SAFETY: takes no arguments and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Err("not root".into());
        }
        for tool in ["ip", "nft"] {
            if Command::new(tool).arg("-V").output().is_err() {
                return Err(format!("{tool} is not installed"));
            }
        }
        remove_leftovers();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}", std::process::id());
        let namespaces = Namespaces {
            till: format!("{name}-till"),
            store: format!("{name}-store"),
        };
        let (till, store) = (namespaces.till.as_str(), namespaces.store.as_str());
        let configuration = Path::new("/etc/netns").join(till);
        fs::create_dir_all(&configuration).map_err(|error| error.to_string())?;
        let resolv = format!("nameserver {STORE_V4}\noptions timeout:1 attempts:2\n");
        fs::write(configuration.join("resolv.conf"), resolv).map_err(|error| error.to_string())?;
        ip(&format!("netns add {till}"))?;
        ip(&format!("netns add {store}"))?;
        ip(&format!(
            "-n {till} link add wire type veth peer name wire netns {store}"
        ))?;
        for (namespace, v4, v6) in [(till, TILL_V4, TILL_V6), (store, STORE_V4, STORE_V6)] {
            ip(&format!("-n {namespace} address add {v4}/24 dev wire"))?;
            ip(&format!(
                "-n {namespace} address add {v6}/64 dev wire nodad"
            ))?;
            for link in ["lo", "wire"] {
                ip(&format!("-n {namespace} link set {link} up"))?;
            }
        }
        Ok(namespaces)
    }

    fn name(&self) -> &str {
        self.till.trim_end_matches("-till")
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for namespace in [&self.till, &self.store] {
            remove(namespace);
        }
    }
}

fn remove(namespace: &str) {
    let _ = ip(&format!("netns del {namespace}"));
    let _ = fs::remove_dir_all(Path::new("/etc/netns").join(namespace));
}

/// Removes the namespaces of test programs that were killed.
fn remove_leftovers() {
    for directory in ["/run/netns", "/etc/netns"] {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let process = name
                .strip_prefix(PREFIX)
                .and_then(|rest| rest.split_once('-'));
            if let Some((process, _)) = process
                && !Path::new("/proc").join(process).exists()
            {
                announce(format_args!(
                    "| removing {name}, left behind by a killed test"
                ));
                remove(&name);
            }
        }
    }
}

fn ip(arguments: &str) -> Result<String, String> {
    succeeds(Command::new("ip").args(arguments.split(' ')))
}

/// Runs a command and returns its stdout.
fn succeeds(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

/// The lab, for a process inside the till.
pub struct Lab {
    till: String,
    store: String,
}

impl Lab {
    fn around() -> Option<Lab> {
        let name = env::var(INSIDE).ok()?;
        Some(Lab {
            till: format!("{name}-till"),
            store: format!("{name}-store"),
        })
    }

    /// Runs `body` on a thread in the store's network. Threads that it starts are also in that network.
    pub fn in_store<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        let path = PathBuf::from("/run/netns").join(&self.store);
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = File::open(path).expect("the namespace exists");
                // SAFETY: the descriptor is open; only this thread changes its network.
                let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(entered, 0, "{}", io::Error::last_os_error());
                body()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a sandbox in the store's network, for IPv4 and IPv6.
    pub fn sandbox(&self, change: impl FnOnce(&mut Settings) + Send) -> Sandbox {
        self.in_store(|| {
            let mut settings = Settings {
                listen: (Ipv6Addr::UNSPECIFIED, 0).into(),
                names: vec![format!("*.{DOMAIN}"), STORE_V4.to_string()],
                requests_per_minute: 0,
                ..Settings::default()
            };
            change(&mut settings);
            Sandbox::start(settings).expect("a sandbox in the store")
        })
    }

    pub fn ip_till(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.till)).unwrap();
    }

    pub fn ip_store(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.store)).unwrap();
    }

    /// Runs an nftables script in the store's network.
    pub fn nft_store(&self, script: &str) -> String {
        self.nft(&self.store, script)
    }

    /// Runs an nftables script in the till.
    pub fn nft_till(&self, script: &str) -> String {
        self.nft(&self.till, script)
    }

    fn nft(&self, namespace: &str, script: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "nft", script]);
        succeeds(&mut command).unwrap()
    }

    /// Limits the cable to `rate` in each direction.
    pub fn shape(&self, rate: &str) {
        for namespace in [&self.till, &self.store] {
            let tbf = format!("qdisc add dev wire root tbf rate {rate} burst 1600 latency 2s");
            let mut command = Command::new("ip");
            command
                .args(["netns", "exec", namespace, "tc"])
                .args(tbf.split(' '));
            succeeds(&mut command).unwrap();
        }
    }
}

/// An nftables chain that sees every arriving packet before anything else does.
pub const ARRIVING: &str = "add table inet lab; \
    add chain inet lab arriving { type filter hook prerouting priority -300; }";
