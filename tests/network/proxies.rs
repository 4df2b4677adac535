//! Real proxies (tinyproxy and squid), and the environment variables that choose one.

use std::ffi::{CStr, c_char};
use std::fs::{self, File, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use clopos_auth::{Client, Config, Error, Roots, Status, Token};
use clopos_sandbox::Sandbox;

use crate::lab::{self, Lab, STORE_V4};
use crate::support::{Child, credentials, failed, recorded, text_of, until, value};

const USER: &str = "till";
/// The characters with a meaning in a URL, and one that is not ASCII.
const PASSWORD: &str = "p@ss:w/o%rd\u{e9}";
/// tinyproxy's settings accept only letters and digits.
const SIMPLE_PASSWORD: &str = "swordfish";
const PASSWORD_IN_URL: &str = "p%40ss%3Aw%2Fo%25rd%C3%A9";

/// A running proxy in the store. Dropping it kills the process.
struct Proxy {
    process: Process,
    directory: PathBuf,
    port: u16,
}

impl Proxy {
    /// Starts tinyproxy, which allows connections to one port. Returns `None` if it is not installed.
    fn tinyproxy(lab: &Lab, allowed_port: u16, with_password: bool) -> Option<Proxy> {
        Proxy::start(lab, "tinyproxy", |directory, port| {
            tinyproxy(directory, port, allowed_port, with_password)
        })
    }

    /// Starts squid, which allows connections to one port with a password.
    fn squid(lab: &Lab, allowed_port: u16) -> Option<Proxy> {
        Proxy::start(lab, "squid", |directory, port| {
            squid(directory, port, allowed_port)
        })
    }

    fn start(
        lab: &Lab,
        name: &str,
        command: impl FnOnce(&Path, u16) -> Command + Send,
    ) -> Option<Proxy> {
        let found = |path: &str| Path::new(path).join(name).exists();
        if !["/usr/bin", "/usr/sbin"].into_iter().any(found) {
            lab::skip(&format!("{name} is not installed"));
            return None;
        }
        let directory = std::env::temp_dir().join(format!("clopos-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        // Proxies write their logs after they have given up root.
        fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        let (process, port) = lab.in_store(|| {
            let port = TcpListener::bind((STORE_V4, 0))
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let output = File::create(directory.join("output")).unwrap();
            let process = command(&directory, port)
                .stdin(Stdio::null())
                .stdout(output.try_clone().unwrap())
                .stderr(output)
                .spawn()
                .unwrap();
            (process, port)
        });
        let proxy = Proxy {
            process,
            directory,
            port,
        };
        until("the proxy listens", || {
            TcpStream::connect((STORE_V4, port)).is_ok()
        });
        Some(proxy)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn url(&self, user_info: &str) -> String {
        format!("http://{user_info}{STORE_V4}:{}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for file in ["output", "log", "cache.log"] {
                let text = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
                eprintln!("--- {file}\n{text}");
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn tinyproxy(directory: &Path, port: u16, allowed_port: u16, with_password: bool) -> Command {
    let log = directory.join("log");
    let mut settings = format!(
        "Port {port}\nListen {STORE_V4}\nTimeout 30\nMaxClients 10\nConnectPort {allowed_port}\n\
         LogFile \"{}\"\nLogLevel Info\n",
        log.display()
    );
    if with_password {
        settings += &format!("BasicAuth {USER} {SIMPLE_PASSWORD}\n");
    }
    let path = directory.join("settings");
    fs::write(&path, settings).unwrap();
    let mut command = Command::new("tinyproxy");
    command.arg("-d").arg("-c").arg(path);
    command
}

fn squid(directory: &Path, port: u16, allowed_port: u16) -> Command {
    let hash = Command::new("openssl")
        .args(["passwd", "-apr1", PASSWORD])
        .output()
        .unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    fs::write(directory.join("users"), format!("{USER}:{hash}")).unwrap();
    let at = directory.display();
    let settings = format!(
        "http_port {STORE_V4}:{port}\nvisible_hostname proxy.{}\n\
         auth_param basic program /usr/lib/squid/basic_ncsa_auth {at}/users\n\
         auth_param basic children 1\nauth_param basic utf8 on\n\
         acl known proxy_auth REQUIRED\nacl ours port {allowed_port} 1\n\
         http_access deny !ours\nhttp_access allow known\nhttp_access deny all\n\
         logformat short %>Hs %rm %ru %un \"%{{User-Agent}}>h\"\n\
         access_log stdio:{at}/log short\ncache_log {at}/cache.log\ncache deny all\n\
         pid_filename none\ncoredump_dir {at}\nshutdown_lifetime 0 seconds\n\
         forward_timeout 2 seconds\nconnect_timeout 1 second\n",
        lab::DOMAIN
    );
    let path = directory.join("settings");
    fs::write(&path, settings).unwrap();
    let mut command = Command::new("squid");
    command.args(["-N", "-f"]).arg(path);
    command
}

fn config(sandbox: &Sandbox, proxy: &str) -> Config {
    let mut config = Config::new();
    config
        .set_base_url(&format!("https://{STORE_V4}:{}", sandbox.port()))
        .unwrap()
        .set_proxy(proxy)
        .unwrap()
        .set_user_agent("Till/7")
        .unwrap()
        .set_max_attempts(1)
        .unwrap();
    config.set_roots(Roots::None);
    config.add_ca_pem(sandbox.ca_pem().as_bytes()).unwrap();
    config
}

fn sign_in(config: &Config) -> Result<Token, Error> {
    recorded(
        Client::new(credentials(), config)
            .unwrap()
            .authenticate(None),
    )
}

fn assert_refused(config: &Config, http_status: Option<u16>, parts: &[&str]) {
    let error = failed(sign_in(config));
    lab::announce(format_args!("| {error}"));
    assert_eq!(error.status(), Status::Proxy, "{error}");
    assert_eq!(error.http_status(), http_status, "{error}");
    for part in parts {
        assert!(error.message().contains(part), "no {part:?} in {error}");
    }
    for secret in [PASSWORD, PASSWORD_IN_URL, "wrong-secret"] {
        assert!(!format!("{error} {error:?}").contains(secret), "{error}");
    }
}

#[test]
fn requests_pass_tinyproxy_and_its_refusals_are_explained() {
    lab::run(
        requests_pass_tinyproxy_and_its_refusals_are_explained,
        |lab| {
            let sandbox = lab.sandbox(|_| ());
            let port = sandbox.port();
            let Some(proxy) = Proxy::tinyproxy(lab, port, false) else {
                return;
            };
            let config = config(&sandbox, &proxy.url(""));
            value(sign_in(&config));
            let connect = format!("CONNECT {STORE_V4}:{port} HTTP/1.1");
            until("the proxy logs it", || proxy.log().contains(&connect));
            // Also with credentials that the proxy does not need. The service does not receive them.
            let mut config = config.clone();
            config.set_proxy(&proxy.url("a:b@")).unwrap();
            value(sign_in(&config));
            let request = sandbox.last_request().unwrap();
            assert!(
                request
                    .headers
                    .iter()
                    .all(|(name, _)| !name.starts_with("proxy-"))
            );

            // A port that the proxy does not allow, and a host that it cannot reach.
            config
                .set_base_url(&format!("https://{STORE_V4}:444"))
                .unwrap();
            assert_refused(
                &config,
                Some(403),
                &["does not allow this host", &format!("{STORE_V4}:444")],
            );
            drop(sandbox);
            config
                .set_base_url(&format!("https://{STORE_V4}:{port}"))
                .unwrap();
            let error = failed(sign_in(&config));
            lab::announce(format_args!("| {error}"));
            assert_eq!(error.status(), Status::Proxy);
            assert!(matches!(error.http_status(), Some(500..600)), "{error:?}");
            assert!(error.is_retryable());
        },
    );
}

#[test]
fn tinyproxy_receives_the_user_name_and_password_of_the_url() {
    lab::run(
        tinyproxy_receives_the_user_name_and_password_of_the_url,
        |lab| {
            let sandbox = lab.sandbox(|_| ());
            let Some(proxy) = Proxy::tinyproxy(lab, sandbox.port(), true) else {
                return;
            };
            value(sign_in(&config(
                &sandbox,
                &proxy.url(&format!("{USER}:sword%66ish@")),
            )));
            assert_refused(
                &config(&sandbox, &proxy.url("")),
                Some(407),
                &["asks for a user name"],
            );
            assert_refused(
                &config(&sandbox, &proxy.url("till:wrong-secret@")),
                Some(401),
                &["does not accept the user name and password"],
            );
        },
    );
}

#[test]
fn requests_pass_squid_with_credentials_and_its_refusals_are_explained() {
    lab::run(
        requests_pass_squid_with_credentials_and_its_refusals_are_explained,
        |lab| {
            let sandbox = lab.sandbox(|_| ());
            let port = sandbox.port();
            let Some(proxy) = Proxy::squid(lab, port) else {
                return;
            };
            let known = proxy.url(&format!("{USER}:{PASSWORD_IN_URL}@"));
            let mut config = config(&sandbox, &known);
            let client = Client::new(credentials(), &config).unwrap();
            value(client.authenticate(None));
            // The tunnel is reused.
            value(client.authenticate(None));
            assert_eq!(sandbox.connections(), 1);
            drop(client);
            let version = env!("CARGO_PKG_VERSION");
            let line =
                format!("200 CONNECT {STORE_V4}:{port} {USER} \"Till/7 libclopos_auth/{version}\"");
            until("the proxy logs it", || proxy.log().contains(&line));

            config.set_proxy(&proxy.url("")).unwrap();
            assert_refused(&config, Some(407), &["asks for a user name and password"]);
            config.set_proxy(&proxy.url("till:wrong-secret@")).unwrap();
            assert_refused(
                &config,
                Some(407),
                &["does not accept the user name and password"],
            );
            config.set_proxy(&known).unwrap();
            config
                .set_base_url(&format!("https://{STORE_V4}:444"))
                .unwrap();
            assert_refused(&config, Some(403), &["does not allow this host"]);
            // An allowed port on which no program listens.
            config
                .set_base_url(&format!("https://{STORE_V4}:1"))
                .unwrap();
            assert_refused(&config, Some(503), &["could not reach this host"]);
        },
    );
}

/// Which variable counts for which URL is tested in `src/connect/proxy/environment.rs`.
#[test]
fn the_environment_chooses_the_proxy_unless_it_is_set() {
    const CASE: &str = "CLOPOS_TEST_ENVIRONMENT_PROXY";
    let test = the_environment_chooses_the_proxy_unless_it_is_set;
    // In its own process, with one set of variables.
    if let Ok(case) = std::env::var(CASE) {
        let (url, ca_file) = case.split_once(' ').unwrap();
        let mut config = Config::new();
        config
            .set_base_url(url)
            .unwrap()
            .set_max_attempts(1)
            .unwrap();
        config.set_roots(Roots::None);
        config.add_ca_pem(&fs::read(ca_file).unwrap()).unwrap();
        if let Ok(choice) = std::env::var("CLOPOS_TEST_ENVIRONMENT_CHOICE") {
            config.set_proxy(&choice).unwrap();
        }
        let client = match Client::new(credentials(), &config) {
            Ok(client) => client,
            Err(error) => return println!("result: no client, {error}"),
        };
        match client.authenticate(None) {
            Ok(_) => println!("result: a token"),
            Err(error) => println!("result: {error}"),
        }
        return;
    }
    lab::run(test, |lab| {
        let sandbox = lab.sandbox(|_| ());
        let port = sandbox.port();
        let Some(proxy) = Proxy::tinyproxy(lab, port, false) else {
            return;
        };
        let ca_file = proxy.directory.join("ca.pem");
        fs::write(&ca_file, sandbox.ca_pem()).unwrap();
        let good = proxy.url("");
        let tunnels = || proxy.log().matches("CONNECT 192.0.2.2").count();
        let mut proxied_requests = 0;
        let variables = [
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
            "HTTP_PROXY",
            "http_proxy",
            "NO_PROXY",
            "no_proxy",
        ];
        let refusing = "http://u:wrong-secret@192.0.2.2:9";
        let proxied = "a token through the proxy";
        for (settings, expected) in [
            (&[("HTTPS_PROXY", good.as_str())][..], proxied),
            (
                &[("HTTPS_PROXY", "socks5://u:wrong-secret@p:1")],
                "no client, PROXY: environment variable HTTPS_PROXY",
            ),
            (
                &[("HTTPS_PROXY", refusing), ("NO_PROXY", "192.0.2.2")],
                "a token",
            ),
            (
                &[
                    ("HTTPS_PROXY", refusing),
                    ("CLOPOS_TEST_ENVIRONMENT_CHOICE", "none"),
                ],
                "a token",
            ),
            (
                &[
                    ("HTTPS_PROXY", refusing),
                    ("NO_PROXY", "*"),
                    ("CLOPOS_TEST_ENVIRONMENT_CHOICE", &good),
                ],
                proxied,
            ),
        ] {
            let mut command = Command::new(std::env::current_exe().unwrap());
            for name in variables {
                command.env_remove(name);
            }
            let case = format!("https://{STORE_V4}:{port} {}", ca_file.display());
            command.env(CASE, case).envs(settings.iter().copied());
            let output = lab::run_again(&mut command, test);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let result = text.split_once("result: ").expect(&text).1;
            let result = result.lines().next().unwrap();
            let start = expected.trim_end_matches(" through the proxy");
            assert!(result.starts_with(start), "{settings:?}: {result}");
            assert!(!text.contains("wrong-secret"), "{settings:?}: {text}");
            if expected == proxied {
                proxied_requests += 1;
                until("the proxy logs it", || tunnels() == proxied_requests);
            }
            assert_eq!(tunnels(), proxied_requests, "{settings:?}");
        }
    });
}

/// How often this process has read a proxy variable.
static READ: AtomicUsize = AtomicUsize::new(0);

/// Replaces the C library's function in this test program.
#[unsafe(no_mangle)]
extern "C" fn getenv(name: *const c_char) -> *mut c_char {
    // SAFETY: the callers pass a C string, and `dlsym` returns the function that this one replaces.
    unsafe {
        if CStr::from_ptr(name)
            .to_bytes()
            .to_ascii_lowercase()
            .ends_with(b"_proxy")
        {
            READ.fetch_add(1, Ordering::Relaxed);
        }
        let next = libc::dlsym(libc::RTLD_NEXT, c"getenv".as_ptr());
        let next: extern "C" fn(*const c_char) -> *mut c_char = std::mem::transmute(next);
        next(name)
    }
}

#[test]
fn proxy_variables_are_read_only_at_the_first_client_or_for_environment_and_never_after_a_fork() {
    const INSIDE: &str = "CLOPOS_TEST_READS_ENVIRONMENT";
    let test =
        proxy_variables_are_read_only_at_the_first_client_or_for_environment_and_never_after_a_fork;
    if std::env::var_os(INSIDE).is_none() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = lab::run_again(command.env(INSIDE, "1"), test);
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let reads = |proxy: &str| {
        let mut config = Config::new();
        config.set_proxy(proxy).unwrap();
        let before = READ.load(Ordering::Relaxed);
        drop(Client::new(credentials(), &config).unwrap());
        READ.load(Ordering::Relaxed) - before
    };
    reads("none");
    assert_eq!(reads("none"), 0);
    assert_eq!(reads("http://proxy.lan:3128"), 0);
    assert!(reads("environment") > 0);

    let mut config = Config::new();
    config.set_base_url("https://127.0.0.1:1").unwrap();
    let client = Client::new(credentials(), &config).unwrap();
    let child = Child::fork(|| {
        let before = READ.load(Ordering::Relaxed);
        let result = text_of(client.get_token(None));
        format!("{} {result}", READ.load(Ordering::Relaxed) - before)
    });
    let output = child.output();
    assert!(output.starts_with("0 !CONNECT: "), "{output}");
}
