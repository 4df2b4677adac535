//! The body of a request.
#![forbid(unsafe_code)]

use serde::Serialize;

use crate::Credentials;
use crate::wiped::WipedBuffer;

/// More than a usual request body has, so that its buffer seldom grows.
const USUAL_REQUEST_BYTES: usize = 512;

/// The request body.
pub(crate) fn request_body(credentials: &Credentials) -> WipedBuffer {
    #[derive(Serialize)]
    struct Request<'a> {
        client_id: &'a str,
        client_secret: &'a str,
        brand: &'a str,
        integrator_id: &'a str,
    }
    let request = Request {
        client_id: credentials.client_id.expose(),
        client_secret: credentials.client_secret.expose(),
        brand: credentials.brand.expose(),
        integrator_id: credentials.integrator_id.expose(),
    };
    let mut body = WipedBuffer::with_capacity(USUAL_REQUEST_BYTES);
    serde_json::to_writer(&mut body, &request).expect("the buffer grows");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_four_documented_fields_and_no_other() {
        let credentials = Credentials::new("id", "a\"b\\c", "çay-evi", "integrator").unwrap();
        let body = request_body(&credentials);
        assert_eq!(
            str::from_utf8(body.bytes()).unwrap(),
            r#"{"client_id":"id","client_secret":"a\"b\\c","brand":"çay-evi","integrator_id":"integrator"}"#
        );
    }

    #[test]
    fn the_longest_credentials_fit_into_the_request() {
        let long = "\"".repeat(1024);
        let credentials = Credentials::new(&long, &long, &long, &long).unwrap();
        assert!(request_body(&credentials).bytes().len() > 8 * 1024);
    }
}
