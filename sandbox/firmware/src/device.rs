use crate::Fault;

/// Says whether there is a device to ask: on the developer's machine there is none.
pub(crate) const fn present() -> bool {
    cfg!(target_arch = "wasm32")
}

/// Refuses what needs a device where there is none.
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
