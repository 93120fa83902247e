//! Devices as people name them: by id, or by a name that only one device has.

use iottly_protocol::DeviceId;
use iottly_web::answers::{AllProps, Props};
use serde_json::json;

use crate::answer::read;
use crate::exit::Failure;
use crate::remote::{Api, escaped};
use crate::similar;

/// Maximum number of devices that an error lists.
const SHOWN: usize = 10;
/// Number of devices among whose names an error looks for similar ones.
const SEARCHED: usize = 1000;

/// Returns the id of the device with this id or name.
///
/// # Errors
/// [`Failure::NotFound`] if there is none, [`Failure::Invalid`] if several devices have the name.
pub(crate) fn device_id(api: &Api, wanted: &str) -> Result<String, Failure> {
    if wanted.parse::<DeviceId>().is_ok() {
        return Ok(wanted.to_owned());
    }
    named(api, wanted).map(|device| device.id.to_string())
}

/// Returns the device with this id or name.
///
/// # Errors
/// As [`device_id`].
pub(crate) fn device(api: &Api, wanted: &str) -> Result<Props, Failure> {
    if wanted.parse::<DeviceId>().is_err() {
        return named(api, wanted);
    }
    read(&api.get(&format!("/device/{}/props", escaped(wanted)))?)
}

/// Returns the device with a name. The cloud compares the names, so that the answer is short in a project of any size.
fn named(api: &Api, wanted: &str) -> Result<Props, Failure> {
    let filter = json!({ "name": wanted }).to_string();
    let path = format!("/devices/props?limit={}&filter={}", SHOWN + 1, escaped(&filter));
    let found: AllProps = read(&api.get(&path)?)?;
    let mut devices = found.devices;
    match (devices.pop(), &devices[..]) {
        (Some(only), []) => Ok(only),
        (Some(last), others) => {
            let ids = others.iter().chain([&last]).take(SHOWN);
            let ids: Vec<_> = ids.map(|device| device.id.to_string()).collect();
            Err(Failure::Invalid(format!(
                "several devices are named {wanted:?}; use an id: {}",
                ids.join(", ")
            )))
        }
        (None, _) => Err(Failure::NotFound(format!(
            "device {wanted:?} does not exist; {}",
            similar::hint(wanted, &some_names(api), "iottly device list")
        ))),
    }
}

/// Returns names of devices; none if they cannot be read, because they only help an error.
fn some_names(api: &Api) -> Vec<String> {
    let answer = api.get(&format!("/devices/props?limit={SEARCHED}"));
    let found = answer.and_then(|answer| read::<AllProps>(&answer));
    found.map_or_else(
        |_| Vec::new(),
        |found| found.devices.into_iter().map(|device| device.name).collect(),
    )
}
