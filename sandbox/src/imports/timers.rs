//! The interface `timers`.

use std::time::{Duration, Instant};

use wasmtime::component::Linker;

use super::call::{Halt, Store, answer, count, interface};
use crate::bindings::types;
use crate::guest::Guest;

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut timers = linker.instance(&interface("timers"))?;
    timers.func_wrap("start", |store: Store<'_>, (delay_ms, repeat): (u32, bool)| {
        answer(store, |store| start(store.data_mut(), delay_ms, repeat))
    })?;
    timers.func_wrap("cancel", |mut store: Store<'_>, (source,): (u32,)| {
        count(&mut store)?;
        store.data_mut().timers.cancel(source);
        Ok(())
    })
}

fn start(guest: &mut Guest, delay_ms: u32, repeat: bool) -> Result<u32, Halt<types::Fault>> {
    let source = guest.next_source();
    let delay = Duration::from_millis(delay_ms.into());
    guest
        .timers
        .start(source, Instant::now(), delay, repeat, guest.limits.timers)?;
    Ok(source)
}
