//! Presence of a device on its retained status topic.

use serde::{Deserialize, Serialize};

use crate::{ConnId, DecodeError, WIRE_VERSION};

/// Presence of a device: retained on its status topic and, with `online` false, its last will.
///
/// The connection id lets a receiver ignore the late will of a connection that a newer one has replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Wire version, [`WIRE_VERSION`].
    pub v: u64,
    /// Connection that published the status.
    pub conn: ConnId,
    /// True while the connection is up.
    pub online: bool,
}

impl Status {
    /// Returns the status of connection `conn`.
    #[must_use]
    pub const fn new(conn: ConnId, online: bool) -> Self {
        Self {
            v: WIRE_VERSION,
            conn,
            online,
        }
    }

    /// Encodes the status.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a flat struct serializes without failing")
    }

    /// Decodes a publish on a status topic.
    ///
    /// # Errors
    /// The bytes are not a status, or are of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let status: Self = serde_json::from_slice(bytes)?;
        if status.v != WIRE_VERSION {
            return Err(DecodeError::Version(status.v));
        }
        Ok(status)
    }
}
