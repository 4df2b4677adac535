//! The names of the faults, and the queue of injected faults. What each fault does is in `effects`.

use std::collections::VecDeque;
use std::str::FromStr;

use crate::script::Step;

/// The stage of a connection at which a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A new connection, before TLS.
    Connection,
    /// An auth request, after it is read.
    Request,
}

/// Writes the enum and [`Fault::NAMED`] from one table.
macro_rules! faults {
    ($($stage:ident { $($variant:ident $name:literal $meaning:literal)* })*) => {
        /// An injected failure.
        ///
        /// Connection faults (`connect-*`, `tls-*`, `plain-http`) affect the next new connection; all others affect
        /// the next request to `/open-api/v2/auth`, whatever it contains.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[doc = concat!("`", $name, "`: ", $meaning, ".")] $variant,)*)*
            /// Runs these steps on a new connection, before TLS.
            Connection(Vec<Step>),
            /// Runs these steps after an auth request, instead of a response.
            Request(Vec<Step>),
            /// Sends exactly these bytes instead of a response, then closes.
            Raw(Vec<u8>),
            /// Sends this response.
            Response {
                /// The status code, 100 to 999.
                status: u16,
                /// Headers in addition to `Date` and `Content-Length`.
                headers: Vec<(String, String)>,
                /// The whole body.
                body: Vec<u8>,
            },
        }

        impl Fault {
            /// Every fault that has a name, in the order of a connection's life.
            pub const NAMED: &[Fault] = &[$($(Fault::$variant,)*)*];

            fn row(&self) -> (Stage, &'static str, &'static str) {
                match self {
                    $($(Fault::$variant => (Stage::$stage, $name, $meaning),)*)*
                    Fault::Connection(_) => (Stage::Connection, "connection", "a given script"),
                    Fault::Request(_) => (Stage::Request, "request", "a given script"),
                    Fault::Raw(_) => (Stage::Request, "raw", "given bytes instead of a response"),
                    Fault::Response { .. } => (Stage::Request, "response", "a given response"),
                }
            }
        }
    };
}

faults! {
    Connection {
        ConnectReset "connect-reset" "resets the connection right after accepting it"
        ConnectClose "connect-close" "closes the connection right after accepting it"
        TlsHang "tls-hang" "never answers the ClientHello"
        TlsGarbage "tls-garbage" "answers the ClientHello with bytes that are no TLS"
        TlsDrip "tls-drip" "sends its part of the handshake one byte every 100 ms"
        TlsClose "tls-close" "closes the connection after the ClientHello"
        TlsReset "tls-reset" "resets the connection after the ClientHello"
        PlainHttp "plain-http" "answers the ClientHello with a plain HTTP 400"
    }
    Request {
        RequestHang "request-hang" "reads the request and never answers"
        RequestReset "request-reset" "reads the request and resets the connection"
        RequestClose "request-close" "reads the request and closes the connection"

        StatusGarbage "status-garbage" "sends bytes that are no status line"
        StatusHang "status-hang" "sends half a status line, then nothing"
        HeadersHang "headers-hang" "sends half of the headers, then nothing"
        HeadersDrip "headers-drip" "sends the headers one byte every 100 ms"
        HeadersOversize "headers-oversize" "sends over 16 KiB of headers before a good body"
        HeadersTruncated "headers-truncated" "closes in the middle of the headers"
        HeadersReset "headers-reset" "resets in the middle of the headers"

        BodyEmpty "body-empty" "200 with no body"
        BodyHang "body-hang" "sends half of the body, then nothing"
        BodyDrip "body-drip" "sends the body one byte a second"
        BodyTruncated "body-truncated" "closes in the middle of the body"
        BodyReset "body-reset" "resets in the middle of the body"
        BodyOversize "body-oversize" "good JSON of 64 KiB + 1 byte, most of it an unknown field"
        BodyEndless "body-endless" "a chunked body that never ends"
        BodyWrongLength "body-wrong-length" "a Content-Length 10 bytes shorter than the body"
        BodyGzip "body-gzip" "a good body, gzipped although the request does not accept it"
        BodyHtml "body-html" "200 with an HTML page, as a captive portal does"
        BodyGarbage "body-garbage" "200 with bytes that are neither JSON nor UTF-8"
        BodyBom "body-bom" "good JSON after a UTF-8 byte order mark"
        BodyTruncatedJson "body-truncated-json" "a complete response whose JSON is cut in half"
        BodySlow "body-slow" "a complete good response, 3 s late"

        TokenNul "token-nul" "a token with a NUL in it"
        TokenCrlf "token-crlf" "a token with CR LF and a header line in it"
        TokenSpace "token-space" "a token with a space in it"
        TokenEmpty "token-empty" "an empty token"
        TokenOversize "token-oversize" "a token of 8193 characters"
        TokenMissing "token-missing" "success without a token"
        TokenNumber "token-number" "a token that is a number"
        DuplicateKeys "duplicate-keys" "the key token twice, with different values"
        NumbersAsStrings "numbers-as-strings" "expires_in and expires_at as strings"
        ExpiresHuge "expires-huge" "expires_in and expires_at of 1e999"
        ExpiresNegative "expires-negative" "expires_in and expires_at of -1"
        ExpiresZero "expires-zero" "expires_in and expires_at of 0"
        ExpiresMissing "expires-missing" "neither expires_in nor expires_at"
        ExpiresFraction "expires-fraction" "expires_in and expires_at with half a second"
        Nesting "nesting" "an unknown field with 10 000 nested arrays"
        SuccessMissing "success-missing" "a good body without the field success"
        SuccessString "success-string" "a good body whose success is the string \"true\""
        SuccessFalse "success-false" "200 with success false: a brand of another environment"
        MessageHostile "message-hostile" "401 whose 4 KiB message has control characters, escape sequences and the client's secret"
        SameToken "same-token" "the token that was issued last, again"

        Status400 "status-400" "a required field is missing"
        Status401 "status-401" "wrong credentials"
        Status403 "status-403" "the restaurant switched its access off"
        Status404 "status-404" "not found"
        Status422 "status-422" "unprocessable"
        Status429 "status-429" "too many requests"
        Status500 "status-500" "the gateway failed"
        Status502Html "status-502-html" "a proxy's HTML page"
        Status503 "status-503" "unavailable"
        Status504 "status-504" "the upstream did not answer within 8 seconds"
        Redirect301 "redirect-301" "moved permanently, to the configured URL"
        Redirect302 "redirect-302" "found, at the configured URL"
        Redirect307 "redirect-307" "moved temporarily, method kept"
        Redirect308 "redirect-308" "moved permanently, method kept"

        DropIdle "drop-idle" "sends a good response and closes the connection 50 ms later"
    }
}

impl Fault {
    /// The name, as on the command line and on the control port. It does not change between versions.
    pub fn name(&self) -> &'static str {
        self.row().1
    }

    /// What it does, in one line.
    pub fn meaning(&self) -> &'static str {
        self.row().2
    }

    pub(crate) fn stage(&self) -> Stage {
        self.row().0
    }
}

impl FromStr for Fault {
    type Err = String;

    /// Finds a fault by its name.
    fn from_str(name: &str) -> Result<Self, String> {
        let found = Fault::NAMED.iter().find(|fault| fault.name() == name);
        found
            .cloned()
            .ok_or_else(|| format!("no fault is named {name:?}"))
    }
}

/// The injected faults: a queue of counted ones, then one that stays.
#[derive(Debug, Default)]
pub(crate) struct FaultQueue {
    queue: VecDeque<(Fault, u32)>,
    standing: Option<Fault>,
}

impl FaultQueue {
    pub(crate) fn set_standing(&mut self, fault: Fault) {
        self.standing = Some(fault);
    }

    pub(crate) fn push(&mut self, fault: Fault, times: u32) {
        if times > 0 {
            self.queue.push_back((fault, times));
        }
    }

    pub(crate) fn heal(&mut self) {
        *self = FaultQueue::default();
    }

    /// Takes the next fault, if it is one of this stage. The order of the queue holds across stages: while the first
    /// fault is one of the other stage, there is none for this one.
    pub(crate) fn take(&mut self, stage: Stage) -> Option<Fault> {
        let Some((fault, times)) = self.queue.front_mut() else {
            return self.standing.clone().filter(|fault| fault.stage() == stage);
        };
        if fault.stage() != stage {
            return None;
        }
        let fault = fault.clone();
        *times -= 1;
        if *times == 0 {
            self.queue.pop_front();
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_faults_come_in_order_and_then_the_standing_one() {
        let mut faults = FaultQueue::default();
        faults.push(Fault::Status503, 2);
        faults.push(Fault::ConnectReset, 1);
        faults.set_standing(Fault::Status401);
        assert_eq!(faults.take(Stage::Connection), None);
        assert_eq!(faults.take(Stage::Request), Some(Fault::Status503));
        assert_eq!(faults.take(Stage::Request), Some(Fault::Status503));
        assert_eq!(faults.take(Stage::Request), None);
        assert_eq!(faults.take(Stage::Connection), Some(Fault::ConnectReset));
        assert_eq!(faults.take(Stage::Request), Some(Fault::Status401));
        assert_eq!(faults.take(Stage::Request), Some(Fault::Status401));
        faults.heal();
        assert_eq!(faults.take(Stage::Request), None);
    }

    #[test]
    fn every_name_finds_its_own_fault() {
        for fault in Fault::NAMED {
            assert_eq!(fault.name().parse(), Ok(fault.clone()));
        }
        assert!("no-such-fault".parse::<Fault>().is_err());
    }
}
