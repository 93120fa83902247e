//! I2C buses by label.

use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

use crate::bindings::iottly::firmware::i2c;
use crate::{Fault, device};

pub use crate::bindings::iottly::firmware::i2c::Error;

/// I2C bus with all its devices.
#[derive(Debug)]
pub struct Bus(i2c::Bus);

/// Opens a bus.
///
/// # Errors
/// As [`gpio::output`](crate::gpio::output).
pub fn open(label: &str) -> Result<Bus, Fault> {
    device::require("an I2C bus")?;
    i2c::open(label).map(Bus)
}

impl ErrorType for Bus {
    type Error = Error;
}

impl I2c for Bus {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), Error> {
        let asked: Vec<_> = operations
            .iter()
            .map(|operation| match operation {
                Operation::Read(buffer) => {
                    i2c::Operation::Read(u32::try_from(buffer.len()).unwrap_or(u32::MAX))
                }
                Operation::Write(bytes) => i2c::Operation::Write(bytes.to_vec()),
            })
            .collect();
        let mut answers = self.0.transaction(address.into(), &asked)?.into_iter();
        for operation in operations {
            if let Operation::Read(buffer) = operation {
                let bytes = answers.next().filter(|bytes| bytes.len() == buffer.len());
                buffer.copy_from_slice(
                    &bytes.ok_or_else(|| {
                        Error::Other(Fault::Io("the bus returned too few bytes".to_owned()))
                    })?,
                );
            }
        }
        Ok(())
    }
}

impl embedded_hal::i2c::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Bus => ErrorKind::Bus,
            Self::ArbitrationLoss => ErrorKind::ArbitrationLoss,
            Self::NoAcknowledge(source) => ErrorKind::NoAcknowledge(match source {
                i2c::NoAcknowledgeSource::Address => NoAcknowledgeSource::Address,
                i2c::NoAcknowledgeSource::Data => NoAcknowledgeSource::Data,
                i2c::NoAcknowledgeSource::Unknown => NoAcknowledgeSource::Unknown,
            }),
            Self::Overrun => ErrorKind::Overrun,
            Self::TimedOut | Self::Other(_) => ErrorKind::Other,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Other(fault) => fault,
            error => Self::Io(format!("i2c: {error:?}")),
        }
    }
}
