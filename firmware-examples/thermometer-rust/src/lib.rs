//! Measures the temperature with an LM75 or a TMP105, whose registers are the same, through a driver from crates.io that
//! was not written for this platform.

use iottly_firmware::prelude::*;
use lm75::{Address, Lm75, ic};

struct Thermometer {
    lm75: Lm75<i2c::Bus, ic::Lm75>,
}

impl Firmware for Thermometer {
    fn init() -> Result<Self, Fault> {
        Ok(Self {
            lm75: Lm75::new(i2c::open("sensors")?, Address::default()),
        })
    }

    fn tick(&mut self, _now_ms: u64) -> Result<Duration, Fault> {
        let celsius = self.lm75.read_temperature().map_err(Fault::failed)?;
        send_msg(&json!({ "celsius": celsius }))?;
        Ok(Duration::from_secs(2))
    }
}

iottly_firmware::firmware!(Thermometer);
