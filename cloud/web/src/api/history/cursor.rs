//! Opaque cursor of a device's history: the last entry of a page, tied to the device.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::ApiError;
use iottly_core::model::{Cursor, MessageId, Scope};

pub(super) fn encode(scope: Scope, cursor: Cursor) -> String {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&cursor.timestamp.to_be_bytes());
    bytes[8..20].copy_from_slice(&cursor.id.0);
    bytes[20..].copy_from_slice(&tag(scope));
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn decode(scope: Scope, text: &str) -> Result<Cursor, ApiError> {
    let invalid = || ApiError::invalid("invalid_cursor", "before is not a cursor of this device");
    let bytes: [u8; 24] = URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(invalid)?;
    let (mut timestamp, mut id) = ([0; 8], [0; 12]);
    timestamp.copy_from_slice(&bytes[..8]);
    id.copy_from_slice(&bytes[8..20]);
    if bytes[20..] != tag(scope) {
        return Err(invalid());
    }
    Ok(Cursor {
        timestamp: i64::from_be_bytes(timestamp),
        id: MessageId(id),
    })
}

/// Ties a cursor to its device, so that a cursor of another history is refused; otherwise it would silently
/// skip entries.
fn tag(scope: Scope) -> [u8; 4] {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(scope.project.as_bytes())
        .update(scope.device.as_bytes());
    let hash = hasher.finalize();
    let bytes = hash.as_bytes();
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

#[cfg(test)]
mod tests {
    use iottly_protocol::{DeviceId, ProjectId};

    use super::*;

    #[test]
    fn cursors_come_back_and_stay_with_their_device() {
        let scope = Scope {
            project: ProjectId::from_bytes([1; 12]),
            device: DeviceId::from_bytes([2; 16]),
        };
        let cursor = Cursor {
            timestamp: -5,
            id: MessageId([7; 12]),
        };
        let text = encode(scope, cursor);
        assert_eq!(decode(scope, &text).expect("own cursor"), cursor);
        let other = Scope {
            device: DeviceId::from_bytes([3; 16]),
            ..scope
        };
        for bad in [text.as_str(), "", "AAAA", "é", &format!("{text}A")] {
            assert!(decode(other, bad).is_err(), "{bad}");
        }
    }
}
