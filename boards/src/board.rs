//! Interface of a board: its parts by label, behind the traits of embedded-hal. Implementations are
//! elsewhere.

use std::any::Any;
use std::time::Instant;

use embedded_hal::digital::{InputPin, StatefulOutputPin};
use embedded_hal::i2c::I2c;
use embedded_hal::pwm::SetDutyCycle;
use embedded_hal::spi::SpiDevice;

use crate::{BoardError, I2cError, Part, SpiError, UartError};

/// Digital output; its level stays when it is dropped.
pub type OutputPort = Box<dyn StatefulOutputPin<Error = BoardError> + Send>;
/// Digital input.
pub type InputPort = Box<dyn DigitalInput>;
/// I2C bus with 7-bit addresses.
pub type I2cBus = Box<dyn I2c<Error = I2cError> + Send>;
/// Device on an SPI bus.
pub type SpiPort = Box<dyn SpiDevice<Error = SpiError> + Send>;
/// Serial port.
pub type SerialPort = Box<dyn Uart>;
/// PWM output; its signal continues when it is dropped.
pub type PwmPort = Box<dyn PwmOutput>;
/// Analog input.
pub type AnalogPort = Box<dyn AnalogInput>;

/// Callback for an event, with the time of the event. Called from any thread; must not block.
pub type Tell = Box<dyn Fn(Instant) + Send + Sync>;

/// Subscription to events; dropping it ends the calls.
pub struct Watch(#[allow(dead_code, reason = "held for its drop")] Box<dyn Send>);

impl Watch {
    /// Returns a subscription that ends when `guard` is dropped.
    #[must_use]
    pub fn new(guard: impl Send + 'static) -> Self {
        Self(Box::new(guard))
    }
}

/// Hardware that firmware can run on. All methods may be called from any thread.
///
/// Every part but an I2C bus has one owner at a time: opening it again before it is dropped is
/// [`BoardError::InUse`]. A label that does not exist is [`BoardError::Missing`].
pub trait Board: Send + Sync {
    /// Returns the kind of board, for example `virtual`.
    fn kind(&self) -> &str;

    /// Returns the parts, and which of them are free.
    fn parts(&self) -> Vec<Part>;

    /// Returns the board if it exists in memory only: people can see it and touch it from afar. Real hardware never
    /// is one.
    fn in_memory(&self) -> Option<&dyn Any> {
        None
    }

    /// Returns all labels of the device that a label of an interface means, this one among them.
    fn names(&self, _interface: &str, label: &str) -> Vec<String> {
        vec![label.to_owned()]
    }

    /// Opens a pin as an output and drives it high or low at once.
    ///
    /// # Errors
    /// [`BoardError`]; no such pin, in use, or not an output.
    fn output(&self, label: &str, high: bool) -> Result<OutputPort, BoardError>;

    /// Opens a pin as an input.
    ///
    /// # Errors
    /// [`BoardError`]; no such pin, in use, or not an input.
    fn input(&self, label: &str, pull: Pull) -> Result<InputPort, BoardError>;

    /// Opens an I2C bus; may be called any number of times.
    ///
    /// # Errors
    /// [`BoardError`]; no such bus.
    fn i2c(&self, label: &str) -> Result<I2cBus, BoardError>;

    /// Opens an SPI device.
    ///
    /// # Errors
    /// [`BoardError`]; no such device, or in use.
    fn spi(&self, label: &str) -> Result<SpiPort, BoardError>;

    /// Opens a serial port.
    ///
    /// # Errors
    /// [`BoardError`]; no such port, in use, or settings that it does not have.
    fn uart(&self, label: &str, settings: SerialSettings) -> Result<SerialPort, BoardError>;

    /// Opens a PWM output with duty 0.
    ///
    /// # Errors
    /// [`BoardError`]; no such output, in use, or a frequency that it cannot make.
    fn pwm(&self, label: &str, hertz: u32) -> Result<PwmPort, BoardError>;

    /// Opens an analog input.
    ///
    /// # Errors
    /// [`BoardError`]; no such input, or in use.
    fn analog(&self, label: &str) -> Result<AnalogPort, BoardError>;
}

/// Digital input whose changes can be watched.
pub trait DigitalInput: InputPin<Error = BoardError> + Send {
    /// Calls `tell` at every such edge until the result is dropped.
    ///
    /// # Errors
    /// [`BoardError`] if the pin cannot be watched.
    fn watch(&mut self, edge: Edge, tell: Tell) -> Result<Watch, BoardError>;
}

/// Serial port with eight data bits.
pub trait Uart: Send {
    /// Reads what has arrived, without waiting. Returns the number of bytes, 0 if there are none.
    ///
    /// # Errors
    /// [`UartError`].
    fn read(&mut self, into: &mut [u8]) -> Result<usize, UartError>;

    /// Writes all of `data`; waits for the line.
    ///
    /// # Errors
    /// [`UartError`].
    fn write(&mut self, data: &[u8]) -> Result<(), UartError>;

    /// Calls `tell` when bytes have arrived, until the result is dropped; at least once after each `read`
    /// that emptied the port.
    ///
    /// # Errors
    /// [`BoardError`] if the port cannot be watched.
    fn watch(&mut self, tell: Tell) -> Result<Watch, BoardError>;
}

/// PWM output.
pub trait PwmOutput: SetDutyCycle<Error = BoardError> + Send {
    /// Sets the number of periods a second.
    ///
    /// # Errors
    /// [`BoardError::Unsupported`] for a frequency that the output cannot make.
    fn set_frequency(&mut self, hertz: u32) -> Result<(), BoardError>;
}

/// Analog input.
pub trait AnalogInput: Send {
    /// Reads the voltage in microvolts.
    ///
    /// # Errors
    /// [`BoardError`].
    fn read_microvolts(&mut self) -> Result<i32, BoardError>;
}

/// Change of a pin's level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// From low to high.
    Rising,
    /// From high to low.
    Falling,
}

/// Level of an input that nothing drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// Undefined.
    #[default]
    None,
    /// High.
    Up,
    /// Low.
    Down,
}

/// Parity bit of a serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parity {
    /// No parity bit.
    #[default]
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

/// Settings of a serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SerialSettings {
    /// Bits per second.
    pub baud: u32,
    /// Parity bit.
    pub parity: Parity,
    /// Number of stop bits, 1 or 2.
    pub stop_bits: u8,
}

impl Default for SerialSettings {
    fn default() -> Self {
        Self {
            baud: 9600,
            parity: Parity::None,
            stop_bits: 1,
        }
    }
}
