//! I2C buses of the virtual board.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

use super::locked;
use crate::I2cError;

/// Device on a virtual I2C bus. A transaction is a sequence of these calls, ended by `stop`.
pub trait I2cDevice: Send {
    /// Accepts written bytes; returns false if the device does not acknowledge them.
    fn write(&mut self, bytes: &[u8]) -> bool;
    /// Fills `into` with the device's answer.
    fn read(&mut self, into: &mut [u8]);
    /// Ends the transaction.
    fn stop(&mut self) {}
}

/// Bus with its devices. Clones are the same bus.
#[derive(Clone, Default)]
pub(super) struct Bus {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    devices: BTreeMap<u8, Box<dyn I2cDevice>>,
    delay: Duration,
}

impl Bus {
    pub(super) fn put(&mut self, address: u8, device: Box<dyn I2cDevice>) {
        locked(&self.inner).devices.insert(address, device);
    }

    pub(super) fn slow(&self, by: Duration) {
        locked(&self.inner).delay = by;
    }
}

impl ErrorType for Bus {
    type Error = I2cError;
}

impl I2c for Bus {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), I2cError> {
        let delay = locked(&self.inner).delay;
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        let mut inner = locked(&self.inner);
        let device = inner.devices.get_mut(&address).ok_or_else(|| {
            refused(
                NoAcknowledgeSource::Address,
                format!("no device at address {address:#04x}"),
            )
        })?;
        for operation in operations {
            match operation {
                Operation::Read(into) => device.read(into),
                Operation::Write(bytes) => {
                    if !device.write(bytes) {
                        let reason = format!("the device at {address:#04x} refused {} bytes", bytes.len());
                        return Err(refused(NoAcknowledgeSource::Data, reason));
                    }
                }
            }
        }
        device.stop();
        Ok(())
    }
}

fn refused(source: NoAcknowledgeSource, reason: String) -> I2cError {
    I2cError {
        kind: ErrorKind::NoAcknowledge(source),
        reason,
    }
}
