//! A register map as an I2C device.

use std::sync::{Arc, Mutex};

use super::{I2cDevice, locked};

/// Device with byte registers: the first written byte selects a register, further bytes are stored from there
/// on, reads continue from there, and the end wraps around. Clones are the same device.
#[derive(Debug, Clone)]
pub struct RegisterMap {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    bytes: Vec<u8>,
    at: usize,
}

impl RegisterMap {
    /// Returns a device with so many registers, 1 to 256, all zero.
    #[must_use]
    pub fn new(registers: usize) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                bytes: vec![0; registers.clamp(1, 256)],
                at: 0,
            })),
        }
    }

    /// Sets a register from outside. A register that does not exist is ignored.
    pub fn set(&self, register: u8, value: u8) {
        if let Some(byte) = locked(&self.inner).bytes.get_mut(usize::from(register)) {
            *byte = value;
        }
    }

    /// Returns the value of a register, if it exists.
    #[must_use]
    pub fn get(&self, register: u8) -> Option<u8> {
        locked(&self.inner).bytes.get(usize::from(register)).copied()
    }
}

impl Inner {
    fn step(&mut self) -> usize {
        let at = self.at % self.bytes.len();
        self.at = at + 1;
        at
    }
}

impl I2cDevice for RegisterMap {
    fn write(&mut self, bytes: &[u8]) -> bool {
        let mut inner = locked(&self.inner);
        let Some((register, values)) = bytes.split_first() else {
            return true;
        };
        if usize::from(*register) >= inner.bytes.len() {
            return false;
        }
        inner.at = usize::from(*register);
        for value in values {
            let at = inner.step();
            inner.bytes[at] = *value;
        }
        true
    }

    fn read(&mut self, into: &mut [u8]) {
        let mut inner = locked(&self.inner);
        for byte in into {
            let at = inner.step();
            *byte = inner.bytes[at];
        }
    }
}
