use crate::IdError;

/// Why bytes from the other side are not a message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not JSON of the expected shape.
    #[error("message is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// The envelope names a wire version this build does not speak.
    #[error("message has wire version {0}, this side speaks {expected}", expected = crate::WIRE_VERSION)]
    Version(u64),
    /// An id inside the message is malformed.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The message is longer than the receiver reads.
    #[error("message of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// Size received, in bytes.
        len: usize,
        /// Largest size accepted, in bytes.
        max: usize,
    },
}
