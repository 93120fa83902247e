//! The interface `adc`.

use iottly_boards::AnalogPort;
use iottly_manifest::Interface;
use wasmtime::component::{Linker, Resource, ResourceType, WasmStr};

use super::call::{Halt, Store, answer, granted, held, hold, interface, release};
use crate::Fault;
use crate::guest::Guest;

struct Input(AnalogPort);

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut adc = linker.instance(&interface("adc"))?;
    adc.resource("input", ResourceType::host::<Input>(), release::<Input>)?;
    adc.func_wrap("open", |store: Store<'_>, (label,): (WasmStr,)| {
        answer(store, |store| {
            let (board, label) = granted(store, Interface::Adc, &label)?;
            let port = board.analog(&label).map_err(Fault::from)?;
            hold(store, Input(port))
        })
    })?;
    adc.func_wrap(
        "[method]input.read",
        |store: Store<'_>, (input,): (Resource<Input>,)| {
            answer(store, |store| read(store.data_mut(), &input))
        },
    )
}

fn read(guest: &mut Guest, input: &Resource<Input>) -> Result<i32, Halt> {
    guest.in_host(|guest| Ok(held(guest, input)?.0.read_microvolts().map_err(Fault::from)?))
}
