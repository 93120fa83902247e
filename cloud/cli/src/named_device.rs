//! Devices as people name them: by id, or by a name that only one device has.

use iottly_protocol::DeviceId;
use iottly_web::answers::Props;

use crate::answer::read;
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
    let devices: Vec<Props> = read(&found["devices"])?;
    let ids: Vec<String> = devices
        .iter()
        .filter(|device| device.name == wanted)
        .map(|device| device.id.to_string())
        .collect();
    match &ids[..] {
        [id] => Ok(id.clone()),
        [] => Err(Failure::NotFound(format!(
            "device {wanted:?} does not exist; `iottly device list` shows all"
        ))),
        _ => {
            let ids: Vec<_> = ids.iter().take(SHOWN).map(String::as_str).collect();
            Err(Failure::Invalid(format!(
                "several devices are named {wanted:?}; use an id: {}",
                ids.join(", ")
            )))
        }
    }
}
