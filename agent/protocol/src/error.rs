//! The error of decoding a message from the other side.

use crate::IdError;

/// Reason why bytes from the other side are not a message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not JSON of the expected shape.
    #[error("message is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// The envelope has a wire version that this build does not support.
    #[error("message has wire version {0}, this side speaks {expected}", expected = crate::WIRE_VERSION)]
    Version(u64),
    /// An id inside the message is malformed.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The message is longer than the receiver accepts.
    #[error("message of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// Size received, in bytes.
        len: usize,
        /// Maximum size, in bytes.
        max: usize,
    },
}
