//! Checks the headers that a project adds to its webhook's requests. Pure.

use http::{HeaderName, HeaderValue};

use super::body::{FORM, Form};

/// Maximum number of headers of a webhook.
pub const MAX_HEADERS: usize = 5;
/// Maximum length of a value, in bytes.
pub const MAX_VALUE_BYTES: usize = 4096;
/// Text that responses contain instead of a value.
pub const MASK: &str = "********";

/// Names of headers that belong to the connection instead of the message.
const RESERVED: [&str; 14] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "date",
    "via",
    "user-agent",
];

/// Reason for which a header is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// There are too many headers.
    #[error("there are {0} headers, a webhook has at most {MAX_HEADERS}")]
    TooMany(usize),
    /// The name is not an HTTP token.
    #[error("header name {0:?} is not a token")]
    Name(String),
    /// The platform sets this header itself.
    #[error("header {0:?} is set by the platform")]
    Reserved(String),
    /// The name occurs twice.
    #[error("header {0:?} is given twice")]
    Twice(String),
    /// The value is too long, or has line ends, NUL or other control characters.
    #[error("value of header {0:?} is not up to {MAX_VALUE_BYTES} bytes of visible ASCII")]
    Value(String),
    /// The content type is neither of the supported two.
    #[error("content type is not application/json or {FORM}")]
    ContentType,
}

/// Checks a webhook's headers; names may be in any case.
///
/// # Errors
/// The first violation.
pub fn check<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), HeaderError> {
    let mut seen: Vec<HeaderName> = Vec::new();
    for (given, value) in headers {
        let shown = || iottly_protocol::limits::clip(given, 64).to_owned();
        let name = HeaderName::from_bytes(given.as_bytes()).map_err(|_| HeaderError::Name(shown()))?;
        if RESERVED.contains(&name.as_str())
            || name.as_str().starts_with("webhook-")
            || name.as_str().starts_with("content-") && name != "content-type"
        {
            return Err(HeaderError::Reserved(shown()));
        }
        if seen.contains(&name) {
            return Err(HeaderError::Twice(shown()));
        }
        let plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if value.len() > MAX_VALUE_BYTES || !plain || HeaderValue::from_str(value).is_err() {
            return Err(HeaderError::Value(shown()));
        }
        if name == "content-type" && form_of(value).is_none() {
            return Err(HeaderError::ContentType);
        }
        seen.push(name);
    }
    if seen.len() > MAX_HEADERS {
        Err(HeaderError::TooMany(seen.len()))
    } else {
        Ok(())
    }
}

/// Returns the encoding for a content type; `None` for an unsupported one.
fn form_of(content_type: &str) -> Option<Form> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Some(Form::Json);
    }
    essence.eq_ignore_ascii_case(FORM).then_some(Form::Encoded)
}

/// Returns the encoding that a webhook's headers select.
pub fn form<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Form {
    let content_type = headers
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    content_type
        .and_then(|(_, value)| form_of(value))
        .unwrap_or(Form::Encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_the_request_is_refused() {
        for (name, value) in [
            ("X-A", "a\r\nX-Evil: 1"),
            ("X-A", "a\nb"),
            ("X-A", "a\rb"),
            ("X-A", "a\0b"),
            ("X-A", "ä"),
            ("X-A", "\u{7f}"),
            ("X-A\r\nX-Evil", "1"),
            ("X A", "1"),
            ("X:A", "1"),
            ("", "1"),
            ("Hö", "1"),
            ("Host", "internal"),
            ("CONTENT-LENGTH", "0"),
            ("Content-Encoding", "gzip"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close"),
            ("Webhook-Id", "mine"),
            ("webhook-signature", "v1,mine"),
            ("Content-Type", "text/plain"),
        ] {
            assert!(check([(name, value)]).is_err(), "{name:?}: {value:?}");
        }
        let long = "x".repeat(MAX_VALUE_BYTES + 1);
        assert!(check([("X-A", long.as_str())]).is_err());
        assert_eq!(
            check([("X-A", "1"), ("x-a", "2")]),
            Err(HeaderError::Twice("x-a".into()))
        );
        let names: Vec<_> = (0..6).map(|n| format!("X-{n}")).collect();
        assert_eq!(
            check(names.iter().map(|name| (name.as_str(), ""))),
            Err(HeaderError::TooMany(6))
        );
        assert!(check(names.iter().take(5).map(|name| (name.as_str(), "Bearer a b=="))).is_ok());
    }

    #[test]
    fn a_json_content_type_in_any_spelling_chooses_json() {
        for (name, value) in [
            ("Content-Type", "application/json"),
            ("content-type", "Application/JSON"),
            ("CONTENT-TYPE", "application/json; charset=utf-8"),
            ("cOnTeNt-TyPe", " application/json ;charset=x"),
        ] {
            assert!(check([(name, value)]).is_ok(), "{name}: {value}");
            assert_eq!(form([("X-A", "1"), (name, value)]), Form::Json, "{name}: {value}");
        }
        assert_eq!(form([("X-A", "application/json")]), Form::Encoded);
        assert_eq!(
            form([("content-type", "application/x-www-form-urlencoded")]),
            Form::Encoded
        );
    }
}
