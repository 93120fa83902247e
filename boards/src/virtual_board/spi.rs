//! SPI devices of the virtual board.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use embedded_hal::spi::{ErrorType, Operation, SpiDevice};

use super::claim::{Claim, Owner};
use super::locked;
use crate::{BoardError, SpiError, SpiPort};

/// Device on a virtual SPI bus.
pub trait SpiPeripheral: Send {
    /// Exchanges one byte while selected.
    fn exchange(&mut self, byte: u8) -> u8;
    /// Selects the device.
    fn select(&mut self) {}
    /// Deselects the device.
    fn release(&mut self) {}
}

/// Wire from output to input, which returns every byte.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loopback;

impl SpiPeripheral for Loopback {
    fn exchange(&mut self, byte: u8) -> u8 {
        byte
    }
}

#[derive(Clone)]
pub(super) struct Device {
    peripheral: Arc<Mutex<Box<dyn SpiPeripheral>>>,
    owner: Owner,
}

impl Device {
    pub(super) fn new(peripheral: Box<dyn SpiPeripheral>) -> Self {
        Self {
            peripheral: Arc::new(Mutex::new(peripheral)),
            owner: Owner::default(),
        }
    }

    pub(super) fn open(&self, label: &str) -> Result<SpiPort, BoardError> {
        let claim = self.owner.claim(label)?;
        Ok(Box::new(Open {
            peripheral: Arc::clone(&self.peripheral),
            _claim: claim,
        }))
    }
}

struct Open {
    peripheral: Arc<Mutex<Box<dyn SpiPeripheral>>>,
    _claim: Claim,
}

impl ErrorType for Open {
    type Error = SpiError;
}

impl SpiDevice for Open {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), SpiError> {
        let mut peripheral = locked(&self.peripheral);
        peripheral.select();
        for operation in operations {
            match operation {
                Operation::Read(into) => into.iter_mut().for_each(|byte| *byte = peripheral.exchange(0)),
                Operation::Write(bytes) => {
                    for byte in *bytes {
                        peripheral.exchange(*byte);
                    }
                }
                Operation::Transfer(into, from) => {
                    for at in 0..into.len().max(from.len()) {
                        let answer = peripheral.exchange(from.get(at).copied().unwrap_or(0));
                        if let Some(byte) = into.get_mut(at) {
                            *byte = answer;
                        }
                    }
                }
                Operation::TransferInPlace(bytes) => bytes
                    .iter_mut()
                    .for_each(|byte| *byte = peripheral.exchange(*byte)),
                Operation::DelayNs(nanoseconds) => {
                    thread::sleep(Duration::from_nanos(u64::from(*nanoseconds)))
                }
            }
        }
        peripheral.release();
        Ok(())
    }
}
