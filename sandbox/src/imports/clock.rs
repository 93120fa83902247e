use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::guest::Guest;

pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut clock = linker.instance("iottly:firmware/clock@0.1.0")?;
    clock.func_wrap("now-ms", |mut store: StoreContextMut<'_, Guest>, (): ()| Ok((store.data_mut().host.now_ms(),)))?;
    clock.func_wrap("monotonic-ns", |store: StoreContextMut<'_, Guest>, (): ()| {
        Ok((u64::try_from(store.data().started.elapsed().as_nanos()).unwrap_or(u64::MAX),))
    })
}
