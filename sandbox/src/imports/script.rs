//! The interface `script`: what a script engine asks for.

use iottly_protocol::limits::clip;
use wasmtime::component::{Linker, WasmStr};

use super::call::{Store, count, interface};
use crate::guest::Guest;
use crate::script::source;
use crate::trap::{Stopped, TrapCode};

/// Longest path of a file, in bytes.
const PATH_BYTES: usize = 4096;
/// Longest description of a place, in bytes.
const PLACE_BYTES: usize = 4096;

/// Calls of a script engine. A firmware without a script has no files and can only end itself.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut script = linker.instance(&interface("script"))?;
    script.func_wrap("source", |mut store: Store<'_>, (path,): (WasmStr,)| {
        count(&mut store)?;
        let path = clip(&path.to_str(&store)?, PATH_BYTES).to_owned();
        Ok((source(&store.data().profile, &path),))
    })?;
    script.func_wrap("time-left", |mut store: Store<'_>, (): ()| {
        let call = &mut store.data_mut().call;
        let left = call.budget.saturating_sub(call.used()).as_millis();
        Ok((u32::try_from(left).unwrap_or(u32::MAX),))
    })?;
    script.func_wrap(
        "stop",
        |mut store: Store<'_>, (place,): (WasmStr,)| -> wasmtime::Result<()> {
            let place = clip(&place.to_str(&store)?, PLACE_BYTES).to_owned();
            Err(wasmtime::Error::new(Stopped {
                code: TrapCode::TimeBudget,
                message: store.data_mut().call.used_up(),
                functions: place.lines().map(str::to_owned).collect(),
            }))
        },
    )?;
    script.func_wrap("memory", |store: Store<'_>, (): ()| {
        let bytes = store.data().limits.memory_bytes;
        Ok((u32::try_from(bytes).unwrap_or(u32::MAX),))
    })
}
