//! Extractor for the query string, with parsers for the kinds of parameters.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;

use crate::app::App;
use crate::error::ApiError;
use iottly_core::model::UnixMs;
use iottly_filter::date;

/// Maximum wait that a request may ask for; below the time limit of requests.
const MAX_PATIENCE: Duration = Duration::from_secs(25);

/// Parameters of the query string. Of a repeated parameter the last value counts; unknown ones are ignored.
pub(crate) struct Params(Vec<(String, String)>);

impl FromRequestParts<App> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Self::read(&parts.uri)
    }
}

impl Params {
    fn read(uri: &Uri) -> Result<Self, ApiError> {
        Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|error| ApiError::invalid("invalid_query", format!("query string: {error}")))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Parses a flag: `true` or `1`; `false`, `0` and a missing parameter are false.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(ApiError::invalid(
                "invalid_query",
                format!("{name} is not true or false"),
            )),
        }
    }

    /// Parses a whole number of at least 1.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let number = text
            .parse()
            .ok()
            .filter(|number: &u64| *number > 0 && !text.starts_with('+'));
        let invalid = || {
            ApiError::invalid(
                "invalid_query",
                format!("{name} is not a whole number of at least 1"),
            )
        };
        number.map(Some).ok_or_else(invalid)
    }

    /// Parses a time: ISO 8601, with or without a zone (then UTC), or Unix milliseconds.
    pub(super) fn moment(&self, name: &str) -> Result<Option<UnixMs>, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let moment = text.parse().or_else(|_| date::parse(text));
        moment
            .map(Some)
            .map_err(|reason| ApiError::invalid("invalid_query", format!("{name}: {reason}")))
    }

    /// Parses a duration: `5s`, `500ms` or seconds; at most 25 s, `None` when the parameter is missing.
    pub(super) fn patience(&self, name: &str) -> Result<Option<Duration>, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let (digits, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(millis), _) => (millis, 1),
            (None, Some(seconds)) => (seconds, 1000),
            (None, None) => (text, 1000),
        };
        let millis = digits
            .parse::<u64>()
            .ok()
            .filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
        let invalid = || {
            ApiError::invalid(
                "invalid_query",
                format!("{name} is not a duration such as 5s or 500ms"),
            )
        };
        let wait = Duration::from_millis(millis.ok_or_else(invalid)?.saturating_mul(unit));
        Ok(Some(wait.min(MAX_PATIENCE)))
    }

    /// Parses a count of at least 1; a larger one than `max` is `max`.
    pub(super) fn count(&self, name: &str, default: usize, max: usize) -> Result<usize, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<usize>() {
            Ok(count @ 1..) if digits => Ok(count.min(max)),
            // Digits that do not fit are a number above every maximum.
            Err(_) if digits => Ok(max),
            _ => Err(ApiError::invalid(
                "invalid_query",
                format!("{name} is not a whole number of at least 1"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_and_moments() {
        let params = |text: &str| Params(vec![("n".into(), text.into())]);
        for (text, millis) in [
            ("5s", 5000),
            ("500ms", 500),
            ("2", 2000),
            ("0", 0),
            ("99999999s", 25_000),
        ] {
            assert_eq!(
                params(text).patience("n").ok().flatten(),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for bad in ["", "s", "-1s", "1m", "1.5s", "+1s", "99999999999999999999s"] {
            assert!(params(bad).patience("n").is_err(), "{bad}");
        }
        assert_eq!(
            params("2017-04-19T10:26:37.019").moment("n").ok().flatten(),
            Some(1_492_597_597_019)
        );
        assert_eq!(
            params("1492597597019").moment("n").ok().flatten(),
            Some(1_492_597_597_019)
        );
        assert!(params("yesterday").moment("n").is_err());
        assert_eq!(params("3").number("n").ok().flatten(), Some(3));
        assert!(params("0").number("n").is_err() && params("+1").number("n").is_err());
        assert!(params("true").flag("n").is_ok_and(|flag| flag) && params("yes").flag("n").is_err());
    }

    proptest! {
        /// A parsed value is within its range, and everything else is refused.
        #[test]
        fn any_query_string_is_read_or_refused(query in "(n=)?[ -~&&[^#]]{0,40}(&n=[0-9A-Za-z%+.:-]{0,30})?") {
            let Ok(uri) = format!("/?{query}").parse::<Uri>() else { return Ok(()) };
            let Ok(params) = Params::read(&uri) else { return Ok(()) };
            prop_assert!(params.count("n", 10, 100).is_ok_and(|count| (1..=100).contains(&count)) || params.get("n").is_some());
            prop_assert!(params.patience("n").map_or(true, |wait| wait.is_none_or(|wait| wait <= MAX_PATIENCE)));
            prop_assert!(params.number("n").map_or(true, |number| number != Some(0)));
            let _ = (params.moment("n").is_ok(), params.flag("n").is_ok());
        }
    }

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
