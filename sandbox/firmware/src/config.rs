//! Settings that the cloud keeps for this device.

use crate::bindings::iottly::firmware::config;
use crate::{Fault, device};

/// Returns the JSON text of a setting, if it is set.
///
/// # Errors
/// [`Fault::Io`] if the settings cannot be read.
pub fn get(key: &str) -> Result<Option<String>, Fault> {
    device::require("the settings")?;
    config::get(key)
}

/// Returns the version of the settings on this device; none while it has received none.
///
/// # Errors
/// [`Fault::Unsupported`] without a device.
pub fn version() -> Result<Option<u64>, Fault> {
    device::require("the settings")?;
    Ok(config::version())
}
