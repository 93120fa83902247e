//! A small key-value store that survives restarts. Changes of a call are on disk when it returns.

use crate::bindings::iottly::firmware::state;
use crate::{Fault, device};

/// Returns the value of `key`.
///
/// # Errors
/// [`Fault::Io`] if the store cannot be read.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Fault> {
    device::require("the state")?;
    state::get(key)
}

/// Sets `key` to `value`.
///
/// # Errors
/// [`Fault::Invalid`] for an unusable key, [`Fault::Limit`] if there is not enough room, [`Fault::Io`] if the
/// store cannot be written.
pub fn set(key: &str, value: &[u8]) -> Result<(), Fault> {
    device::require("the state")?;
    state::set(key, value)
}

/// Removes `key`, if it exists.
///
/// # Errors
/// [`Fault::Io`] if the store cannot be written.
pub fn delete(key: &str) -> Result<(), Fault> {
    device::require("the state")?;
    state::delete(key)
}

/// Returns the keys that begin with `prefix`.
///
/// # Errors
/// [`Fault::Io`] if the store cannot be read.
pub fn keys(prefix: &str) -> Result<Vec<String>, Fault> {
    device::require("the state")?;
    state::keys(prefix)
}
