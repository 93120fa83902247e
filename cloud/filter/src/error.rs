//! The error of a filter, and the place in the filter that is being read.

use std::fmt;

/// Reason why a text is not a filter, with the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (at {path})")]
pub struct FilterError {
    path: String,
    reason: String,
}

impl FilterError {
    /// Returns the place inside the filter, such as `$.timestamp.$lte`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Place in a filter that is being read.
#[derive(Debug, Clone)]
pub(super) struct At(String);

impl At {
    pub(super) fn root() -> Self {
        Self("$".to_owned())
    }

    pub(super) fn key(&self, key: &str) -> Self {
        Self(format!("{}.{}", self.0, iottly_protocol::limits::clip(key, 64)))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    pub(super) fn error(&self, reason: impl fmt::Display) -> FilterError {
        FilterError {
            path: self.0.clone(),
            reason: reason.to_string(),
        }
    }
}
