//! A small key-value store that outlives restarts. What a call changed is on disk when it returns.

use crate::bindings::iottly::firmware::state;
use crate::{Fault, device};

/// The value of `key`.
///
/// # Errors
/// [`Fault::Io`] when it cannot be read.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Fault> {
    device::require("the state")?;
    state::get(key)
}

/// Sets `key` to `value`.
///
/// # Errors
/// [`Fault::Invalid`] for an unusable key, [`Fault::Limit`] when there is no room, [`Fault::Io`] when it
/// cannot be written.
pub fn set(key: &str, value: &[u8]) -> Result<(), Fault> {
    device::require("the state")?;
    state::set(key, value)
}

/// Removes `key`, if it is there.
///
/// # Errors
/// [`Fault::Io`] when it cannot be written.
pub fn delete(key: &str) -> Result<(), Fault> {
    device::require("the state")?;
    state::delete(key)
}

/// The keys that begin with `prefix`.
///
/// # Errors
/// [`Fault::Io`] when they cannot be read.
pub fn keys(prefix: &str) -> Result<Vec<String>, Fault> {
    device::require("the state")?;
    state::keys(prefix)
}
