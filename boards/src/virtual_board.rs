use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use embedded_hal::digital::{ErrorType, InputPin, OutputPin, StatefulOutputPin};

/// A board in memory with named pins, all low at first.
#[derive(Debug, Clone, Default)]
pub struct VirtualBoard {
    pins: BTreeMap<String, VirtualPin>,
}

/// The board has no pin of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the board has no pin {0:?}")]
pub struct NoSuchPin(String);

/// One pin. Clones are the same pin, seen from the board's and from the world's side.
#[derive(Debug, Clone, Default)]
pub struct VirtualPin {
    high: Arc<AtomicBool>,
}

impl VirtualBoard {
    /// A board with pins of these names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { pins: names.into_iter().map(|name| (name.to_owned(), VirtualPin::default())).collect() }
    }

    /// The pin called `name`.
    ///
    /// # Errors
    /// [`NoSuchPin`].
    pub fn pin(&self, name: &str) -> Result<VirtualPin, NoSuchPin> {
        self.pins.get(name).cloned().ok_or_else(|| NoSuchPin(name.to_owned()))
    }

    /// Names and levels of all pins, by name; true is high.
    pub fn levels(&self) -> impl Iterator<Item = (&str, bool)> {
        self.pins.iter().map(|(name, pin)| (name.as_str(), pin.high.load(Ordering::Acquire)))
    }
}

impl ErrorType for VirtualPin {
    type Error = Infallible;
}

impl OutputPin for VirtualPin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.high.store(false, Ordering::Release);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.high.store(true, Ordering::Release);
        Ok(())
    }
}

impl StatefulOutputPin for VirtualPin {
    fn is_set_high(&mut self) -> Result<bool, Infallible> {
        Ok(self.high.load(Ordering::Acquire))
    }

    fn is_set_low(&mut self) -> Result<bool, Infallible> {
        Ok(!self.high.load(Ordering::Acquire))
    }
}

impl InputPin for VirtualPin {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        self.is_set_high()
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        self.is_set_low()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(button: &mut impl InputPin<Error = Infallible>, led: &mut impl OutputPin<Error = Infallible>) {
        let Ok(pressed) = button.is_high();
        let Ok(()) = led.set_state(pressed.into());
    }

    #[test]
    fn code_for_embedded_hal_drives_it() {
        let board = VirtualBoard::new(["button", "led"]);
        let (mut button, mut led, mut finger) =
            (board.pin("button").unwrap(), board.pin("led").unwrap(), board.pin("button").unwrap());
        let Ok(()) = finger.set_high();
        follow(&mut button, &mut led);
        assert_eq!(board.levels().collect::<Vec<_>>(), [("button", true), ("led", true)]);
        let Ok(()) = finger.toggle();
        follow(&mut button, &mut led);
        assert_eq!(board.levels().collect::<Vec<_>>(), [("button", false), ("led", false)]);
    }

    #[test]
    fn an_unknown_pin_is_named() {
        assert_eq!(VirtualBoard::new(["led"]).pin("lamp").unwrap_err().to_string(), "the board has no pin \"lamp\"");
    }
}
