//! The interface `gpio`.

use embedded_hal::digital::PinState;
use iottly_boards::{Edge, InputPort, OutputPort, Pull, Watch};
use iottly_manifest::Interface;
use wasmtime::component::{Linker, Resource, ResourceType, WasmStr};

use super::call::{Halt, Store, answer, granted, held, hold, interface, release};
use crate::Fault;
use crate::bindings::gpio as wit;
use crate::guest::Guest;

/// Maximum number of watches of one pin.
const WATCHES: usize = 4;

struct OutputPin(OutputPort);

struct InputPin {
    port: InputPort,
    watches: Vec<Watch>,
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut gpio = linker.instance(&interface("gpio"))?;
    gpio.resource(
        "output-pin",
        ResourceType::host::<OutputPin>(),
        release::<OutputPin>,
    )?;
    gpio.resource("input-pin", ResourceType::host::<InputPin>(), release::<InputPin>)?;
    gpio.func_wrap(
        "open-output",
        |store: Store<'_>, (label, initial): (WasmStr, wit::Level)| {
            answer(store, |store| {
                let (board, label) = granted(store, Interface::Gpio, &label)?;
                let port = board.output(&label, is_high(initial)).map_err(Fault::from)?;
                hold(store, OutputPin(port))
            })
        },
    )?;
    gpio.func_wrap(
        "open-input",
        |store: Store<'_>, (label, pull): (WasmStr, wit::Pull)| {
            answer(store, |store| {
                let (board, label) = granted(store, Interface::Gpio, &label)?;
                let port = board.input(&label, pull.into()).map_err(Fault::from)?;
                hold(
                    store,
                    InputPin {
                        port,
                        watches: Vec::new(),
                    },
                )
            })
        },
    )?;
    gpio.func_wrap(
        "[method]output-pin.set",
        |store: Store<'_>, (pin, level): (Resource<OutputPin>, wit::Level)| {
            answer(store, |store| {
                on(store.data_mut(), &pin, |pin: &mut OutputPin| {
                    pin.0.set_state(PinState::from(is_high(level)))
                })
            })
        },
    )?;
    gpio.func_wrap(
        "[method]output-pin.toggle",
        |store: Store<'_>, (pin,): (Resource<OutputPin>,)| {
            answer(store, |store| {
                on(store.data_mut(), &pin, |pin: &mut OutputPin| pin.0.toggle())
            })
        },
    )?;
    gpio.func_wrap(
        "[method]output-pin.get",
        |store: Store<'_>, (pin,): (Resource<OutputPin>,)| {
            answer(store, |store| {
                on(store.data_mut(), &pin, |pin: &mut OutputPin| pin.0.is_set_high()).map(level)
            })
        },
    )?;
    gpio.func_wrap(
        "[method]input-pin.get",
        |store: Store<'_>, (pin,): (Resource<InputPin>,)| {
            answer(store, |store| {
                on(store.data_mut(), &pin, |pin: &mut InputPin| pin.port.is_high()).map(level)
            })
        },
    )?;
    gpio.func_wrap(
        "[method]input-pin.watch",
        |store: Store<'_>, (pin, edge): (Resource<InputPin>, wit::Edge)| {
            answer(store, |store| watch(store.data_mut(), &pin, edge))
        },
    )
}

fn watch(guest: &mut Guest, pin: &Resource<InputPin>, edge: wit::Edge) -> Result<u32, Halt> {
    let source = guest.next_source();
    let events = guest.events.clone();
    let pin = held(guest, pin)?;
    if pin.watches.len() >= WATCHES {
        return Err(Fault::Limit(format!("more than {WATCHES} watches of one pin")).into());
    }
    let edge = match edge {
        wit::Edge::Rising => Edge::Rising,
        wit::Edge::Falling => Edge::Falling,
    };
    let watch = pin
        .port
        .watch(edge, Box::new(move |at| events.put(source, at)))
        .map_err(Fault::from)?;
    pin.watches.push(watch);
    Ok(source)
}

/// Runs an operation on an open pin as host code.
fn on<P: Send + 'static, T>(
    guest: &mut Guest,
    pin: &Resource<P>,
    run: impl FnOnce(&mut P) -> Result<T, iottly_boards::BoardError>,
) -> Result<T, Halt> {
    guest.in_host(|guest| Ok(run(held(guest, pin)?).map_err(Fault::from)?))
}

const fn is_high(level: wit::Level) -> bool {
    matches!(level, wit::Level::High)
}

const fn level(high: bool) -> wit::Level {
    if high { wit::Level::High } else { wit::Level::Low }
}

impl From<wit::Pull> for Pull {
    fn from(pull: wit::Pull) -> Self {
        match pull {
            wit::Pull::None => Self::None,
            wit::Pull::Up => Self::Up,
            wit::Pull::Down => Self::Down,
        }
    }
}
