//! The interface `config`.

use wasmtime::component::{Linker, WasmStr};

use super::call::{Store, answer, count, interface, name};
use crate::guest::Guest;

/// Maximum size of a key, in bytes.
const KEY_BYTES: usize = 256;

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut config = linker.instance(&interface("config"))?;
    config.func_wrap("get", |store: Store<'_>, (key,): (WasmStr,)| {
        answer(store, |store| {
            let key = name(store, "key", &key, KEY_BYTES)?;
            Ok(store.data().host.setting(&key))
        })
    })?;
    config.func_wrap("version", |mut store: Store<'_>, (): ()| {
        count(&mut store)?;
        Ok((store.data().host.settings_version(),))
    })
}
