//! Adds certificates from PEM: either all of them, or none and an error.
#![no_main]

use clopos_auth::{Client, Config, Credentials, Roots, Status};
use clopos_fuzz::check_error;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|pem: &[u8]| {
    let mut config = Config::new();
    config.set_roots(Roots::None);
    let added = config.add_ca_pem(pem).map(drop);
    if let Err(error) = &added {
        check_error(error);
        assert_eq!(error.status(), Status::InvalidArgument);
        assert!(error.message().contains("pem"));
    }
    // Without any root a client is refused.
    let credentials = Credentials::new("a", "b", "c", "d").expect("they are valid");
    let client = Client::new(credentials, config.set_proxy("none").expect("it is valid"));
    assert_eq!(client.is_ok(), added.is_ok());
});
