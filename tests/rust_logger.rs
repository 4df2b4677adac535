//! The records that a Rust host's `log` logger receives. The dependencies of this library write their own; the
//! documentation of the crate says which of them contain a token.

mod support;

use std::collections::BTreeSet;
use std::sync::Mutex;

use clopos_auth::{Credentials, Status};
use clopos_sandbox::{CLIENT_ID, Fault, TEST_BRAND, TEST_INTEGRATOR};
use log::{Level, LevelFilter, Log, Metadata, Record};

use support::{Fixture, failed, status, value};

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
    /// The level and target of every record that contains any eight consecutive bytes of `text`, plain or in
    /// hexadecimal digits.
    fn containing(&self, text: &str) -> BTreeSet<(Level, String)> {
        let parts: Vec<_> = text.as_bytes().windows(8).collect();
        let contains = |record: &str| {
            let digits: String = record.split(' ').collect();
            parts.iter().any(|part| {
                let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
                record.contains(str::from_utf8(part).unwrap()) || digits.contains(&hex)
            })
        };
        let records = self.0.lock().unwrap();
        let found = records.iter().filter(|(_, _, record)| contains(record));
        found
            .map(|(level, target, _)| (*level, target.clone()))
            .collect()
    }
}

#[test]
fn a_rust_logger_receives_a_token_only_in_the_documented_records() {
    log::set_logger(&LOGGER).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let secret = "Zq7-Wx8_Yv9+Ku0";
    let mut tokens = Vec::new();
    for fixture in [Fixture::start(), Fixture::with_tls()] {
        let client = fixture.client(&fixture.config());
        tokens.push(value(client.get_token(None)));
        tokens.push(value(client.authenticate(None)));
        assert_eq!(status(client.get_token(None)), Status::Ok);
        for fault in [
            Fault::Status401,
            Fault::Status503,
            Fault::RequestClose,
            Fault::BodyTruncated,
        ] {
            fixture.sandbox.fail(fault);
            let credentials = Credentials::new(CLIENT_ID, secret, TEST_BRAND, TEST_INTEGRATOR);
            let mut config = fixture.config();
            config.set_max_attempts(1).unwrap();
            failed(
                fixture
                    .client_for(credentials.unwrap(), &config)
                    .get_token(None),
            );
        }
    }
    assert!(
        !LOGGER.containing("POST http").is_empty(),
        "no record at all"
    );
    assert_eq!(LOGGER.containing(secret), BTreeSet::new());
    let documented = BTreeSet::from([(Level::Trace, "ureq_proto::util".to_owned())]);
    for token in tokens {
        assert_eq!(LOGGER.containing(&token), documented);
    }
}
