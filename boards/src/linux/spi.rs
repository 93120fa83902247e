//! SPI devices: `/dev/spidev*`.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use embedded_hal::spi::{ErrorKind, ErrorType, Operation, SpiDevice};

use super::sys::{self, SPI_TRANSFERS, SpiStep};
use super::system::Claim;
use crate::SpiError;

/// Open device.
pub(super) struct Device {
    file: File,
    _claim: Claim,
}

impl Device {
    pub(super) fn open(node: &Path, mode: u8, hertz: u32, claim: Claim) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(node)?;
        sys::spi_settings(&file, mode, hertz)?;
        Ok(Self { file, _claim: claim })
    }
}

impl ErrorType for Device {
    type Error = SpiError;
}

impl SpiDevice for Device {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), SpiError> {
        let mut both = transfers(operations);
        let mut steps = steps(operations, &mut both);
        if steps.len() > SPI_TRANSFERS {
            return Err(SpiError {
                kind: ErrorKind::Other,
                reason: format!("a transaction has at most {SPI_TRANSFERS} operations"),
            });
        }
        sys::spi(&self.file, &mut steps).map_err(|error| failure(&error))?;
        drop(steps);
        let mut both = both.into_iter();
        for operation in operations {
            if let Operation::Transfer(read, _) = operation
                && let Some(bytes) = both.next()
            {
                read.iter_mut().zip(bytes).for_each(|(into, byte)| *into = byte);
            }
        }
        Ok(())
    }
}

/// Returns the buffers of transfers: their two sides may differ in length, and zeros complete the shorter one.
fn transfers(operations: &[Operation<'_, u8>]) -> Vec<Vec<u8>> {
    let mut both = Vec::new();
    for operation in operations {
        if let Operation::Transfer(read, write) = operation {
            let mut bytes = write.to_vec();
            bytes.resize(read.len().max(write.len()), 0);
            both.push(bytes);
        }
    }
    both
}

fn steps<'a>(operations: &'a mut [Operation<'_, u8>], both: &'a mut [Vec<u8>]) -> Vec<SpiStep<'a>> {
    let mut both = both.iter_mut();
    let mut steps = Vec::with_capacity(operations.len());
    for operation in operations {
        match operation {
            Operation::Read(into) => steps.push(SpiStep::Read(into)),
            Operation::Write(from) => steps.push(SpiStep::Write(from)),
            Operation::Transfer(..) => steps.extend(both.next().map(|bytes| SpiStep::Both(bytes))),
            Operation::TransferInPlace(bytes) => steps.push(SpiStep::Both(bytes)),
            Operation::DelayNs(nanoseconds) => {
                let mut left = nanoseconds.div_ceil(1000);
                while left > 0 {
                    let now = u16::try_from(left).unwrap_or(u16::MAX);
                    steps.push(SpiStep::Delay(now));
                    left -= u32::from(now);
                }
            }
        }
    }
    steps
}

fn failure(error: &io::Error) -> SpiError {
    let reason = match error.raw_os_error() {
        Some(libc::EMSGSIZE) => {
            "the transaction is larger than the kernel's parameter spidev.bufsiz".to_owned()
        }
        Some(libc::ETIMEDOUT) => "the bus hangs".to_owned(),
        _ => format!("the transaction failed ({error})"),
    };
    SpiError {
        kind: ErrorKind::Other,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_as_long_as_its_longer_side_and_delays_are_split() {
        let mut read = [0; 3];
        let mut operations = [
            Operation::Transfer(&mut read, &[1]),
            Operation::DelayNs(100_000_001),
            Operation::Write(&[5]),
        ];
        let mut both = transfers(&operations);
        assert_eq!(both, [[1, 0, 0]]);
        let steps = steps(&mut operations, &mut both);
        let delays: Vec<_> = steps
            .iter()
            .filter_map(|step| {
                if let SpiStep::Delay(us) = step {
                    Some(*us)
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(delays, [u16::MAX, (100_001_u32 - 65_535) as u16]);
    }

    #[test]
    fn a_transaction_that_is_too_large_names_the_kernels_parameter() {
        let error = failure(&io::Error::from_raw_os_error(libc::EMSGSIZE));
        assert!(error.to_string().contains("spidev.bufsiz"), "{error}");
    }
}
