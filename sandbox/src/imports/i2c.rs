//! The interface `i2c`.

use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource, Operation as HalOperation};
use iottly_boards::{I2cBus, I2cError};
use iottly_manifest::Interface;
use wasmtime::component::{ComponentType, Lift, Linker, Resource, ResourceType, WasmList, WasmStr};

use super::bus::{self, Silent};
use super::call::{Halt, Store, answer, granted, held, hold, interface, release};
use crate::bindings::i2c as wit;
use crate::guest::Guest;
use crate::worker::Worker;
use crate::{Fault, Limits};

/// Highest address of seven bits.
const MAX_ADDRESS: u16 = 0x7f;

struct Bus(Worker<I2cBus>);

/// Operation as in the world, except that written bytes are still in the firmware's memory.
#[derive(ComponentType, Lift)]
#[component(variant)]
enum Operation {
    #[component(name = "read")]
    Read(u32),
    #[component(name = "write")]
    Write(WasmList<u8>),
}

/// Operation on the host's side.
enum Part {
    Read(Vec<u8>),
    Write(Vec<u8>),
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut i2c = linker.instance(&interface("i2c"))?;
    i2c.resource("bus", ResourceType::host::<Bus>(), release::<Bus>)?;
    i2c.func_wrap("open", |store: Store<'_>, (label,): (WasmStr,)| {
        answer(store, |store| {
            let (board, label) = granted(store, Interface::I2c, &label)?;
            let bus = bus::start(store.data_mut(), board.i2c(&label).map_err(Fault::from)?)?;
            hold(store, Bus(bus))
        })
    })?;
    type Args = (Resource<Bus>, u16, WasmList<Operation>);
    i2c.func_wrap(
        "[method]bus.transaction",
        |store: Store<'_>, (bus, address, operations): Args| {
            answer(store, |store| transaction(store, &bus, address, &operations))
        },
    )
}

fn transaction(
    store: &mut Store<'_>,
    bus: &Resource<Bus>,
    address: u16,
    operations: &WasmList<Operation>,
) -> Result<Vec<Vec<u8>>, Halt<wit::Error>> {
    let address = u8::try_from(address)
        .ok()
        .filter(|address| u16::from(*address) <= MAX_ADDRESS);
    let address = address.ok_or_else(|| Fault::Invalid("an I2C address has seven bits".to_owned()))?;
    let mut parts = parts(store, operations)?;
    let worker = held::<_, wit::Error>(store.data_mut(), bus)?.0.clone();
    let done = bus::run(store.data_mut(), &worker, move |bus| {
        let mut operations: Vec<_> = parts.iter_mut().map(Part::as_operation).collect();
        let done = bus.transaction(address, &mut operations);
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
        parts.push(match operation {
            Operation::Read(count) => {
                bus::add(&mut bytes, usize::try_from(count).unwrap_or(usize::MAX), &limits)?;
                Part::Read(vec![0; count as usize])
            }
            Operation::Write(list) => {
                bus::add(&mut bytes, list.len(), &limits)?;
                Part::Write(list.as_le_slice(&*store).to_vec())
            }
        });
    }
    Ok(parts)
}

impl Part {
    fn as_operation(&mut self) -> HalOperation<'_> {
        match self {
            Self::Read(into) => HalOperation::Read(into),
            Self::Write(bytes) => HalOperation::Write(bytes),
        }
    }

    fn into_read(self) -> Option<Vec<u8>> {
        match self {
            Self::Read(bytes) => Some(bytes),
            Self::Write(_) => None,
        }
    }
}

impl From<Fault> for wit::Error {
    fn from(fault: Fault) -> Self {
        Self::Other(fault.into())
    }
}

impl From<I2cError> for wit::Error {
    fn from(error: I2cError) -> Self {
        let source = |source| match source {
            NoAcknowledgeSource::Address => wit::NoAcknowledgeSource::Address,
            NoAcknowledgeSource::Data => wit::NoAcknowledgeSource::Data,
            NoAcknowledgeSource::Unknown => wit::NoAcknowledgeSource::Unknown,
        };
        match error.kind {
            ErrorKind::Bus => Self::Bus,
            ErrorKind::ArbitrationLoss => Self::ArbitrationLoss,
            ErrorKind::NoAcknowledge(of) => Self::NoAcknowledge(source(of)),
            ErrorKind::Overrun => Self::Overrun,
            _ => Self::Other(Fault::Io(error.to_string()).into()),
        }
    }
}
