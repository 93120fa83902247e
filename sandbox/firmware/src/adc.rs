//! Analog inputs by label.

use crate::bindings::iottly::firmware::adc;
use crate::{Fault, device};

/// Analog input.
#[derive(Debug)]
pub struct Input(adc::Input);

/// Opens an input.
///
/// # Errors
/// As [`gpio::output`](crate::gpio::output).
pub fn open(label: &str) -> Result<Input, Fault> {
    device::require("an analog input")?;
    adc::open(label).map(Input)
}

impl Input {
    /// Reads the voltage in microvolts.
    ///
    /// # Errors
    /// [`Fault::Io`] if the input cannot be read.
    pub fn read(&mut self) -> Result<i32, Fault> {
        self.0.read()
    }
}
