use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use crate::error::ApiError;
use crate::http::App;

/// The query string. A parameter given twice counts with its last value; unknown ones are ignored.
pub(super) struct Params(Vec<(String, String)>);

impl FromRequestParts<App> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|error| ApiError::invalid("invalid_query", format!("query string: {error}")))
    }
}

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A count of at least 1; more than `max` means `max`.
    pub(super) fn count(&self, name: &str, default: usize, max: usize) -> Result<usize, ApiError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<usize>() {
            Ok(count @ 1..) if digits => Ok(count.min(max)),
            // Digits that do not fit are a number over every maximum.
            Err(_) if digits => Ok(max),
            _ => Err(ApiError::invalid("invalid_query", format!("{name} is not a whole number of at least 1"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let count = |text: &str| Params(vec![("n".into(), text.into())]).count("n", 10, 100).ok();
        assert_eq!(count("1"), Some(1));
        assert_eq!(count("100"), Some(100));
        assert_eq!(count("101"), Some(100));
        assert_eq!(count("99999999999999999999999"), Some(100));
        for bad in ["0", "-1", "+5", "1.5", "", " 1", "ten", "00"] {
            assert_eq!(count(bad), None, "{bad:?}");
        }
        assert_eq!(Params(Vec::new()).count("n", 10, 100).ok(), Some(10));
    }
}
