use std::fmt;

/// Why a text is not a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (at {path})")]
pub struct FilterError {
    path: String,
    reason: String,
}

impl FilterError {
    /// The place inside the filter, such as `$.timestamp.$lte`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// The place in a filter that is being read.
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
