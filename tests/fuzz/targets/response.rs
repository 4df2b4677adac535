//! Parses responses: each gives a token that can be sent in a header, or an error without the secret.
#![no_main]

use std::time::Duration;

use clopos_auth::Status;
use clopos_auth::testing::fuzz::parse_response;
use clopos_fuzz::{NOW, SECRET, check_error, response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let response = response(input);
    match parse_response(&response, NOW, "pos.example.com", SECRET) {
        Ok(granted) => {
            assert!((200..300).contains(&response.http_status));
            assert!((1..=8192).contains(&granted.token.len()));
            assert!(granted.token.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!((1..=64).contains(&granted.token_type.len()));
            assert!(
                granted
                    .token_type
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic())
            );
            assert!(granted.expires_in >= Duration::from_secs(1));
            assert!(granted.expires_in <= Duration::from_secs(10 * 366 * 86_400));
            assert!((1..=253_402_300_799).contains(&granted.expires_at));
        }
        Err(error) => {
            check_error(&error);
            assert_ne!(error.status(), Status::Ok);
            assert_eq!(error.http_status(), Some(response.http_status));
        }
    }
});
