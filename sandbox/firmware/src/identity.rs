//! Identity of the device and the firmware.

use crate::bindings::iottly::firmware::identity;
use crate::{Fault, device};

/// Returns the device's id in the cloud.
///
/// # Errors
/// [`Fault::Unsupported`] without a device.
pub fn device() -> Result<String, Fault> {
    device::require("the device's id")?;
    Ok(identity::device())
}

/// Returns the sha256 of this firmware's component, 64 hex digits.
///
/// # Errors
/// [`Fault::Unsupported`] without a device.
pub fn firmware() -> Result<String, Fault> {
    device::require("the firmware's digest")?;
    Ok(identity::firmware())
}

/// Returns the kind of board; empty if there is none.
///
/// # Errors
/// [`Fault::Unsupported`] without a device.
pub fn board() -> Result<String, Fault> {
    device::require("the board's name")?;
    Ok(identity::board())
}
