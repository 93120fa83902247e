//! Rate limit in answers: the headers that describe it.

use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use iottly_core::rate::Verdict;

/// Where the verdict on a request is left for the layer that answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(pub(crate) Arc<OnceLock<Verdict>>);

/// Adds the headers that tell a client where it stands.
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
