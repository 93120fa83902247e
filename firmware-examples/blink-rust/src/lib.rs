//! Blinks the LED twice a second.

use iottly_firmware::prelude::*;

struct Blink {
    led: gpio::Output,
}

impl Firmware for Blink {
    fn init() -> Result<Self, Fault> {
        Ok(Self {
            led: gpio::output("led")?,
        })
    }

    fn tick(&mut self, _now_ms: u64) -> Result<Duration, Fault> {
        self.led.toggle()?;
        Ok(Duration::from_millis(250))
    }
}

iottly_firmware::firmware!(Blink);
