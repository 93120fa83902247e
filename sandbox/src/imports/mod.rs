//! The host side of the world's imports, one interface a file.

mod adc;
mod bus;
mod call;
mod clock;
mod config;
mod gpio;
mod i2c;
mod identity;
mod log;
mod pwm;
mod random;
mod script;
mod spi;
mod state;
mod telemetry;
mod timers;
mod uart;

use wasmtime::component::Linker;

use crate::guest::Guest;

/// Links every interface that a firmware may import. Those of the board work for granted labels only.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    telemetry::link(linker)?;
    log::link(linker)?;
    clock::link(linker)?;
    random::link(linker)?;
    timers::link(linker)?;
    state::link(linker)?;
    config::link(linker)?;
    identity::link(linker)?;
    gpio::link(linker)?;
    i2c::link(linker)?;
    spi::link(linker)?;
    uart::link(linker)?;
    pwm::link(linker)?;
    adc::link(linker)?;
    script::link(linker)
}
