//! The interface `random`.

use wasmtime::component::Linker;

use super::call::{Store, count, interface};
use crate::guest::Guest;
use crate::trap::{Stopped, TrapCode};

/// Number of bits up to which JavaScript holds integers exactly.
const SEED_BITS: u32 = 53;

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker
        .instance(&interface("random"))?
        .func_wrap("seed", |mut store: Store<'_>, (): ()| {
            count(&mut store)?;
            let bits = getrandom::u64().map_err(|error| {
                wasmtime::Error::new(Stopped {
                    code: TrapCode::Other,
                    message: format!("the device has no randomness: {error}"),
                    functions: Vec::new(),
                })
            })?;
            Ok((bits >> (u64::BITS - SEED_BITS),))
        })
}
