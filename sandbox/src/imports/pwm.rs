//! The interface `pwm`.

use iottly_boards::{BoardError, PwmPort};
use iottly_manifest::Interface;
use wasmtime::component::{Linker, Resource, ResourceType, WasmStr};

use super::call::{Halt, Store, answer, granted, held, hold, interface, release};
use crate::Fault;
use crate::guest::Guest;

struct Output(PwmPort);

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut pwm = linker.instance(&interface("pwm"))?;
    pwm.resource("output", ResourceType::host::<Output>(), release::<Output>)?;
    pwm.func_wrap("open", |store: Store<'_>, (label, hertz): (WasmStr, u32)| {
        answer(store, |store| {
            let (board, label) = granted(store, Interface::Pwm, &label)?;
            let port = board.pwm(&label, hertz).map_err(Fault::from)?;
            hold(store, Output(port))
        })
    })?;
    pwm.func_wrap(
        "[method]output.set-duty",
        |store: Store<'_>, (output, duty): (Resource<Output>, u16)| {
            answer(store, |store| {
                on(store.data_mut(), &output, |port| {
                    port.set_duty_cycle(scaled(duty, port.max_duty_cycle()))
                })
            })
        },
    )?;
    pwm.func_wrap(
        "[method]output.set-frequency",
        |store: Store<'_>, (output, hertz): (Resource<Output>, u32)| {
            answer(store, |store| {
                on(store.data_mut(), &output, |port| port.set_frequency(hertz))
            })
        },
    )
}

fn on(
    guest: &mut Guest,
    output: &Resource<Output>,
    run: impl FnOnce(&mut PwmPort) -> Result<(), BoardError>,
) -> Result<(), Halt> {
    guest.in_host(|guest| Ok(run(&mut held(guest, output)?.0).map_err(Fault::from)?))
}

/// Converts the world's share of 65535 to the hardware's own steps.
fn scaled(duty: u16, max: u16) -> u16 {
    let steps = u32::from(duty) * u32::from(max) / u32::from(u16::MAX);
    u16::try_from(steps).expect("a share of a 16-bit number is one")
}
