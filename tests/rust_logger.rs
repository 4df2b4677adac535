//! What reaches the `log` logger of a Rust host: the crates below this library have records of their
//! own, and the documentation of the crate says which of them show a token.

mod support;

use std::collections::BTreeSet;
use std::sync::Mutex;

use clopos_auth::{Credentials, Status};
use clopos_sandbox::{CLIENT_ID, Fault, TEST_BRAND, TEST_INTEGRATOR};
use log::{Level, LevelFilter, Log, Metadata, Record};

use support::{Bench, failed, status, value};

/// Keeps every record.
struct Logger(Mutex<Vec<(Level, String, String)>>);

static LOGGER: Logger = Logger(Mutex::new(Vec::new()));

impl Log for Logger {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let (target, text) = (record.target().to_owned(), record.args().to_string());
        self.0.lock().unwrap().push((record.level(), target, text));
    }

    fn flush(&self) {}
}

impl Logger {
    /// The level and target of every record that has eight bytes in a row of a text, plain or in
    /// hexadecimal digits.
    fn shows(&self, text: &str) -> BTreeSet<(Level, String)> {
        let parts: Vec<_> = text.as_bytes().windows(8).collect();
        let shows = |record: &str| {
            let digits: String = record.split(' ').collect();
            parts.iter().any(|part| {
                let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
                record.contains(str::from_utf8(part).unwrap()) || digits.contains(&hex)
            })
        };
        let records = self.0.lock().unwrap();
        let found = records.iter().filter(|(_, _, record)| shows(record));
        found
            .map(|(level, target, _)| (*level, target.clone()))
            .collect()
    }
}

#[test]
fn a_rust_hosts_logger_sees_a_token_only_in_the_records_that_the_documentation_names() {
    log::set_logger(&LOGGER).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let secret = "Zq7-Wx8_Yv9+Ku0";
    let mut tokens = Vec::new();
    for bench in [Bench::start(), Bench::with_tls()] {
        let client = bench.client(&bench.config());
        tokens.push(value(client.get_token(None)));
        tokens.push(value(client.authenticate(None)));
        assert_eq!(status(client.get_token(None)), Status::Ok);
        for fault in [
            Fault::Status401,
            Fault::Status503,
            Fault::RequestClose,
            Fault::BodyTruncated,
        ] {
            bench.sandbox.fail(fault);
            let credentials = Credentials::new(CLIENT_ID, secret, TEST_BRAND, TEST_INTEGRATOR);
            let mut config = bench.config();
            config.set_max_attempts(1).unwrap();
            failed(
                bench
                    .client_for(credentials.unwrap(), &config)
                    .get_token(None),
            );
        }
    }
    assert!(!LOGGER.shows("POST http").is_empty(), "no record at all");
    assert_eq!(LOGGER.shows(secret), BTreeSet::new());
    let documented = BTreeSet::from([(Level::Trace, "ureq_proto::util".to_owned())]);
    for token in tokens {
        assert_eq!(LOGGER.shows(&token), documented);
    }
}
