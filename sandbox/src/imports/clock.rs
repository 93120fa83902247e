//! The interface `clock`.

use std::thread;
use std::time::Duration;

use wasmtime::component::Linker;

use super::call::{Halt, Store, answer, count, interface};
use crate::Fault;
use crate::bindings::types;
use crate::guest::Guest;

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut clock = linker.instance(&interface("clock"))?;
    clock.func_wrap("now-ms", |mut store: Store<'_>, (): ()| {
        count(&mut store)?;
        Ok((store.data_mut().host.now_ms(),))
    })?;
    clock.func_wrap("monotonic-ns", |mut store: Store<'_>, (): ()| {
        count(&mut store)?;
        Ok((u64::try_from(store.data().started.elapsed().as_nanos()).unwrap_or(u64::MAX),))
    })?;
    clock.func_wrap("delay-ns", |store: Store<'_>, (nanoseconds,): (u32,)| {
        answer(store, |store| {
            delay(store.data_mut(), Duration::from_nanos(nanoseconds.into()))
        })
    })
}

fn delay(guest: &mut Guest, time: Duration) -> Result<(), Halt<types::Fault>> {
    let slept = guest.waiting(time, |_, time| {
        thread::sleep(time);
        time
    })?;
    if slept < time {
        return Err(Fault::Limit(format!(
            "the running call has waited for {} ms, which is the limit",
            guest.limits.wait.as_millis()
        ))
        .into());
    }
    Ok(())
}
