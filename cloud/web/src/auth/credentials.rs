//! Extracts credentials from request headers and cookies, and recognises requests from other sites.

use axum::http::{HeaderMap, Method, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iottly_protocol::DeviceId;

use super::token::MAX_TOKEN_BYTES;
use crate::cookies::cookie;

/// Name of the dashboard's login cookie for browsers that connect by plain HTTP.
const PLAIN_COOKIE: &str = "iottly-session-id";
/// Name of the dashboard's login cookie for browsers that connect by HTTPS. For this prefix, browsers only
/// accept a cookie of this very host, sent over HTTPS, for all paths.
const HOST_COOKIE: &str = "__Host-iottly-session-id";

/// Returns the `Set-Cookie` header of a login that ends in `max_age` seconds; 0 ends it at once.
pub(crate) fn session_cookie(secret: &str, max_age: u64, https: bool) -> String {
    let (name, secure) = if https {
        (HOST_COOKIE, "; Secure")
    } else {
        (PLAIN_COOKIE, "")
    };
    format!("{name}={secret}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}")
}

/// Returns the value of the login cookie.
pub(crate) fn session_secret(headers: &HeaderMap, https: bool) -> Option<&str> {
    cookie(headers, if https { HOST_COOKIE } else { PLAIN_COOKIE })
}

/// Returns the tokens in the headers, in the order in which they are tried; each is at most 256 bytes long.
///
/// For basic authentication the token may be in either of the two fields.
pub(super) fn tokens(headers: &HeaderMap) -> Vec<String> {
    let named = ["authorization", "authentication"]
        .into_iter()
        .flat_map(|name| headers.get_all(name));
    named
        .filter_map(|value| value.to_str().ok())
        .filter_map(|value| value.trim().split_once(' '))
        .flat_map(|(scheme, value)| match scheme.to_ascii_lowercase().as_str() {
            "bearer" => vec![value.trim().to_owned()],
            "basic" => basic(value.trim()),
            _ => Vec::new(),
        })
        .filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN_BYTES)
        .take(4)
        .collect()
}

fn basic(encoded: &str) -> Vec<String> {
    let decoded = STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(text) = decoded else { return Vec::new() };
    match text.split_once(':') {
        Some((user, password)) => vec![user.to_owned(), password.to_owned()],
        None => vec![text],
    }
}

/// Returns the login of a device: basic authentication with its id and the secret of its broker login.
pub(super) fn device_login(headers: &HeaderMap) -> Option<(DeviceId, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let login = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (device, secret) = login.split_once(':')?;
    Some((device.parse().ok()?, secret.to_owned())).filter(|(_, secret)| secret.len() <= MAX_TOKEN_BYTES)
}

/// Returns true if a request that is authenticated by the login cookie comes from the dashboard's own pages.
///
/// Browsers state the origin in `Sec-Fetch-Site`, which a page cannot set, for addresses with HTTPS and of
/// this machine. For others, and before 2023, they send only `Origin` with every request that can change
/// something. A request with neither header is not from a browser.
pub(crate) fn same_origin(method: &Method, headers: &HeaderMap) -> bool {
    if method.is_safe() {
        return true;
    }
    let (Ok(site), Ok(origin), Ok(host)) = (
        single(headers, "sec-fetch-site"),
        single(headers, "origin"),
        single(headers, "host"),
    ) else {
        return false;
    };
    let ours = |origin: &str| host.is_some_and(|host| names_host(origin, host));
    match site {
        // Also with `Origin: null`, which a page with the policy `no-referrer` sends; a frame without an
        // origin is `cross-site`.
        Some("same-origin") => true,
        None | Some("none") => origin.is_none_or(ours),
        Some(_) => false,
    }
}

/// Returns the value of a header that may occur once; an error if it occurs more often or is not text.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).into_iter();
    let first = values
        .next()
        .map(|value| value.to_str().map_err(|_| ()))
        .transpose()?;
    if values.next().is_some() {
        Err(())
    } else {
        Ok(first)
    }
}

/// Returns true if an origin is the host to which a request was sent. The default port of the origin's scheme
/// may be left out.
fn names_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let implied = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return false,
    };
    let plain = |authority: &str| {
        authority
            .strip_suffix(implied)
            .unwrap_or(authority)
            .to_ascii_lowercase()
    };
    !authority.is_empty() && plain(authority) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, value.parse().expect("a value"));
        }
        map
    }

    #[test]
    fn every_documented_form() {
        for (name, value) in [
            ("authentication", "bearer 0123456789"),
            ("authorization", "Bearer 0123456789"),
            ("authorization", "BEARER  0123456789 "),
            ("authorization", "Basic MDEyMzQ1Njc4OTo="),
            ("authorization", "basic OjAxMjM0NTY3ODk="),
            ("authorization", "Basic MDEyMzQ1Njc4OQ=="),
        ] {
            assert_eq!(
                tokens(&headers(&[(name, value)])),
                ["0123456789"],
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn everything_else_holds_no_token() {
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Digest abc",
            "Basic !!!",
            "0123456789",
            "Basic /w==",
        ] {
            assert!(
                tokens(&headers(&[("authorization", value)])).is_empty(),
                "{value}"
            );
        }
        assert!(
            tokens(&headers(&[(
                "authorization",
                &format!("Bearer {}", "x".repeat(257))
            )]))
            .is_empty()
        );
    }

    #[test]
    fn a_device_logs_in_with_its_id_and_secret() {
        let login = |value: &str| device_login(&headers(&[("authorization", value)]));
        let id = "a2792ce8-216f-477c-a5cc-4f7e9f407e29";
        let encoded = STANDARD.encode(format!("{id}:a:secret"));
        let (device, secret) = login(&format!("Basic {encoded}")).expect("a login");
        assert_eq!((device.to_string().as_str(), secret.as_str()), (id, "a:secret"));
        for other in [
            format!("Bearer {encoded}"),
            format!("Basic {}", STANDARD.encode(id)),
            format!("Basic {}", STANDARD.encode("me:secret")),
            format!("Basic {}", STANDARD.encode(format!("{id}:{}", "x".repeat(257)))),
            "Basic !".to_owned(),
        ] {
            assert_eq!(login(&other), None, "{other}");
        }
    }

    #[test]
    fn cookies_have_a_name_of_their_own_under_https() {
        let with = headers(&[("cookie", "a=b; iottly-session-id=s1; __Host-iottly-session-id=s2")]);
        assert_eq!(
            (session_secret(&with, false), session_secret(&with, true)),
            (Some("s1"), Some("s2"))
        );
        let plain = headers(&[("cookie", "iottly-session-id=s1")]);
        assert_eq!(
            session_secret(&plain, true),
            None,
            "a plain cookie, which others may be able to set, is not a login"
        );
        let set = session_cookie("s", 9, true);
        assert_eq!(
            set,
            "__Host-iottly-session-id=s; Path=/; Max-Age=9; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            session_cookie("s", 9, false),
            "iottly-session-id=s; Path=/; Max-Age=9; HttpOnly; SameSite=Strict"
        );
    }

    #[test]
    fn a_form_of_our_own_passes_and_others_do_not() {
        let post = |list: &[(&'static str, &str)]| same_origin(&Method::POST, &headers(list));
        let (host, site) = (("host", "h:1"), "sec-fetch-site");
        for ours in [
            &[host, ("origin", "http://h:1")][..],
            &[host, ("origin", "http://H:1")],
            &[host, ("origin", "http://h:1"), (site, "same-origin")],
            &[host, ("origin", "null"), (site, "same-origin")],
            &[host, (site, "same-origin")],
            &[host, (site, "none")],
            &[("host", "h"), ("origin", "https://h")],
            &[("host", "h:443"), ("origin", "https://h")],
            &[
                ("host", "inside:8080"),
                ("origin", "https://outside"),
                (site, "same-origin"),
            ],
            &[host],
        ] {
            assert!(post(ours), "{ours:?}");
        }
        for theirs in [
            &[host, ("origin", "http://evil")][..],
            &[host, ("origin", "http://evil"), (site, "cross-site")],
            &[host, ("origin", "http://evil"), (site, "none")],
            &[host, ("origin", "null")],
            &[host, ("origin", "null"), (site, "cross-site")],
            &[host, ("origin", "null"), (site, "none")],
            &[host, ("origin", "http://h:1"), (site, "same-site")],
            &[host, (site, "cross-site")],
            &[host, (site, "same-site")],
            &[host, (site, "")],
            &[host, (site, "same-origin"), (site, "cross-site")],
            &[host, ("origin", "http://h:1"), ("origin", "http://evil")],
            &[host, ("origin", "http://h:2")],
            &[host, ("origin", "http://h")],
            &[host, ("origin", "http://h:1.evil")],
            &[host, ("origin", "ftp://h:1")],
            &[host, ("origin", "h:1")],
            &[host, ("origin", "")],
            &[("host", "h:443"), ("origin", "http://h")],
            &[("host", ""), ("origin", "http://")],
            &[("origin", "http://h:1")],
        ] {
            assert!(!post(theirs), "{theirs:?}");
        }
        assert!(same_origin(&Method::GET, &headers(&[("origin", "http://evil")])));
    }
}
