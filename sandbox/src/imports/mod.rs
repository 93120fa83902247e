//! The host side of the world's imports, one interface a file.

mod clock;
mod log;
mod random;
mod telemetry;

use wasmtime::component::Linker;

use crate::guest::Guest;

/// Provides every interface a firmware may import.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    telemetry::link(linker)?;
    log::link(linker)?;
    clock::link(linker)?;
    random::link(linker)
}
