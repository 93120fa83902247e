//! What a request shows to say who it is.

use axum::http::{HeaderMap, Method, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::token::MAX_TOKEN_BYTES;

/// Name of the dashboard's login cookie.
pub(crate) const SESSION_COOKIE: &str = "iottly-session-id";
/// How long a login lasts: 12 hours.
pub(crate) const SESSION_MAX_AGE_SECONDS: i64 = 12 * 60 * 60;

/// Tokens that the headers hold, in the order they are tried; each is at most 256 bytes long.
///
/// Basic authentication names no rule for its two fields, so the token may be either.
pub(super) fn tokens(headers: &HeaderMap) -> Vec<String> {
    let named = ["authorization", "authentication"].into_iter().flat_map(|name| headers.get_all(name));
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
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(text) = decoded else { return Vec::new() };
    match text.split_once(':') {
        Some((user, password)) => vec![user.to_owned(), password.to_owned()],
        None => vec![text],
    }
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value).filter(|value| value.len() <= MAX_TOKEN_BYTES)
}

/// Says whether a request that acts with the browser's cookie comes from our own pages.
///
/// Browsers send `Origin` with every request that can change something; one without it is not from a browser.
pub(crate) fn same_origin(method: &Method, headers: &HeaderMap) -> bool {
    if method.is_safe() {
        return true;
    }
    match (headers.get(header::ORIGIN).map(|origin| origin.to_str()), headers.get(header::HOST).map(|host| host.to_str())) {
        (None, _) => headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none"),
        (Some(Ok(origin)), Some(Ok(host))) => origin.split_once("://").is_some_and(|(_, authority)| authority == host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().expect("a value"))).collect()
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
            assert_eq!(tokens(&headers(&[(name, value)])), ["0123456789"], "{name}: {value}");
        }
    }

    #[test]
    fn everything_else_holds_no_token() {
        for value in ["", "Bearer", "Bearer ", "Digest abc", "Basic !!!", "0123456789", "Basic /w=="] {
            assert!(tokens(&headers(&[("authorization", value)])).is_empty(), "{value}");
        }
        assert!(tokens(&headers(&[("authorization", &format!("Bearer {}", "x".repeat(257)))])).is_empty());
    }

    #[test]
    fn cookies_and_origins() {
        let with = headers(&[("cookie", "a=b; iottly-session-id=s1"), ("origin", "http://h:1"), ("host", "h:1")]);
        assert_eq!(cookie(&with, SESSION_COOKIE), Some("s1"));
        assert!(same_origin(&Method::POST, &with));
        let foreign = headers(&[("origin", "http://evil"), ("host", "h:1")]);
        assert!(!same_origin(&Method::POST, &foreign));
        assert!(same_origin(&Method::GET, &foreign));
        assert!(!same_origin(&Method::POST, &headers(&[("origin", "null"), ("host", "h:1")])));
        assert!(!same_origin(&Method::POST, &headers(&[("sec-fetch-site", "cross-site")])));
        assert!(same_origin(&Method::POST, &headers(&[])), "curl with a cookie");
    }
}
