//! Who and where the firmware is.

use crate::bindings::iottly::firmware::identity;
use crate::{Fault, device};

/// The device's id in the cloud.
///
/// # Errors
/// [`Fault::Unsupported`] without a device.
pub fn device() -> Result<String, Fault> {
    device::require("the device's id")?;
    Ok(identity::device())
}

/// sha256 of this firmware's component, 64 hex digits.
///
/// # Errors
/// [`Fault::Unsupported`] without a device.
pub fn firmware() -> Result<String, Fault> {
    device::require("the firmware's digest")?;
    Ok(identity::firmware())
}

/// The kind of board; empty where there is none.
///
/// # Errors
/// [`Fault::Unsupported`] without a device.
pub fn board() -> Result<String, Fault> {
    device::require("the board's name")?;
    Ok(identity::board())
}
