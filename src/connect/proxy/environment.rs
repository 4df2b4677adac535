//! Which proxy the environment names for a URL.
//!
//! It is read once, when the client is made, and follows curl and Go: the names of the variables,
//! `http_proxy` in lower case only (a CGI program's `HTTP_PROXY` is set by the client of a web server), and, as
//! in Go, never a proxy to this device itself. A proxy that was given explicitly is used for everything;
//! `NO_PROXY` belongs to the environment.
#![forbid(unsafe_code)]

use ureq::http::Uri;
use ureq::http::uri::Scheme;
use zeroize::Zeroizing;

use super::no_proxy::NoProxy;
use super::url::ProxyUrl;
use crate::endpoint::Endpoint;
use crate::{Error, Status};

/// The proxy that the environment names for `url`, if any.
pub(crate) fn from_environment(url: &Uri) -> Result<Option<ProxyUrl>, Error> {
    choose(
        |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
        &Endpoint::of(url),
        url.scheme() == Some(&Scheme::HTTPS),
    )
}

/// The proxy that the variables of `get` name for `target`. A variable that does not apply to it may
/// be unusable.
fn choose(
    get: impl Fn(&str) -> Option<String>,
    target: &Endpoint,
    secure: bool,
) -> Result<Option<ProxyUrl>, Error> {
    let no_proxy = first_set(&get, &["NO_PROXY", "no_proxy"])
        .map_or_else(NoProxy::default, |(_, list)| NoProxy::parse(&list));
    if no_proxy.covers(target) {
        return Ok(None);
    }
    let names: &[_] = match secure {
        true => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        false => &["http_proxy", "ALL_PROXY", "all_proxy"],
    };
    let Some((name, url)) = first_set(&get, names) else {
        return Ok(None);
    };
    ProxyUrl::parse(url.trim())
        .map(Some)
        .map_err(|problem| Error {
            retryable: Some(false),
            ..Error::new(
                Status::Proxy,
                format!("environment variable {name} is invalid: {problem}"),
            )
        })
}

/// The first of `names` that is set to something, and to what. It may hold a password.
fn first_set<'a>(
    get: impl Fn(&str) -> Option<String>,
    names: &[&'a str],
) -> Option<(&'a str, Zeroizing<String>)> {
    names.iter().find_map(|name| {
        let value = Zeroizing::new(get(name)?);
        (!value.trim().is_empty()).then_some((*name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(
        variables: &[(&str, &str)],
        target: &str,
        secure: bool,
    ) -> Result<Option<ProxyUrl>, Error> {
        let get = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name)?;
            Some(found.1.to_owned())
        };
        let url = format!("https://{target}").parse().unwrap();
        choose(get, &Endpoint::of(&url), secure)
    }

    #[test]
    fn proxy_variables_have_the_precedence_that_curl_and_go_use() {
        for (variables, https, http) in [
            (&[][..], "-", "-"),
            (&[("HTTPS_PROXY", "a:1")], "a:1", "-"),
            (&[("https_proxy", " a:1 ")], "a:1", "-"),
            (
                &[("HTTPS_PROXY", "a:1"), ("https_proxy", "b:1")],
                "a:1",
                "-",
            ),
            (&[("HTTPS_PROXY", ""), ("https_proxy", "b:1")], "b:1", "-"),
            (&[("ALL_PROXY", "a:1")], "a:1", "a:1"),
            (
                &[("all_proxy", "a:1"), ("https_proxy", "b:1")],
                "b:1",
                "a:1",
            ),
            (&[("http_proxy", "a:1")], "-", "a:1"),
            (&[("HTTP_PROXY", "a:1")], "-", "-"),
            (
                &[("ALL_PROXY", "a:1"), ("NO_PROXY", "b.example,c.example")],
                "-",
                "-",
            ),
            (&[("ALL_PROXY", "a:1"), ("no_proxy", ".example")], "-", "-"),
        ] {
            for (secure, expected) in [(true, https), (false, http)] {
                let chosen = chosen(variables, "c.example", secure).unwrap();
                let chosen = chosen.map_or("-".into(), |proxy| proxy.endpoint.to_string());
                assert_eq!(chosen, expected, "{variables:?}");
            }
        }
    }

    #[test]
    fn an_invalid_proxy_variable_fails_only_for_a_target_that_would_use_it() {
        let unusable = "socks5://u:hunter2@a:1";
        for (variables, target, secure, blamed) in [
            (
                &[("https_proxy", unusable)][..],
                "c.example",
                true,
                "https_proxy",
            ),
            (&[("ALL_PROXY", unusable)], "c.example", true, "ALL_PROXY"),
            (&[("ALL_PROXY", unusable)], "c.example", false, "ALL_PROXY"),
            (
                &[("http_proxy", unusable)],
                "c.example",
                false,
                "http_proxy",
            ),
            (&[("http_proxy", unusable)], "c.example", true, ""),
            (&[("https_proxy", unusable)], "c.example", false, ""),
            (&[("ALL_PROXY", unusable)], "localhost", true, ""),
            (&[("ALL_PROXY", unusable)], "127.0.0.1:8443", true, ""),
            (
                &[("ALL_PROXY", unusable), ("NO_PROXY", "c.example")],
                "c.example",
                true,
                "",
            ),
            (
                &[("ALL_PROXY", unusable), ("no_proxy", "*")],
                "c.example",
                true,
                "",
            ),
            (
                &[("ALL_PROXY", unusable), ("HTTPS_PROXY", "b:1")],
                "c.example",
                true,
                "",
            ),
        ] {
            match chosen(variables, target, secure) {
                Ok(_) => assert_eq!(blamed, "", "{variables:?}"),
                Err(error) => {
                    assert_eq!(error.status(), Status::Proxy);
                    assert!(!error.is_retryable(), "nothing changes by itself");
                    let text = error.message();
                    assert!(!blamed.is_empty() && text.contains(blamed), "{error}");
                    assert!(!text.contains("hunter2"), "{error}");
                }
            }
        }
    }
}
