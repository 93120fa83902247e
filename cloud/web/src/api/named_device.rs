//! Devices as people type them on pages: by id, or by a name that only one device has.

use iottly_protocol::DeviceId;
use serde_json::json;

use super::device_filter::DeviceFilter;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Maximum number of devices that an error lists.
const SHOWN: usize = 5;

/// Returns the id of the device with this id or name. An id is not looked up: what is asked about it may be left although the
/// device is gone.
///
/// # Errors
/// 400 when no device of the project, or more than one, has the name; the errors of filters.
pub(crate) async fn named_device(access: &ProjectAccess, text: &str) -> Result<DeviceId, ApiError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let filter = json!({ "name": text }).to_string();
    let found = DeviceFilter::of(access, &filter).await?.matching(access).await?;
    let invalid = |reason: String| ApiError::invalid("invalid_device", reason);
    match &found[..] {
        [only] => Ok(only.scope.device),
        [] => Err(invalid(format!(
            "no device has the name or id {text:?}; the list of devices shows all"
        ))),
        many => {
            let ids = many
                .iter()
                .take(SHOWN)
                .map(|device| device.scope.device.to_string());
            Err(invalid(format!(
                "{} devices are named {text:?}; use an id: {}",
                many.len(),
                ids.collect::<Vec<_>>().join(", ")
            )))
        }
    }
}
