//! Headers that report the rate limit to the client.

use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use iottly_core::rate::Verdict;

/// Cell in which the verdict on a request is stored for the layer that writes the headers.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedVerdict(pub(crate) Arc<OnceLock<Verdict>>);

/// Adds the headers that report the limit to the client.
pub(crate) fn describe(verdict: Verdict, headers: &mut HeaderMap) {
    for (name, value) in [
        ("ratelimit-limit", verdict.limit),
        ("ratelimit-remaining", verdict.remaining),
        ("ratelimit-reset", verdict.wait),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
    if !verdict.allowed {
        headers.insert(axum::http::header::RETRY_AFTER, HeaderValue::from(verdict.wait));
    }
}
