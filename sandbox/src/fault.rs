//! Faults: errors that a firmware can catch.

use iottly_boards::BoardError;
use iottly_protocol::limits::{MAX_TEXT_BYTES, clip};

use crate::bindings::types;

/// Failure of a call, which a firmware can catch.
///
/// Mirrors the variant `fault` of the WIT world.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The caller passed something unusable.
    #[error("invalid: {0}")]
    Invalid(String),
    /// The device has no such command handler, label or feature.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The device's policy or the firmware's manifest does not allow it.
    #[error("denied: {0}")]
    Denied(String),
    /// The resource is in use; trying later may work.
    #[error("busy")]
    Busy,
    /// A size, rate or storage budget is used up.
    #[error("limit: {0}")]
    Limit(String),
    /// The device failed.
    #[error("i/o: {0}")]
    Io(String),
    /// The firmware's own code failed, for example with an uncaught exception.
    #[error("failed: {0}")]
    Failed(String),
}

impl From<Fault> for types::Fault {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Invalid(text) => Self::Invalid(text),
            Fault::Unsupported(text) => Self::Unsupported(text),
            Fault::Denied(text) => Self::Denied(text),
            Fault::Busy => Self::Busy,
            Fault::Limit(text) => Self::Limit(text),
            Fault::Io(text) => Self::Io(text),
            Fault::Failed(text) => Self::Failed(text),
        }
    }
}

impl From<types::Fault> for Fault {
    /// Texts are cut to what a report carries: a firmware may return megabytes.
    fn from(fault: types::Fault) -> Self {
        let cut = |text: String| {
            if text.len() <= MAX_TEXT_BYTES {
                text
            } else {
                clip(&text, MAX_TEXT_BYTES).to_owned()
            }
        };
        match fault {
            types::Fault::Invalid(text) => Self::Invalid(cut(text)),
            types::Fault::Unsupported(text) => Self::Unsupported(cut(text)),
            types::Fault::Denied(text) => Self::Denied(cut(text)),
            types::Fault::Busy => Self::Busy,
            types::Fault::Limit(text) => Self::Limit(cut(text)),
            types::Fault::Io(text) => Self::Io(cut(text)),
            types::Fault::Failed(text) => Self::Failed(cut(text)),
        }
    }
}

impl From<BoardError> for Fault {
    fn from(error: BoardError) -> Self {
        match error {
            BoardError::Missing { .. }
            | BoardError::Unsupported(_)
            | BoardError::Absent { .. }
            | BoardError::WrongProfile { .. } => Self::Unsupported(error.to_string()),
            BoardError::Denied { .. } => Self::Denied(error.to_string()),
            BoardError::InUse { .. } => Self::Busy,
            // Unlike `busy`, this text names the consumer.
            BoardError::Busy { .. } | BoardError::TimedOut { .. } | BoardError::Io(_) => {
                Self::Io(error.to_string())
            }
        }
    }
}
