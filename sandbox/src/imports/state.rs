//! The interface `state`.

use wasmtime::component::{Linker, WasmList, WasmStr};

use super::call::{Halt, Store, answer, interface, name};
use crate::guest::Guest;
use crate::{Fault, StateStore};

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut state = linker.instance(&interface("state"))?;
    state.func_wrap("get", |store: Store<'_>, (key,): (WasmStr,)| {
        answer(store, |store| get(store, &key))
    })?;
    state.func_wrap(
        "set",
        |store: Store<'_>, (key, value): (WasmStr, WasmList<u8>)| {
            answer(store, |store| set(store, &key, &value))
        },
    )?;
    state.func_wrap("delete", |store: Store<'_>, (key,): (WasmStr,)| {
        answer(store, |store| delete(store, &key))
    })?;
    state.func_wrap("keys", |store: Store<'_>, (prefix,): (WasmStr,)| {
        answer(store, |store| keys(store, &prefix))
    })
}

fn get(store: &mut Store<'_>, key: &WasmStr) -> Result<Option<Vec<u8>>, Halt> {
    let key = checked(store, key)?;
    Ok(kept(store.data_mut())?.entries().get(&key).cloned())
}

fn set(store: &mut Store<'_>, key: &WasmStr, value: &WasmList<u8>) -> Result<(), Halt> {
    let key = checked(store, key)?;
    let limits = store.data().limits.clone();
    let entries = kept(store.data_mut())?.entries();
    let others = entries.iter().filter(|(name, _)| **name != key);
    let mut count = 1;
    let mut bytes = key.len() + value.len();
    for (name, value) in others {
        count += 1;
        bytes += name.len() + value.len();
    }
    if count > limits.state_keys {
        return Err(Fault::Limit(format!("the state has {} keys already", limits.state_keys)).into());
    }
    if bytes > limits.state_bytes {
        return Err(Fault::Limit(format!(
            "the state would have {bytes} bytes, the limit is {}",
            limits.state_bytes
        ))
        .into());
    }
    let value = value.as_le_slice(&*store).to_vec();
    change(store.data_mut(), &key, Some(value))
}

fn delete(store: &mut Store<'_>, key: &WasmStr) -> Result<(), Halt> {
    let key = checked(store, key)?;
    if !kept(store.data_mut())?.entries().contains_key(&key) {
        return Ok(());
    }
    change(store.data_mut(), &key, None)
}

fn keys(store: &mut Store<'_>, prefix: &WasmStr) -> Result<Vec<String>, Halt> {
    let prefix = prefix.to_str(&*store)?;
    if prefix.len() > store.data().limits.state_key_bytes {
        return Ok(Vec::new());
    }
    let prefix = prefix.into_owned();
    let keys = kept(store.data_mut())?.entries().keys();
    Ok(keys.filter(|key| key.starts_with(&prefix)).cloned().collect())
}

fn change(guest: &mut Guest, key: &str, value: Option<Vec<u8>>) -> Result<(), Halt> {
    if guest.state_quota.take(guest.started.elapsed()).is_none() {
        return Err(Fault::Limit(format!(
            "more than {} changes of the state a second",
            guest.limits.state_sets_per_s
        ))
        .into());
    }
    guest.in_storage(|guest| kept(guest)?.set(key, value))?;
    Ok(())
}

fn checked(store: &Store<'_>, key: &WasmStr) -> Result<String, Halt> {
    name(store, "key", key, store.data().limits.state_key_bytes)
}

fn kept(guest: &mut Guest) -> Result<&mut dyn StateStore, Fault> {
    guest
        .host
        .state()
        .ok_or_else(|| Fault::Unsupported("this device keeps no state".to_owned()))
}
