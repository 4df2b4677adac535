//! Calls functions of the C interface in any order, with any handles and texts. Only tokens and errors are valid
//! pointers and are freed once, as the header demands. The base URL selects one of two small servers in this
//! process (one accepts, one rejects) or a port without a server.
#![no_main]

use std::ffi::{CStr, CString, c_char, c_void};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::ptr::{null, null_mut};
use std::sync::LazyLock;

use clopos_auth::Status;
use clopos_auth::ffi::*;
use clopos_fuzz::SECRET;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut script = Script { rest: input };
    let mut world = World::default();
    // Enough to reach every state, and few enough for the slowest input to be fast.
    for _ in 0..32 {
        let Some(call) = script.byte() else { break };
        world.call(call, &mut script);
    }
    world.end();
});

/// An input, read byte by byte.
struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn number(&mut self) -> u8 {
        self.byte().unwrap_or(0)
    }

    fn word(&mut self) -> usize {
        (0..size_of::<usize>()).fold(0, |word, _| word << 8 | usize::from(self.number()))
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.number()).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        bytes
    }

    /// A text for an argument: NULL, a valid one, one that is too long, or any bytes. Its allocation ends with the
    /// NUL, so that a read beyond it is detected.
    fn text(&mut self, valid: &[&str]) -> Option<CString> {
        match self.number() {
            0 => None,
            1 => Some(CString::new("x".repeat(9000)).expect("it has no NUL")),
            2..=31 => {
                let bytes = self.bytes();
                let end = bytes
                    .iter()
                    .position(|&byte| byte == 0)
                    .unwrap_or(bytes.len());
                CString::new(&bytes[..end]).ok()
            }
            n => CString::new(valid[usize::from(n) % valid.len()]).ok(),
        }
    }
}

#[derive(Default)]
struct World {
    clients: Vec<*mut clopos_auth_client>,
    configs: Vec<*mut clopos_auth_config>,
    tokens: Vec<*mut clopos_auth_token>,
    errors: Vec<*mut clopos_auth_error>,
}

/// Checks the error output of a function.
fn check(status: Status, err: *mut clopos_auth_error) -> *mut clopos_auth_error {
    assert_eq!(status == Status::Ok, err.is_null(), "{status:?}");
    assert_ne!(status, Status::Internal);
    // SAFETY: an error that a call has returned is valid until it is freed, and has a message.
    if let Some(error) = unsafe { err.as_ref() } {
        assert_eq!(error.status, status);
        // SAFETY: as above.
        let message = unsafe { CStr::from_ptr(error.message) };
        let message = message.to_str().expect("it is UTF-8");
        assert!(!message.is_empty() && !message.chars().any(char::is_control));
        assert!(!message.contains(SECRET), "{message}");
    }
    err
}

fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(null(), |text| text.as_ptr())
}

extern "C" fn log(level: i32, line: *const c_char, _: *mut c_void) {
    assert!((1..=4).contains(&level));
    // SAFETY: a line is a text that is valid during the call.
    let line = unsafe { CStr::from_ptr(line) };
    assert!(!line.to_string_lossy().contains(SECRET));
}

extern "C" fn changed(status: i32, _: *mut c_void) {
    assert!(Status::from_number(status).is_some_and(|status| status != Status::Cancelled));
}

impl World {
    /// Any handle: a valid one, one that was freed, one of the other type, one that was made up.
    fn handle(&self, script: &mut Script) -> usize {
        let of = |n: usize| match (self.clients.len(), self.configs.len()) {
            (0, 0) => 0,
            (clients, configs) => match n % (clients + configs) {
                n if n < clients => self.clients[n].addr(),
                n => self.configs[n - clients].addr(),
            },
        };
        match script.number() {
            0 => 0,
            1 => script.word(),
            n @ 2..=15 => of(n.into()) ^ 1 << (n % 48),
            n => of(n.into()),
        }
    }

    fn client(&self, script: &mut Script) -> *mut clopos_auth_client {
        match self.clients.last() {
            Some(&last) if script.number() >= 64 => last,
            _ => self.handle(script) as *mut _,
        }
    }

    fn config(&self, script: &mut Script) -> *mut clopos_auth_config {
        match self.configs.last() {
            Some(&last) if script.number() >= 64 => last,
            _ => self.handle(script) as *mut _,
        }
    }

    fn call(&mut self, call: u8, script: &mut Script) {
        let mut err = null_mut();
        let timeout = if script.number() < 128 { 0 } else { 50 };
        // SAFETY: texts end with a NUL, other pointers are NULL or of a local variable, tokens and errors are
        // freed once. Handles may be any numbers.
        let status = unsafe {
            match call % 28 {
                0 => {
                    self.configs.push(clopos_auth_config_new());
                    return;
                }
                1 => {
                    clopos_auth_config_free(self.handle(script) as *mut _);
                    return;
                }
                2 => {
                    clopos_auth_client_free(self.handle(script) as *mut _);
                    return;
                }
                3 => {
                    let number = script.word();
                    clopos_auth_version_number();
                    assert!(!clopos_auth_version().is_null());
                    assert!(!clopos_auth_status_name(number as i32).is_null());
                    return;
                }
                4 => {
                    if let Some(token) = self.tokens.pop() {
                        clopos_auth_token_free(token);
                    }
                    clopos_auth_token_free(null_mut());
                    return;
                }
                5 => {
                    if let Some(error) = self.errors.pop() {
                        clopos_auth_error_free(error);
                    }
                    clopos_auth_error_free(null_mut());
                    return;
                }
                6..=8 => {
                    let config = self.usable_config(script);
                    let texts = [(); 4].map(|()| script.text(&["till", SECRET, "brand"]));
                    let mut out = 1 as *mut _;
                    let status = clopos_auth_client_new(
                        pointer(&texts[0]),
                        pointer(&texts[1]),
                        pointer(&texts[2]),
                        pointer(&texts[3]),
                        config,
                        &mut out,
                        &mut err,
                    );
                    assert_eq!(status == Status::Ok, !out.is_null());
                    if !out.is_null() {
                        self.clients.push(out);
                    }
                    status
                }
                9..=11 => {
                    let mut out = 1 as *mut _;
                    let client = self.client(script);
                    let status = if call % 28 == 9 {
                        clopos_auth_authenticate(client, timeout, &mut out, &mut err)
                    } else {
                        clopos_auth_get_token(client, timeout, &mut out, &mut err)
                    };
                    assert_eq!(status == Status::Ok, !out.is_null());
                    if let Some(token) = out.as_ref() {
                        let value = CStr::from_ptr(token.value);
                        assert_eq!(value.to_bytes(), TOKEN.as_bytes());
                        assert_eq!(token.value_len, TOKEN.len());
                        self.tokens.push(out);
                    }
                    status
                }
                12..=13 => {
                    // Exactly as large as the size that is passed.
                    let mut buf = vec![1_u8; usize::from(script.number())];
                    let (mut needed, mut end) = (1, 1);
                    let client = self.client(script);
                    let status = clopos_auth_copy_token(
                        client,
                        timeout,
                        if buf.is_empty() {
                            null_mut()
                        } else {
                            buf.as_mut_ptr().cast()
                        },
                        buf.len(),
                        &mut needed,
                        &mut end,
                        &mut err,
                    );
                    match status {
                        Status::Ok => assert!(buf.starts_with(TOKEN.as_bytes())),
                        _ => assert!(buf.first().is_none_or(|&first| first == 0)),
                    }
                    status
                }
                14 => {
                    let text = script.text(&[TOKEN, "another"]);
                    clopos_auth_invalidate(self.client(script), pointer(&text));
                    return;
                }
                15 => {
                    clopos_auth_cancel(self.client(script));
                    return;
                }
                16 => {
                    let urls = [accepting(), rejecting(), REFUSED, "http://example.com"];
                    let text = script.text(&urls);
                    let config = self.config(script);
                    clopos_auth_config_set_base_url(config, pointer(&text), &mut err)
                }
                17 => {
                    let text = script.text(&["none", "environment", "http://127.0.0.1:1"]);
                    let config = self.config(script);
                    clopos_auth_config_set_proxy(config, pointer(&text), &mut err)
                }
                18 => {
                    let text = script.text(&["MyTill/4.2"]);
                    let config = self.config(script);
                    clopos_auth_config_set_user_agent(config, pointer(&text), &mut err)
                }
                19 => {
                    let pem = script.bytes();
                    let length = pem.len();
                    let pem = if length == 0 {
                        null()
                    } else {
                        pem.as_ptr().cast()
                    };
                    clopos_auth_config_add_ca_pem(self.config(script), pem, length, &mut err)
                }
                20 => {
                    let (config, number) = (self.config(script), script.word());
                    match script.number() % 4 {
                        0 => clopos_auth_config_set_timeout_ms(config, number as u32, &mut err),
                        1 => {
                            let ms = number as u32;
                            clopos_auth_config_set_attempt_timeout_ms(config, ms, &mut err)
                        }
                        2 => clopos_auth_config_set_max_attempts(config, number as u32, &mut err),
                        _ => {
                            let requests = number as u32;
                            clopos_auth_config_set_requests_per_minute(config, requests, &mut err)
                        }
                    }
                }
                21 => {
                    let number = i32::from(script.number() as i8);
                    clopos_auth_config_set_roots(self.config(script), number, &mut err)
                }
                22 => {
                    let number = i32::from(script.number() as i8);
                    clopos_auth_config_set_allow_plain_http(self.config(script), number, &mut err)
                }
                23 => {
                    let config = self.config(script);
                    let on_change: clopos_auth_change_fn = match script.number() {
                        0 => None,
                        _ => Some(changed),
                    };
                    clopos_auth_config_set_on_change(config, on_change, null_mut(), &mut err)
                }
                24 => {
                    let mut left = 1;
                    let serial = clopos_auth_current(self.client(script), &mut left);
                    assert!(left >= 0 && (serial != 0 || left == 0));
                    return;
                }
                25 => {
                    let mut out = 1 as *mut _;
                    let status = clopos_auth_get_state(self.client(script), &mut out, &mut err);
                    assert_eq!(status == Status::Ok, !out.is_null());
                    if let Some(state) = out.as_ref() {
                        assert!(state.failures <= state.requests);
                        let has_message = !state.last_message.is_null();
                        assert_eq!(has_message, state.last_status != Status::Ok);
                        if has_message {
                            let message = CStr::from_ptr(state.last_message).to_string_lossy();
                            assert!(!message.contains(SECRET), "{message}");
                        }
                    }
                    clopos_auth_state_free(out);
                    status
                }
                26 => {
                    let text = script.text(&["/open-api/v3/auth", "no/slash"]);
                    let config = self.config(script);
                    clopos_auth_config_set_auth_path(config, pointer(&text), &mut err)
                }
                _ => {
                    let level = i32::from(script.number() as i8);
                    let config = self.config(script);
                    let log: clopos_auth_log_fn = if level == 100 { None } else { Some(log) };
                    clopos_auth_config_set_log(config, level, log, null_mut(), &mut err)
                }
            }
        };
        let err = check(status, err);
        if !err.is_null() {
            self.errors.push(err);
        }
    }

    /// A config for a client, which never connects to another machine.
    fn usable_config(&mut self, script: &mut Script) -> *const clopos_auth_config {
        let config = self.config(script);
        if !self.configs.contains(&config) && !self.clients.contains(&config.cast()) {
            return if config.is_null() {
                1 as *const _
            } else {
                config
            };
        }
        let urls = [accepting(), accepting(), rejecting(), REFUSED];
        let url = CString::new(urls[usize::from(script.number()) % 4]).expect("it has no NUL");
        // SAFETY: the text ends with a NUL; the handle may be any number.
        unsafe {
            clopos_auth_config_set_base_url(config, url.as_ptr(), null_mut());
            clopos_auth_config_set_proxy(config, c"none".as_ptr(), null_mut());
        }
        config
    }

    fn end(self) {
        for client in self.clients {
            clopos_auth_client_free(client);
        }
        for config in self.configs {
            clopos_auth_config_free(config);
        }
        // SAFETY: a call has returned each of them, and none was freed yet.
        unsafe {
            self.tokens
                .into_iter()
                .for_each(|token| clopos_auth_token_free(token));
            self.errors
                .into_iter()
                .for_each(|error| clopos_auth_error_free(error));
        }
    }
}

const TOKEN: &str = "head.body.tail";
/// No program listens on this port.
const REFUSED: &str = "http://127.0.0.1:1";

const ACCEPTED: &str =
    r#"{"success":true,"token":"head.body.tail","token_type":"Bearer","expires_in":3600}"#;
const REJECTED: &str = r#"{"success":false,"message":"wrong","error":"authentication_failed"}"#;

static SERVERS: LazyLock<[String; 2]> =
    LazyLock::new(|| [("200 OK", ACCEPTED), ("401 No", REJECTED)].map(serve));

fn accepting() -> &'static str {
    &SERVERS[0]
}

fn rejecting() -> &'static str {
    &SERVERS[1]
}

/// Starts a server that sends the same response to every request, and returns its URL.
fn serve((status, body): (&'static str, &'static str)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!(
        "http://{}",
        listener.local_addr().expect("it has an address")
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            // The request is shorter than this and ends with the body's last byte.
            let mut request = [0; 16 * 1024];
            let mut length = 0;
            while !request[..length].ends_with(b"}") && length < request.len() {
                match stream.read(&mut request[length..]) {
                    Ok(n @ 1..) => length += n,
                    _ => break,
                }
            }
            let response = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(response.as_bytes());
        }
    });
    url
}
