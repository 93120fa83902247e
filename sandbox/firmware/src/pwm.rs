//! Outputs with pulse-width modulation, by label.

use embedded_hal::pwm::{ErrorType, SetDutyCycle};

use crate::bindings::iottly::firmware::pwm;
use crate::{Fault, device};

/// PWM output. Its signal continues when it is dropped.
#[derive(Debug)]
pub struct Output(pwm::Output);

/// Opens an output with a frequency in hertz, switched off at first.
///
/// # Errors
/// As [`gpio::output`](crate::gpio::output).
pub fn open(label: &str, hertz: u32) -> Result<Output, Fault> {
    device::require("a PWM output")?;
    pwm::open(label, hertz).map(Output)
}

impl Output {
    /// Changes the frequency, in hertz.
    ///
    /// # Errors
    /// [`Fault::Unsupported`] if the output cannot make it.
    pub fn set_frequency(&mut self, hertz: u32) -> Result<(), Fault> {
        self.0.set_frequency(hertz)
    }
}

impl ErrorType for Output {
    type Error = Fault;
}

impl SetDutyCycle for Output {
    fn max_duty_cycle(&self) -> u16 {
        u16::MAX
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), Fault> {
        self.0.set_duty(duty)
    }
}
