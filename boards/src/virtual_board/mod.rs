//! A board in memory. Parts are added by label; the program sets the world around them and reads what
//! firmware does. Touches no hardware.

mod adc;
mod bme280;
mod claim;
mod i2c;
mod pin;
mod pwm;
mod record;
mod registers;
mod script;
mod spi;
mod uart;
mod view;

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    AnalogPort, Board, BoardError, I2cBus, InputPort, OutputPort, Part, Pull, PwmPort, SerialPort,
    SerialSettings, SpiPort, State,
};

pub use bme280::{Bme280, Climate};
pub use i2c::I2cDevice;
pub use record::{Action, Record, Recorded};
pub use registers::RegisterMap;
pub use script::{Input, Script};
pub use spi::{Loopback, SpiPeripheral};
pub use view::{Direction, Fitting, PinView, PwmView, SensorView, View};

/// Board in memory. Clones are the same board.
///
/// ```
/// use iottly_boards::{Board, Pull, VirtualBoard};
/// let board = VirtualBoard::new().with_pin("button");
/// let mut button = board.input("button", Pull::Down)?;
/// board.set_pin("button", true)?;
/// assert!(button.is_high()?);
/// # Ok::<(), iottly_boards::BoardError>(())
/// ```
#[derive(Clone, Default)]
pub struct VirtualBoard {
    parts: Parts,
    record: Record,
    sensors: Vec<view::Sensor>,
    header: Vec<String>,
}

#[derive(Clone, Default)]
struct Parts {
    pins: BTreeMap<String, pin::Pin>,
    i2c: BTreeMap<String, i2c::Bus>,
    spi: BTreeMap<String, spi::Device>,
    uart: BTreeMap<String, uart::Port>,
    pwm: BTreeMap<String, pwm::Output>,
    adc: BTreeMap<String, adc::Channel>,
}

impl VirtualBoard {
    /// Returns a board without parts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a board with parts of every kind: pins `led`, `heater`, `relay` and `button`; I2C bus
    /// `sensors` with a [`Bme280`] at 0x76 and a register map at 0x50; SPI `loop` and UART `loop`, which
    /// return what is written to them; PWM `fan`; analog input `light`.
    #[must_use]
    pub fn standard() -> Self {
        Self::new()
            .with_fitting("led", Fitting::Led)
            .with_fitting("heater", Fitting::Load)
            .with_fitting("relay", Fitting::Load)
            .with_fitting("button", Fitting::Button)
            .with_climate("sensors", 0x76, &Bme280::default())
            .with_i2c("sensors", 0x50, RegisterMap::new(256))
            .with_spi("loop", Loopback)
            .with_uart("loop", true)
            .with_pwm("fan")
            .with_volts("light", "light")
            .with_header(&view::STANDARD_HEADER)
    }

    /// Adds a pin, low at first. Firmware may open it in either direction.
    #[must_use]
    pub fn with_pin(mut self, label: &str) -> Self {
        self.parts.pins.insert(label.to_owned(), pin::Pin::default());
        self
    }

    /// Puts a device on the I2C bus `label`, which is added if it does not exist.
    #[must_use]
    pub fn with_i2c(mut self, label: &str, address: u8, device: impl I2cDevice + 'static) -> Self {
        self.parts
            .i2c
            .entry(label.to_owned())
            .or_default()
            .put(address, Box::new(device));
        self
    }

    /// Adds an SPI device.
    #[must_use]
    pub fn with_spi(mut self, label: &str, device: impl SpiPeripheral + 'static) -> Self {
        self.parts
            .spi
            .insert(label.to_owned(), spi::Device::new(Box::new(device)));
        self
    }

    /// Adds a serial port. With `loopback` it receives what it sends.
    #[must_use]
    pub fn with_uart(mut self, label: &str, loopback: bool) -> Self {
        self.parts
            .uart
            .insert(label.to_owned(), uart::Port::new(loopback));
        self
    }

    /// Adds a PWM output.
    #[must_use]
    pub fn with_pwm(mut self, label: &str) -> Self {
        self.parts.pwm.insert(label.to_owned(), pwm::Output::default());
        self
    }

    /// Adds an analog input at this voltage.
    #[must_use]
    pub fn with_analog(mut self, label: &str, microvolts: i32) -> Self {
        self.parts
            .adc
            .insert(label.to_owned(), adc::Channel::new(microvolts));
        self
    }

    /// Drives a pin from outside and notifies its watchers.
    ///
    /// # Errors
    /// [`BoardError::Missing`].
    pub fn set_pin(&self, label: &str, high: bool) -> Result<(), BoardError> {
        find(&self.parts.pins, "pin", label)?.drive(high);
        Ok(())
    }

    /// Returns the level of a pin; true is high.
    ///
    /// # Errors
    /// [`BoardError::Missing`].
    pub fn pin(&self, label: &str) -> Result<bool, BoardError> {
        Ok(find(&self.parts.pins, "pin", label)?.level())
    }

    /// Returns labels and levels of all pins; true is high.
    pub fn pins(&self) -> impl Iterator<Item = (&str, bool)> {
        self.parts
            .pins
            .iter()
            .map(|(label, pin)| (label.as_str(), pin.level()))
    }

    /// Makes bytes arrive at a serial port. Bytes that do not fit are lost, as on a real line.
    ///
    /// # Errors
    /// [`BoardError::Missing`].
    pub fn receive(&self, label: &str, bytes: &[u8]) -> Result<(), BoardError> {
        find(&self.parts.uart, "serial port", label)?.arrive(bytes);
        Ok(())
    }

    /// Sets the voltage at an analog input.
    ///
    /// # Errors
    /// [`BoardError::Missing`].
    pub fn set_analog(&self, label: &str, microvolts: i32) -> Result<(), BoardError> {
        find(&self.parts.adc, "analog input", label)?.set(microvolts);
        Ok(())
    }

    /// Returns frequency in hertz and duty of 65535 of a PWM output; none before firmware opened it.
    ///
    /// # Errors
    /// [`BoardError::Missing`].
    pub fn pwm_state(&self, label: &str) -> Result<Option<(u32, u16)>, BoardError> {
        Ok(find(&self.parts.pwm, "pwm output", label)?.state())
    }

    /// Makes every transaction on an I2C bus take this long, for tests of timeouts.
    ///
    /// # Errors
    /// [`BoardError::Missing`].
    pub fn slow_i2c(&self, label: &str, by: std::time::Duration) -> Result<(), BoardError> {
        find(&self.parts.i2c, "i2c bus", label)?.slow(by);
        Ok(())
    }

    /// Returns the record of what firmware did to the board.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Applies an input from the outside world.
    ///
    /// # Errors
    /// [`BoardError::Missing`].
    pub fn apply(&self, input: &Input) -> Result<(), BoardError> {
        match input {
            Input::Pin { label, high } => self.set_pin(label, *high),
            Input::Bytes { label, bytes } => self.receive(label, bytes),
            Input::Microvolts { label, microvolts } => self.set_analog(label, *microvolts),
        }
    }
}

impl Board for VirtualBoard {
    fn parts(&self) -> Vec<Part> {
        let Parts {
            pins,
            i2c,
            spi,
            uart,
            pwm,
            adc,
        } = &self.parts;
        let part = |interface, label: &String| Part::new(interface, label, "memory".to_owned(), State::Free);
        (pins.keys().map(|label| part("gpio", label)))
            .chain(i2c.keys().map(|label| part("i2c", label)))
            .chain(spi.keys().map(|label| part("spi", label)))
            .chain(uart.keys().map(|label| part("uart", label)))
            .chain(pwm.keys().map(|label| part("pwm", label)))
            .chain(adc.keys().map(|label| part("adc", label)))
            .collect()
    }

    fn kind(&self) -> &str {
        "virtual"
    }

    fn in_memory(&self) -> Option<&dyn Any> {
        Some(self)
    }

    fn output(&self, label: &str, high: bool) -> Result<OutputPort, BoardError> {
        find(&self.parts.pins, "pin", label)?.output(label, high, &self.record)
    }

    fn input(&self, label: &str, pull: Pull) -> Result<InputPort, BoardError> {
        find(&self.parts.pins, "pin", label)?.input(label, pull)
    }

    fn i2c(&self, label: &str) -> Result<I2cBus, BoardError> {
        Ok(Box::new(find(&self.parts.i2c, "i2c bus", label)?.clone()))
    }

    fn spi(&self, label: &str) -> Result<SpiPort, BoardError> {
        find(&self.parts.spi, "spi device", label)?.open(label)
    }

    fn uart(&self, label: &str, settings: SerialSettings) -> Result<SerialPort, BoardError> {
        find(&self.parts.uart, "serial port", label)?.open(label, settings, &self.record)
    }

    fn pwm(&self, label: &str, hertz: u32) -> Result<PwmPort, BoardError> {
        find(&self.parts.pwm, "pwm output", label)?.open(label, hertz, &self.record)
    }

    fn analog(&self, label: &str) -> Result<AnalogPort, BoardError> {
        find(&self.parts.adc, "analog input", label)?.open(label)
    }
}

fn find<'a, T>(parts: &'a BTreeMap<String, T>, what: &'static str, label: &str) -> Result<&'a T, BoardError> {
    parts.get(label).ok_or_else(|| BoardError::Missing {
        what,
        label: label.to_owned(),
    })
}

/// Locks a mutex, poisoned or not: a panic elsewhere leaves plain values behind, which stay usable.
fn locked<T>(mutex: &Arc<Mutex<T>>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
