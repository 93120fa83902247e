//! Constructors of faults.

use core::fmt;

pub use crate::bindings::iottly::firmware::types::Fault;

impl Fault {
    /// Returns a fault of the firmware's own code, for example of a driver:
    /// `sensor.read().map_err(Fault::failed)?`.
    pub fn failed(reason: impl fmt::Debug) -> Self {
        Self::Failed(format!("{reason:?}"))
    }

    /// Returns a fault of the caller's input.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }
}

impl embedded_hal::digital::Error for Fault {
    fn kind(&self) -> embedded_hal::digital::ErrorKind {
        embedded_hal::digital::ErrorKind::Other
    }
}

impl embedded_hal::pwm::Error for Fault {
    fn kind(&self) -> embedded_hal::pwm::ErrorKind {
        embedded_hal::pwm::ErrorKind::Other
    }
}
