//! Measures temperature, humidity and pressure with a BME280, through a driver from crates.io that was not
//! written for this platform.

use bme280_rs::{Bme280, Configuration, Oversampling, SensorMode};
use iottly_firmware::prelude::*;

struct Sensor {
    bme280: Bme280<i2c::Bus, clock::Delay>,
}

impl Firmware for Sensor {
    fn init() -> Result<Self, Fault> {
        let mut bme280 = Bme280::new(i2c::open("sensors")?, clock::Delay);
        bme280.init()?;
        bme280.set_sampling_configuration(
            Configuration::default()
                .with_temperature_oversampling(Oversampling::Oversample1)
                .with_humidity_oversampling(Oversampling::Oversample1)
                .with_pressure_oversampling(Oversampling::Oversample1)
                .with_sensor_mode(SensorMode::Normal),
        )?;
        Ok(Self { bme280 })
    }

    fn tick(&mut self, _now_ms: u64) -> Result<Duration, Fault> {
        let sample = self.bme280.read_sample()?;
        send_msg(&json!({
            "celsius": sample.temperature.map(tenths),
            "humidity": sample.humidity.map(tenths),
            "hectopascal": sample.pressure.map(|pascal| tenths(pascal / 100.0)),
        }))?;
        Ok(Duration::from_secs(2))
    }
}

fn tenths(value: f32) -> f64 {
    (f64::from(value) * 10.0).round() / 10.0
}

iottly_firmware::firmware!(Sensor);
