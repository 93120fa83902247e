//! The interface `identity`.

use wasmtime::component::Linker;

use super::call::{Store, count, interface};
use crate::guest::Guest;

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut identity = linker.instance(&interface("identity"))?;
    identity.func_wrap("device", |mut store: Store<'_>, (): ()| {
        count(&mut store)?;
        Ok((store.data().host.device(),))
    })?;
    identity.func_wrap("firmware", |mut store: Store<'_>, (): ()| {
        count(&mut store)?;
        Ok((store.data().profile.digest.to_string(),))
    })?;
    identity.func_wrap("board", |mut store: Store<'_>, (): ()| {
        count(&mut store)?;
        let board = store.data().host.board();
        Ok((board.map(|board| board.kind().to_owned()).unwrap_or_default(),))
    })
}
