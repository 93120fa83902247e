use std::time::Instant;

use embedded_hal::digital::{InputPin, StatefulOutputPin};
use embedded_hal::i2c::I2c;
use embedded_hal::pwm::SetDutyCycle;
use embedded_hal::spi::SpiDevice;

use crate::{BoardError, I2cError, SpiError, UartError};

/// A digital output; it keeps its level when it is dropped.
pub type OutputPort = Box<dyn StatefulOutputPin<Error = BoardError> + Send>;
/// A digital input.
pub type InputPort = Box<dyn DigitalInput>;
/// An I2C bus with 7-bit addresses.
pub type I2cBus = Box<dyn I2c<Error = I2cError> + Send>;
/// One device on an SPI bus.
pub type SpiPort = Box<dyn SpiDevice<Error = SpiError> + Send>;
/// A serial port.
pub type SerialPort = Box<dyn Uart>;
/// A PWM output; it keeps going when it is dropped.
pub type PwmPort = Box<dyn PwmOutput>;
/// An analog input.
pub type AnalogPort = Box<dyn AnalogInput>;

/// Called from any thread when something happened, with the time it did. Must not block.
pub type Tell = Box<dyn Fn(Instant) + Send + Sync>;

/// Keeps a subscription alive; dropping it ends the calls.
pub struct Watch(#[allow(dead_code, reason = "held for its drop")] Box<dyn Send>);

impl Watch {
    /// A subscription that ends when `guard` is dropped.
    #[must_use]
    pub fn new(guard: impl Send + 'static) -> Self {
        Self(Box::new(guard))
    }
}

/// Something that firmware can run on. All methods may be called from any thread.
///
/// Everything but an I2C bus has one owner at a time: opening it again before it is dropped is
/// [`BoardError::InUse`]. A label that does not exist is [`BoardError::Missing`].
pub trait Board: Send + Sync {
    /// The kind of board, for example `virtual`.
    fn kind(&self) -> &str;

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

    /// Opens an I2C bus; any number of times.
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
    /// [`BoardError`]; no such port, in use, or settings it does not have.
    fn uart(&self, label: &str, settings: SerialSettings) -> Result<SerialPort, BoardError>;

    /// Opens a PWM output with duty 0.
    ///
    /// # Errors
    /// [`BoardError`]; no such output, in use, or a frequency it cannot make.
    fn pwm(&self, label: &str, hertz: u32) -> Result<PwmPort, BoardError>;

    /// Opens an analog input.
    ///
    /// # Errors
    /// [`BoardError`]; no such input, or in use.
    fn analog(&self, label: &str) -> Result<AnalogPort, BoardError>;
}

/// A digital input whose changes can be heard of.
pub trait DigitalInput: InputPin<Error = BoardError> + Send {
    /// Calls `tell` at every such edge until the result is dropped.
    ///
    /// # Errors
    /// [`BoardError`] when the pin cannot be watched.
    fn watch(&mut self, edge: Edge, tell: Tell) -> Result<Watch, BoardError>;
}

/// A serial port, eight data bits.
pub trait Uart: Send {
    /// Takes what has arrived, without waiting. Answers how many bytes, 0 when there are none.
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
    /// [`BoardError`] when the port cannot be watched.
    fn watch(&mut self, tell: Tell) -> Result<Watch, BoardError>;
}

/// A PWM output.
pub trait PwmOutput: SetDutyCycle<Error = BoardError> + Send {
    /// Sets the number of periods a second.
    ///
    /// # Errors
    /// [`BoardError::Unsupported`] for a frequency it cannot make.
    fn set_frequency(&mut self, hertz: u32) -> Result<(), BoardError>;
}

/// An analog input.
pub trait AnalogInput: Send {
    /// The voltage in microvolts.
    ///
    /// # Errors
    /// [`BoardError`].
    fn read_microvolts(&mut self) -> Result<i32, BoardError>;
}

/// A change of a pin's level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// From low to high.
    Rising,
    /// From high to low.
    Falling,
}

/// What an input is at when nothing drives it.
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

/// The parity bit of a serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parity {
    /// There is none.
    #[default]
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// How a serial port is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SerialSettings {
    /// Bits a second.
    pub baud: u32,
    /// The parity bit.
    pub parity: Parity,
    /// 1 or 2.
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
