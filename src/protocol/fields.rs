//! The fields of a response's JSON.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The fields that are read. They stay raw text, so that a field of the wrong type does not
/// prevent reading the others. Unknown fields are ignored; a duplicate field is an error.
#[derive(Deserialize)]
pub(super) struct Fields<'a> {
    #[serde(borrow, default)]
    pub success: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub token_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub expires_in: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub expires_at: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

pub(super) fn parse_fields(body: &[u8]) -> Result<Fields<'_>, Cow<'static, str>> {
    match body.trim_ascii_start() {
        [] => return Err("the body is empty".into()),
        [b'<', ..] => {
            return Err(
                "the body is a web page, not JSON: probably a captive portal or gateway; open \
                 any web site to check"
                    .into(),
            );
        }
        [0xEF, 0xBB, 0xBF, ..] => return Err("the body starts with a byte order mark".into()),
        [0x1F, 0x8B, ..] => {
            return Err("the body is compressed, although this was not requested".into());
        }
        // serde would accept a list as an object without names.
        [b'[', ..] => return Err("the JSON is not an object, or has a duplicate field".into()),
        _ => {}
    }
    // Some messages of serde_json quote a field's content; its category and position do not.
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "the JSON is truncated",
            serde_json::error::Category::Data => {
                "the JSON is not an object, or has a duplicate field"
            }
            _ => "the body is not JSON",
        };
        format!("{what} (line {}, column {})", error.line(), error.column()).into()
    })
}
