//! What each fault does: it runs a script on the connection, or sends an HTTP response.

use std::io::{self, Write};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json as value};

use crate::auth::{
    AuthRequest, Grant, disabled_client, failure, json, missing_field, set_header,
    too_many_requests, wrong_credentials, wrong_environment,
};
use crate::faults::Fault;
use crate::script::Step;

const TICK: Duration = Duration::from_millis(100);
const HTML: &str = "<!DOCTYPE html>\n<html><head><title>Sign in to the network</title></head>\
    <body><form action=\"/login\"><input name=\"room\"></form></body></html>\n";

/// What a fault does to a request.
pub(crate) enum Effect {
    Run(Vec<Step>),
    Respond(Response),
}

/// What a fault does to a new connection.
pub(crate) fn connection_script(fault: &Fault) -> Vec<Step> {
    use Step::{Close, Hang, Read, Reset, Send};
    match fault {
        Fault::ConnectReset => vec![Reset],
        Fault::TlsHang => vec![Read, Hang],
        Fault::TlsGarbage => vec![Read, Send(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()), Close],
        Fault::TlsDrip => vec![Step::Handshake(TICK, 100), Hang],
        Fault::TlsClose => vec![Read, Close],
        Fault::TlsReset => vec![Read, Reset],
        Fault::PlainHttp => {
            let text = "Client sent an HTTPS request to an HTTP server.\n";
            let head = head(
                "400 Bad Request",
                &format!("Content-Length: {}\r\n", text.len()),
            );
            vec![Read, Send(join(head, text)), Close]
        }
        Fault::Connection(steps) => steps.clone(),
        // ConnectClose. The faults of requests do not come here.
        _ => vec![Close],
    }
}

/// What a fault does to a request. Fails if no token can be made.
pub(crate) fn effect(fault: Fault, request: &AuthRequest<'_>) -> io::Result<Effect> {
    use Effect::{Respond, Run};
    use Step::{Close, Drip, Hang, Repeat, Reset, Send, Sleep};

    // The body of a good response, for faults that change how it is sent.
    let text = || request.grant().map(|grant| grant.text());
    let ok = |length: usize| {
        let date = request.state.date();
        head(
            "200 OK",
            &format!(
                "Content-Type: application/json\r\nDate: {date}\r\nContent-Length: {length}\r\n"
            ),
        )
    };
    // A good response, for faults that change a field of it.
    let altered = |alter: &dyn Fn(&mut Grant)| {
        let mut grant = request.grant()?;
        alter(&mut grant);
        Ok(Respond(json(200, grant.text())))
    };
    let token = |token: &str| altered(&|grant| grant.token = Some(Value::from(token)));
    let expiry = |expires: Value| {
        altered(&|grant| {
            grant.expires_in = Some(expires.clone());
            grant.expires_at = Some(expires.clone());
        })
    };
    let status = |status: StatusCode, error: &str, message: &str| {
        Ok(Respond(failure(status, Some(error), Some(message))))
    };
    let redirect = |status: u16| {
        let mut response = json(status, "");
        set_header(&mut response, "location", &request.settings.redirect_to);
        Ok(Respond(response))
    };

    match fault {
        // Faults of connections do not come here, but the match has to be complete.
        Fault::ConnectReset
        | Fault::ConnectClose
        | Fault::TlsHang
        | Fault::TlsGarbage
        | Fault::TlsDrip
        | Fault::TlsClose
        | Fault::TlsReset
        | Fault::PlainHttp
        | Fault::Connection(_) => Ok(Run(connection_script(&fault))),

        Fault::RequestHang => Ok(Run(vec![Hang])),
        Fault::RequestReset => Ok(Run(vec![Reset])),
        Fault::RequestClose => Ok(Run(vec![Close])),

        Fault::StatusGarbage => Ok(Run(vec![
            Send(b"220 mail.example ESMTP ready\r\n\r\n".to_vec()),
            Close,
        ])),
        Fault::StatusHang => Ok(Run(vec![Send(b"HTTP/1.1 20".to_vec()), Hang])),
        Fault::HeadersHang => Ok(Run(vec![Send(half(ok(500))), Hang])),
        Fault::HeadersDrip => {
            let text = text()?;
            Ok(Run(vec![
                Drip(ok(text.len()), TICK),
                Send(text.into_bytes()),
                Close,
            ]))
        }
        Fault::HeadersOversize => {
            let mut response = json(200, text()?);
            for number in 0..5 {
                set_header(
                    &mut response,
                    &format!("x-padding-{number}"),
                    &"x".repeat(4096),
                );
            }
            Ok(Respond(response))
        }
        Fault::HeadersTruncated => Ok(Run(vec![Send(half(ok(500))), Close])),
        Fault::HeadersReset => Ok(Run(vec![Send(half(ok(500))), Reset])),

        Fault::BodyEmpty => Ok(Respond(json(200, ""))),
        Fault::BodyHang => cut_body(text()?, ok, Hang),
        Fault::BodyDrip => {
            let text = text()?;
            let second = Duration::from_secs(1);
            Ok(Run(vec![
                Send(ok(text.len())),
                Drip(text.into_bytes(), second),
                Close,
            ]))
        }
        Fault::BodyTruncated => cut_body(text()?, ok, Close),
        Fault::BodyReset => cut_body(text()?, ok, Reset),
        Fault::BodyOversize => {
            let text = text()?;
            let padding = 64 * 1024 + 1 - text.len() - r#","padding":"""#.len();
            let padding = format!(r#""padding":"{}""#, "x".repeat(padding));
            Ok(Respond(json(200, with_field(&text, &padding))))
        }
        Fault::BodyEndless => {
            let head = head(
                "200 OK",
                "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
            );
            let start = chunk(r#"{"success":true,"message":""#);
            let more = chunk(&"x".repeat(1024));
            Ok(Run(vec![
                Send(join(head, start)),
                Repeat(more, Duration::from_millis(1)),
            ]))
        }
        Fault::BodyWrongLength => {
            let text = text()?;
            Ok(Run(vec![Send(join(ok(text.len() - 10), text)), Close]))
        }
        Fault::BodyGzip => {
            let mut response = json(200, gzip(text()?.as_bytes()));
            set_header(&mut response, "content-encoding", "gzip");
            Ok(Respond(response))
        }
        Fault::BodyHtml => Ok(Respond(html(200))),
        Fault::BodyGarbage => Ok(Respond(json(
            200,
            [0xff, 0xfe, 0x00, 0xc3, 0x28, 0x7f].repeat(20),
        ))),
        Fault::BodyBom => Ok(Respond(json(200, format!("\u{feff}{}", text()?)))),
        Fault::BodyTruncatedJson => Ok(Respond(json(200, half(text()?.into_bytes())))),
        Fault::BodySlow => {
            let text = text()?;
            let late = Sleep(Duration::from_secs(3));
            Ok(Run(vec![late, Send(join(ok(text.len()), text)), Close]))
        }

        Fault::TokenNul => token("abc\0def"),
        Fault::TokenCrlf => token("abc\r\nx-evil: 1"),
        Fault::TokenSpace => token("abc def"),
        Fault::TokenEmpty => token(""),
        Fault::TokenOversize => token(&"a".repeat(8193)),
        Fault::TokenMissing => altered(&|grant| grant.token = None),
        Fault::TokenNumber => altered(&|grant| grant.token = Some(Value::from(12345))),
        Fault::DuplicateKeys => Ok(Respond(json(
            200,
            with_field(&text()?, r#""token":"the.second.one""#),
        ))),
        Fault::NumbersAsStrings => altered(&|grant| {
            for field in [&mut grant.expires_in, &mut grant.expires_at] {
                *field = field.take().map(|number| Value::from(number.to_string()));
            }
        }),
        Fault::ExpiresHuge => {
            let mut grant = request.grant()?;
            (grant.expires_in, grant.expires_at) = (None, None);
            let huge = r#""expires_in":1e999,"expires_at":1e999"#;
            Ok(Respond(json(200, with_field(&grant.text(), huge))))
        }
        Fault::ExpiresNegative => expiry(value!(-1)),
        Fault::ExpiresZero => expiry(value!(0)),
        Fault::ExpiresMissing => altered(&|grant| {
            (grant.expires_in, grant.expires_at) = (None, None);
        }),
        Fault::ExpiresFraction => altered(&|grant| {
            for field in [&mut grant.expires_in, &mut grant.expires_at] {
                *field = field
                    .take()
                    .map(|number| value!(number.as_f64().unwrap_or(0.0) + 0.5));
            }
        }),
        Fault::Nesting => {
            let deep = format!(r#""nested":{}{}"#, "[".repeat(10_000), "]".repeat(10_000));
            Ok(Respond(json(200, with_field(&text()?, &deep))))
        }
        Fault::SuccessMissing => altered(&|grant| grant.success = None),
        Fault::SuccessString => altered(&|grant| grant.success = Some(Value::from("true"))),
        Fault::SuccessFalse => Ok(Respond(wrong_environment())),
        Fault::MessageHostile => {
            let message = hostile(request.field("client_secret"));
            status(StatusCode::UNAUTHORIZED, "authentication_failed", &message)
        }
        Fault::SameToken => Ok(Respond(json(200, request.grant_again()?.text()))),

        Fault::Status400 => Ok(Respond(missing_field())),
        Fault::Status401 => Ok(Respond(wrong_credentials())),
        Fault::Status403 => Ok(Respond(disabled_client())),
        Fault::Status404 => status(StatusCode::NOT_FOUND, "not_found", "Not found"),
        Fault::Status422 => status(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unprocessable",
            "Unprocessable request",
        ),
        Fault::Status429 => Ok(Respond(too_many_requests())),
        Fault::Status500 => status(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "Internal server error",
        ),
        Fault::Status502Html => Ok(Respond(html(502))),
        Fault::Status503 => status(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Service unavailable",
        ),
        Fault::Status504 => status(
            StatusCode::GATEWAY_TIMEOUT,
            "gateway_timeout",
            "The upstream did not answer",
        ),
        Fault::Redirect301 => redirect(301),
        Fault::Redirect302 => redirect(302),
        Fault::Redirect307 => redirect(307),
        Fault::Redirect308 => redirect(308),

        Fault::DropIdle => {
            let text = text()?;
            let moment = Sleep(Duration::from_millis(50));
            Ok(Run(vec![Send(join(ok(text.len()), text)), moment, Close]))
        }
        Fault::Request(mut steps) => {
            for step in &mut steps {
                if *step == Step::Grant {
                    let text = text()?;
                    *step = Send(join(ok(text.len()), text));
                }
            }
            Ok(Run(steps))
        }
        Fault::Raw(bytes) => Ok(Run(vec![Send(bytes), Close])),
        Fault::Response {
            status,
            headers,
            body,
        } => {
            let mut response = Response::new(body.into());
            *response.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            for (name, value) in &headers {
                set_header(&mut response, name, value);
            }
            Ok(Respond(response))
        }
    }
}

fn head(status: &str, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}\r\n").into_bytes()
}

fn join(mut head: Vec<u8>, body: impl AsRef<[u8]>) -> Vec<u8> {
    head.extend_from_slice(body.as_ref());
    head
}

fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// A correct Content-Length, half of the body, and then `end`.
fn cut_body(text: String, ok: impl Fn(usize) -> Vec<u8>, end: Step) -> io::Result<Effect> {
    let sent = join(ok(text.len()), half(text.into_bytes()));
    Ok(Effect::Run(vec![Step::Send(sent), end]))
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// Adds a field to the text of a JSON object, for values that `serde_json` cannot write.
fn with_field(object: &str, field: &str) -> String {
    format!("{},{field}}}", object.trim_end_matches('}'))
}

fn html(status: u16) -> Response {
    let mut response = json(status, HTML);
    set_header(&mut response, "content-type", "text/html; charset=utf-8");
    response
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to a Vec cannot fail.
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}

/// A message of 4 KiB that would clear a terminal, forge a log line and leak the secret.
fn hostile(secret: &str) -> String {
    let mut message = format!(
        "\u{1b}[2J\u{1b}]0;owned\u{7}\0\u{8}\u{202e}\r\nERROR forged line; your secret is {secret} "
    );
    message.push_str(&"A".repeat(4096_usize.saturating_sub(message.len())));
    message
}
