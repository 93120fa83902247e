//! The interface `spi`.

use embedded_hal::spi::{ErrorKind, Operation as HalOperation};
use iottly_boards::{SpiError, SpiPort};
use iottly_manifest::Interface;
use wasmtime::component::{ComponentType, Lift, Linker, Resource, ResourceType, WasmList, WasmStr};

use super::bus::{self, Silent};
use super::call::{Halt, Store, answer, granted, held, hold, interface, release};
use crate::bindings::spi as wit;
use crate::guest::Guest;
use crate::worker::Worker;
use crate::{Fault, Limits};

struct Device(Worker<SpiPort>);

/// Operation as in the world, except that written bytes are still in the firmware's memory.
#[derive(ComponentType, Lift)]
#[component(variant)]
enum Operation {
    #[component(name = "read")]
    Read(u32),
    #[component(name = "write")]
    Write(WasmList<u8>),
    #[component(name = "transfer")]
    Transfer(WasmList<u8>),
    #[component(name = "delay-ns")]
    DelayNs(u32),
}

/// Operation on the host's side.
enum Part {
    Read(Vec<u8>),
    Write(Vec<u8>),
    Transfer(Vec<u8>),
    DelayNs(u32),
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut spi = linker.instance(&interface("spi"))?;
    spi.resource("device", ResourceType::host::<Device>(), release::<Device>)?;
    spi.func_wrap("open", |store: Store<'_>, (label,): (WasmStr,)| {
        answer(store, |store| {
            let (board, label) = granted(store, Interface::Spi, &label)?;
            let device = bus::start(store.data_mut(), board.spi(&label).map_err(Fault::from)?)?;
            hold(store, Device(device))
        })
    })?;
    type Args = (Resource<Device>, WasmList<Operation>);
    spi.func_wrap(
        "[method]device.transaction",
        |store: Store<'_>, (device, operations): Args| {
            answer(store, |store| transaction(store, &device, &operations))
        },
    )
}

fn transaction(
    store: &mut Store<'_>,
    device: &Resource<Device>,
    operations: &WasmList<Operation>,
) -> Result<Vec<Vec<u8>>, Halt<wit::Error>> {
    let mut parts = parts(store, operations)?;
    let worker = held::<_, wit::Error>(store.data_mut(), device)?.0.clone();
    let done = bus::run(store.data_mut(), &worker, move |device| {
        let mut operations: Vec<_> = parts.iter_mut().map(Part::as_operation).collect();
        let done = device.transaction(&mut operations);
        done.map(|()| parts.into_iter().filter_map(Part::into_read).collect())
    });
    match done {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(Halt::Answer(error.into())),
        Err(Silent::TimedOut) => Err(Halt::Answer(wit::Error::TimedOut)),
        Err(Silent::Fault(fault)) => Err(fault.into()),
    }
}

fn parts(store: &mut Store<'_>, operations: &WasmList<Operation>) -> Result<Vec<Part>, Halt<wit::Error>> {
    let limits: Limits = store.data().limits.clone();
    bus::operations(operations.len(), &limits)?;
    let operations = operations
        .iter(&mut *store)?
        .collect::<wasmtime::Result<Vec<_>>>()?;
    let mut bytes = 0;
    let mut parts = Vec::with_capacity(operations.len());
    for operation in operations {
        let copied = |list: &WasmList<u8>| list.as_le_slice(&*store).to_vec();
        parts.push(match operation {
            Operation::Read(count) => {
                bus::add(&mut bytes, usize::try_from(count).unwrap_or(usize::MAX), &limits)?;
                Part::Read(vec![0; count as usize])
            }
            Operation::Write(list) => {
                bus::add(&mut bytes, list.len(), &limits)?;
                Part::Write(copied(&list))
            }
            Operation::Transfer(list) => {
                bus::add(&mut bytes, list.len(), &limits)?;
                Part::Transfer(copied(&list))
            }
            Operation::DelayNs(nanoseconds) => Part::DelayNs(nanoseconds),
        });
    }
    Ok(parts)
}

impl Part {
    fn as_operation(&mut self) -> HalOperation<'_, u8> {
        match self {
            Self::Read(into) => HalOperation::Read(into),
            Self::Write(bytes) => HalOperation::Write(bytes),
            Self::Transfer(bytes) => HalOperation::TransferInPlace(bytes),
            Self::DelayNs(nanoseconds) => HalOperation::DelayNs(*nanoseconds),
        }
    }

    fn into_read(self) -> Option<Vec<u8>> {
        match self {
            Self::Read(bytes) | Self::Transfer(bytes) => Some(bytes),
            Self::Write(_) | Self::DelayNs(_) => None,
        }
    }
}

impl From<Fault> for wit::Error {
    fn from(fault: Fault) -> Self {
        Self::Other(fault.into())
    }
}

impl From<SpiError> for wit::Error {
    fn from(error: SpiError) -> Self {
        match error.kind {
            ErrorKind::Overrun => Self::Overrun,
            ErrorKind::ModeFault => Self::ModeFault,
            ErrorKind::FrameFormat => Self::FrameFormat,
            ErrorKind::ChipSelectFault => Self::ChipSelectFault,
            _ => Self::Other(Fault::Io(error.to_string()).into()),
        }
    }
}
