//! Devices as people name them: by id, or by a name that only one device has.

use iottly_protocol::DeviceId;
use serde_json::Value;

use crate::exit::Failure;
use crate::remote::{Api, escaped};

/// Maximum number of devices of one name that an error lists.
const SHOWN: usize = 10;

/// Returns the id of the device with this id or name.
///
/// # Errors
/// [`Failure::NotFound`] if there is none, [`Failure::Invalid`] if several devices have the name.
pub(crate) fn device_id(api: &Api, wanted: &str) -> Result<String, Failure> {
    if wanted.parse::<DeviceId>().is_ok() {
        return Ok(wanted.to_owned());
    }
    let found = api.get(&format!("/devices/props?search={}", escaped(wanted)))?;
    let devices = found["devices"].as_array();
    let ids: Vec<&str> = devices
        .into_iter()
        .flatten()
        .filter(|device| device["name"] == wanted)
        .filter_map(|device: &Value| device["ID"].as_str())
        .collect();
    match ids[..] {
        [id] => Ok(id.to_owned()),
        [] => Err(Failure::NotFound(format!(
            "device {wanted:?} does not exist; `iottly device list` shows all"
        ))),
        _ => {
            let ids: Vec<_> = ids.iter().take(SHOWN).copied().collect();
            Err(Failure::Invalid(format!(
                "several devices are named {wanted:?}; use an id: {}",
                ids.join(", ")
            )))
        }
    }
}
