use core::fmt;

pub use crate::bindings::iottly::firmware::types::Fault;

impl Fault {
    /// Something of the firmware's own failed, for example a driver: `sensor.read().map_err(Fault::failed)?`.
    pub fn failed(reason: impl fmt::Debug) -> Self {
        Self::Failed(format!("{reason:?}"))
    }

    /// The caller passed something unusable.
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
