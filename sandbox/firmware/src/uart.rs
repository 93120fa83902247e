//! Serial ports by label.

use crate::bindings::iottly::firmware::uart;
use crate::{Fault, Source, device};

pub use crate::bindings::iottly::firmware::uart::{Error, Parity, Settings};

/// Open serial port.
#[derive(Debug)]
pub struct Port(uart::Port);

/// Opens a port with eight data bits, no parity and one stop bit.
///
/// # Errors
/// As [`gpio::output`](crate::gpio::output).
pub fn open(label: &str, baud: u32) -> Result<Port, Fault> {
    open_with(
        label,
        Settings {
            baud,
            parity: Parity::None,
            stop_bits: 1,
        },
    )
}

/// Opens a port.
///
/// # Errors
/// As [`gpio::output`](crate::gpio::output).
pub fn open_with(label: &str, settings: Settings) -> Result<Port, Fault> {
    device::require("a serial port")?;
    uart::open(label, settings).map(Port)
}

impl Port {
    /// Writes all of these bytes.
    ///
    /// # Errors
    /// The error of the line.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.write(bytes)
    }

    /// Returns the bytes that have arrived, at most `max`, without waiting.
    ///
    /// # Errors
    /// The error of the line.
    pub fn read(&mut self, max: usize) -> Result<Vec<u8>, Error> {
        self.0.read(u32::try_from(max).unwrap_or(u32::MAX))
    }

    /// Subscribes to arriving bytes; the next event comes after a [`Port::read`].
    ///
    /// # Errors
    /// [`Fault::Limit`] if the firmware has too many subscriptions.
    pub fn watch(&self) -> Result<Source, Fault> {
        self.0.watch().map(Source)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Other(fault) => fault,
            error => Self::Io(format!("uart: {error:?}")),
        }
    }
}
