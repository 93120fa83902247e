//! Common parts of every call of a firmware into the device: call rate, permission, handles and names.

use std::borrow::Cow;
use std::sync::Arc;

use iottly_boards::Board;
use iottly_manifest::{Interface, MAX_NAME_BYTES};
use iottly_protocol::release::FIRMWARE_ABI;
use wasmtime::StoreContextMut;
use wasmtime::component::{Resource, WasmStr};

use crate::Fault;
use crate::bindings::types;
use crate::guest::Guest;
use crate::profile::PACKAGE;
use crate::trap::{Stopped, TrapCode};

pub(super) type Store<'a> = StoreContextMut<'a, Guest>;

/// Returns the full name of an interface of the firmware world.
pub(super) fn interface(name: &str) -> String {
    format!("{PACKAGE}{name}@{FIRMWARE_ABI}")
}

/// End of a call that failed: an answer for the firmware, or its end.
pub(super) enum Halt<E = types::Fault> {
    Answer(E),
    Trap(wasmtime::Error),
}

impl<E> From<wasmtime::Error> for Halt<E> {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl<E: From<Fault>> From<Fault> for Halt<E> {
    fn from(fault: Fault) -> Self {
        Self::Answer(fault.into())
    }
}

/// Runs a call that can answer with an error.
pub(super) fn answer<T, E: From<Fault>>(
    mut store: Store<'_>,
    run: impl FnOnce(&mut Store<'_>) -> Result<T, Halt<E>>,
) -> wasmtime::Result<(Result<T, E>,)> {
    let calls = &mut store.data_mut().calls;
    if !calls.take() {
        let refusal = calls.refusal();
        return Ok((Err(Fault::Limit(refusal).into()),));
    }
    match run(&mut store) {
        Ok(value) => Ok((Ok(value),)),
        Err(Halt::Answer(error)) => Ok((Err(error),)),
        Err(Halt::Trap(error)) => Err(error),
    }
}

/// Counts a call that cannot answer with an error.
pub(super) fn count(store: &mut Store<'_>) -> wasmtime::Result<()> {
    let calls = &mut store.data_mut().calls;
    if calls.take() {
        return Ok(());
    }
    Err(wasmtime::Error::new(Stopped {
        code: TrapCode::HostCalls,
        message: calls.refusal(),
        functions: Vec::new(),
    }))
}

/// Returns the board, if the manifest names the label and the device grants it.
pub(super) fn granted(
    store: &mut Store<'_>,
    interface: Interface,
    label: &WasmStr,
) -> Result<(Arc<dyn Board>, String), Halt> {
    let label: Cow<'_, str> = label.to_str(&*store)?;
    if label.len() > MAX_NAME_BYTES {
        return Err(Fault::Limit(format!(
            "the label has {} bytes, the limit is {MAX_NAME_BYTES}",
            label.len()
        ))
        .into());
    }
    let label = label.into_owned();
    let guest = store.data();
    if !guest
        .profile
        .manifest
        .capabilities
        .labels(interface)
        .contains(&label)
    {
        return Err(Fault::Denied(format!(
            "{interface} {label:?}: the firmware's manifest does not ask for it"
        ))
        .into());
    }
    if !guest.host.grants(interface, &label) {
        return Err(Fault::Denied(format!("{interface} {label:?}: this device does not grant it")).into());
    }
    let board = guest
        .host
        .board()
        .ok_or_else(|| Fault::Unsupported("this device has no board".to_owned()))?;
    Ok((board, label))
}

/// Returns a handle on a resource that the firmware has opened.
pub(super) fn hold<T: Send + 'static>(store: &mut Store<'_>, thing: T) -> Result<Resource<T>, Halt> {
    let guest = store.data_mut();
    let limit = guest.limits.handles;
    guest
        .table
        .push(thing)
        .map_err(|_| Fault::Limit(format!("more than {limit} resources are open")).into())
}

/// Returns the resource of a handle.
pub(super) fn held<'a, T: Send + 'static, E>(
    guest: &'a mut Guest,
    handle: &Resource<T>,
) -> Result<&'a mut T, Halt<E>> {
    guest
        .table
        .get_mut(handle)
        .map_err(|error| Halt::Trap(error.into()))
}

/// Drops the resource of a handle.
pub(super) fn release<T: Send + 'static>(mut store: Store<'_>, rep: u32) -> wasmtime::Result<()> {
    store.data_mut().table.delete(Resource::<T>::new_own(rep))?;
    Ok(())
}

/// Returns a short name from the firmware, checked: not empty, no control characters, within `limit` bytes.
pub(super) fn name(store: &Store<'_>, what: &str, text: &WasmStr, limit: usize) -> Result<String, Halt> {
    let text = text.to_str(store)?;
    if text.is_empty() {
        return Err(Fault::Invalid(format!("the {what} is empty")).into());
    }
    if text.len() > limit {
        return Err(Fault::Limit(format!(
            "the {what} has {} bytes, the limit is {limit}",
            text.len()
        ))
        .into());
    }
    if text.chars().any(char::is_control) {
        return Err(Fault::Invalid(format!("the {what} contains control characters")).into());
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_can_name_every_channel() {
        assert_eq!(MAX_NAME_BYTES, iottly_protocol::limits::MAX_CHANNEL_BYTES);
    }

    #[test]
    fn the_interface_is_the_one_of_the_wit_files() {
        let package = format!("package {}@{FIRMWARE_ABI};", PACKAGE.trim_end_matches('/'));
        assert!(include_str!("../../wit/types.wit").contains(&package));
    }
}
