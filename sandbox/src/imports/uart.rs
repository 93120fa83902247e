//! The interface `uart`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iottly_boards::{Parity, SerialPort, SerialSettings, Tell, UartError, Watch};
use iottly_manifest::Interface;
use wasmtime::component::{Linker, Resource, ResourceType, WasmList, WasmStr};

use super::bus::{self, Silent};
use super::call::{Halt, Store, answer, granted, held, hold, interface, release};
use crate::Fault;
use crate::bindings::uart as wit;
use crate::events::Events;
use crate::guest::Guest;
use crate::worker::Worker;

struct Port {
    worker: Worker<SerialPort>,
    watch: Option<(Watch, Arc<Arrivals>)>,
}

/// Combines any number of arrivals into one event until the firmware has read.
struct Arrivals {
    source: u32,
    events: Events,
    armed: AtomicBool,
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut uart = linker.instance(&interface("uart"))?;
    uart.resource("port", ResourceType::host::<Port>(), release::<Port>)?;
    uart.func_wrap(
        "open",
        |store: Store<'_>, (label, settings): (WasmStr, wit::Settings)| {
            answer(store, |store| {
                let (board, label) = granted(store, Interface::Uart, &label)?;
                let worker = bus::start(
                    store.data_mut(),
                    board.uart(&label, settings.into()).map_err(Fault::from)?,
                )?;
                hold(store, Port { worker, watch: None })
            })
        },
    )?;
    uart.func_wrap(
        "[method]port.write",
        |store: Store<'_>, (port, data): (Resource<Port>, WasmList<u8>)| {
            answer(store, |store| write(store, &port, &data))
        },
    )?;
    uart.func_wrap(
        "[method]port.read",
        |store: Store<'_>, (port, max): (Resource<Port>, u32)| {
            answer(store, |store| read(store.data_mut(), &port, max))
        },
    )?;
    uart.func_wrap(
        "[method]port.watch",
        |store: Store<'_>, (port,): (Resource<Port>,)| answer(store, |store| watch(store.data_mut(), &port)),
    )
}

fn write(store: &mut Store<'_>, port: &Resource<Port>, data: &WasmList<u8>) -> Result<(), Halt<wit::Error>> {
    bus::add(&mut 0, data.len(), &store.data().limits)?;
    let data = data.as_le_slice(&*store).to_vec();
    on(store.data_mut(), port, move |port| port.write(&data))
}

fn read(guest: &mut Guest, port: &Resource<Port>, max: u32) -> Result<Vec<u8>, Halt<wit::Error>> {
    let max = usize::try_from(max)
        .unwrap_or(usize::MAX)
        .min(guest.limits.bus_bytes);
    let arrivals = held::<_, wit::Error>(guest, port)?
        .watch
        .as_ref()
        .map(|(_, arrivals)| Arc::clone(arrivals));
    // Before the read: bytes that arrive meanwhile cause another event rather than none.
    if let Some(arrivals) = &arrivals {
        arrivals.armed.store(true, Ordering::Release);
    }
    let mut bytes = on(guest, port, move |port| {
        let mut into = vec![0; max];
        let count = port.read(&mut into)?;
        into.truncate(count);
        Ok(into)
    })?;
    bytes.truncate(max);
    if let Some(arrivals) = arrivals.filter(|_| max > 0 && bytes.len() == max) {
        arrivals.tell(std::time::Instant::now());
    }
    Ok(bytes)
}

fn watch(guest: &mut Guest, port: &Resource<Port>) -> Result<u32, Halt> {
    let source = guest.next_source();
    let events = guest.events.clone();
    let open = held(guest, port)?;
    if let Some((_, arrivals)) = &open.watch {
        return Ok(arrivals.source);
    }
    let worker = open.worker.clone();
    let arrivals = Arc::new(Arrivals {
        source,
        events,
        armed: AtomicBool::new(true),
    });
    let told = Arc::clone(&arrivals);
    let tell: Tell = Box::new(move |at| told.tell(at));
    let most = guest.limits.bus_wait;
    let watch = guest.waiting(most, |_, most| worker.run(most, move |port| port.watch(tell)))?;
    let watch = watch.map_err(|_| Fault::Busy)?.map_err(Fault::from)?;
    held::<_, crate::bindings::types::Fault>(guest, port)?.watch = Some((watch, arrivals));
    Ok(source)
}

/// Runs an operation on an open port, on its own thread.
fn on<T: Send + 'static>(
    guest: &mut Guest,
    port: &Resource<Port>,
    job: impl FnOnce(&mut SerialPort) -> Result<T, UartError> + Send + 'static,
) -> Result<T, Halt<wit::Error>> {
    let worker = held::<_, wit::Error>(guest, port)?.worker.clone();
    match bus::run(guest, &worker, job) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Halt::Answer(error.into())),
        Err(Silent::TimedOut) => Err(Halt::Answer(wit::Error::TimedOut)),
        Err(Silent::Fault(fault)) => Err(fault.into()),
    }
}

impl Arrivals {
    fn tell(&self, at: std::time::Instant) {
        if self.armed.swap(false, Ordering::AcqRel) {
            self.events.put(self.source, at);
        }
    }
}

impl From<wit::Settings> for SerialSettings {
    fn from(settings: wit::Settings) -> Self {
        let parity = match settings.parity {
            wit::Parity::None => Parity::None,
            wit::Parity::Even => Parity::Even,
            wit::Parity::Odd => Parity::Odd,
        };
        Self {
            baud: settings.baud,
            parity,
            stop_bits: settings.stop_bits,
        }
    }
}

impl From<Fault> for wit::Error {
    fn from(fault: Fault) -> Self {
        Self::Other(fault.into())
    }
}

impl From<UartError> for wit::Error {
    fn from(error: UartError) -> Self {
        match error {
            UartError::Overrun => Self::Overrun,
            UartError::FrameFormat => Self::FrameFormat,
            UartError::Parity => Self::Parity,
            UartError::Noise => Self::Noise,
            UartError::Other(_) => Self::Other(Fault::Io(error.to_string()).into()),
        }
    }
}
