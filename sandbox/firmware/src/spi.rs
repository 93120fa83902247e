//! Devices on SPI buses by label; mode, speed and chip select belong to the label.

use embedded_hal::spi::{ErrorKind, ErrorType, Operation, SpiDevice};

use crate::bindings::iottly::firmware::spi;
use crate::{Fault, device};

pub use crate::bindings::iottly::firmware::spi::Error;

/// SPI device with its chip select.
#[derive(Debug)]
pub struct Device(spi::Device);

/// Opens a device.
///
/// # Errors
/// As [`gpio::output`](crate::gpio::output).
pub fn open(label: &str) -> Result<Device, Fault> {
    device::require("an SPI device")?;
    spi::open(label).map(Device)
}

impl ErrorType for Device {
    type Error = Error;
}

impl SpiDevice for Device {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), Error> {
        let asked: Vec<_> = operations.iter().map(asked).collect();
        let mut answers = self.0.transaction(&asked)?.into_iter();
        for operation in operations {
            let buffer = match operation {
                Operation::Read(buffer)
                | Operation::Transfer(buffer, _)
                | Operation::TransferInPlace(buffer) => buffer,
                Operation::Write(_) | Operation::DelayNs(_) => continue,
            };
            let bytes = answers.next().filter(|bytes| bytes.len() >= buffer.len());
            let bytes =
                bytes.ok_or_else(|| Error::Other(Fault::Io("the bus returned too few bytes".to_owned())))?;
            buffer.copy_from_slice(&bytes[..buffer.len()]);
        }
        Ok(())
    }
}

/// Returns the operation of the world. A transfer's two halves may differ in length: the longer one counts,
/// and zeros are sent in place of missing bytes.
fn asked(operation: &Operation<'_, u8>) -> spi::Operation {
    match operation {
        Operation::Read(buffer) => spi::Operation::Read(u32::try_from(buffer.len()).unwrap_or(u32::MAX)),
        Operation::Write(bytes) => spi::Operation::Write(bytes.to_vec()),
        Operation::Transfer(read, write) => {
            let mut bytes = write.to_vec();
            bytes.resize(write.len().max(read.len()), 0);
            spi::Operation::Transfer(bytes)
        }
        Operation::TransferInPlace(buffer) => spi::Operation::Transfer(buffer.to_vec()),
        Operation::DelayNs(time) => spi::Operation::DelayNs(*time),
    }
}

impl embedded_hal::spi::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Overrun => ErrorKind::Overrun,
            Self::ModeFault => ErrorKind::ModeFault,
            Self::FrameFormat => ErrorKind::FrameFormat,
            Self::ChipSelectFault => ErrorKind::ChipSelectFault,
            Self::TimedOut | Self::Other(_) => ErrorKind::Other,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Other(fault) => fault,
            error => Self::Io(format!("spi: {error:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_are_as_long_as_their_longer_half() {
        let transfer = |read: &mut [u8], write: &[u8]| asked(&Operation::Transfer(read, write));
        assert_eq!(
            transfer(&mut [0; 3], &[1]),
            spi::Operation::Transfer(vec![1, 0, 0])
        );
        assert_eq!(
            transfer(&mut [0; 1], &[1, 2]),
            spi::Operation::Transfer(vec![1, 2])
        );
    }
}
