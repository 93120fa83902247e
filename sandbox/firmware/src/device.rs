//! Detection of a device: on the developer's machine there is none.

use crate::Fault;

/// Returns true if the firmware runs on a device.
pub(crate) const fn present() -> bool {
    cfg!(target_arch = "wasm32")
}

/// Fails where there is no device.
///
/// # Errors
/// [`Fault::Unsupported`] with `what`.
pub(crate) fn require(what: &str) -> Result<(), Fault> {
    if present() {
        Ok(())
    } else {
        Err(Fault::Unsupported(format!("{what} needs a device")))
    }
}
