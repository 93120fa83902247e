//! Digital pins by label. High is active, whatever the wiring.

use embedded_hal::digital::{ErrorType, InputPin, OutputPin, StatefulOutputPin};

use crate::bindings::iottly::firmware::gpio;
use crate::{Fault, Source, device};

pub use crate::bindings::iottly::firmware::gpio::{Edge, Level, Pull};

/// Pin that the firmware drives. Its level stays when it is dropped.
#[derive(Debug)]
pub struct Output(gpio::OutputPin);

/// Pin that is driven from outside.
#[derive(Debug)]
pub struct Input(gpio::InputPin);

/// Opens a pin as an output and drives it low.
///
/// # Errors
/// [`Fault::Denied`] if the manifest does not name the label or the device does not grant it,
/// [`Fault::Unsupported`] if the board has no such output, [`Fault::Busy`] if it is open already.
pub fn output(label: &str) -> Result<Output, Fault> {
    output_at(label, Level::Low)
}

/// Opens a pin as an output and drives it to a level at once.
///
/// # Errors
/// As [`output`].
pub fn output_at(label: &str, level: Level) -> Result<Output, Fault> {
    device::require("a pin")?;
    gpio::open_output(label, level).map(Output)
}

/// Opens a pin as an input.
///
/// # Errors
/// As [`output`].
pub fn input(label: &str, pull: Pull) -> Result<Input, Fault> {
    device::require("a pin")?;
    gpio::open_input(label, pull).map(Input)
}

impl Input {
    /// Subscribes to every such edge, until the pin is dropped.
    ///
    /// # Errors
    /// [`Fault::Unsupported`] if the board cannot watch this pin, [`Fault::Limit`] if the firmware has too
    /// many subscriptions.
    pub fn watch(&self, edge: Edge) -> Result<Source, Fault> {
        self.0.watch(edge).map(Source)
    }
}

impl ErrorType for Output {
    type Error = Fault;
}

impl OutputPin for Output {
    fn set_low(&mut self) -> Result<(), Fault> {
        self.0.set(Level::Low)
    }

    fn set_high(&mut self) -> Result<(), Fault> {
        self.0.set(Level::High)
    }
}

impl StatefulOutputPin for Output {
    fn is_set_high(&mut self) -> Result<bool, Fault> {
        Ok(self.0.get()? == Level::High)
    }

    fn is_set_low(&mut self) -> Result<bool, Fault> {
        Ok(self.0.get()? == Level::Low)
    }

    fn toggle(&mut self) -> Result<(), Fault> {
        self.0.toggle()
    }
}

impl ErrorType for Input {
    type Error = Fault;
}

impl InputPin for Input {
    fn is_high(&mut self) -> Result<bool, Fault> {
        Ok(self.0.get()? == Level::High)
    }

    fn is_low(&mut self) -> Result<bool, Fault> {
        Ok(self.0.get()? == Level::Low)
    }
}
