//! Settings that the cloud keeps for this device.

use crate::bindings::iottly::firmware::config;
use crate::{Fault, device};

/// The JSON text of a setting, if it is set.
///
/// # Errors
/// [`Fault::Io`] when it cannot be read.
pub fn get(key: &str) -> Result<Option<String>, Fault> {
    device::require("the settings")?;
    config::get(key)
}

/// Which version of the settings this device has; none while it has received none.
///
/// # Errors
/// [`Fault::Unsupported`] without a device.
pub fn version() -> Result<Option<u64>, Fault> {
    device::require("the settings")?;
    Ok(config::version())
}
