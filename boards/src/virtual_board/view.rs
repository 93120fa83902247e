//! View of a virtual board: what a person beside it would see, and would touch.

use super::{Bme280, Climate, VirtualBoard, find};
use crate::{Board, BoardError};

/// Thing that is wired to a pin of a virtual board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fitting {
    /// Nothing.
    #[default]
    Nothing,
    /// Light that is on while the pin is high.
    Led,
    /// Button that a person presses.
    Button,
    /// Load that is switched on while the pin is high, such as a heater.
    Load,
}

/// Use that firmware makes of a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// The pin is not open.
    #[default]
    Free,
    /// Firmware reads the pin.
    Input,
    /// Firmware drives the pin.
    Output,
}

/// State of a pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinView {
    /// Label of the pin.
    pub label: String,
    /// Thing that is wired to the pin.
    pub fitting: Fitting,
    /// Use that firmware makes of the pin.
    pub direction: Direction,
    /// Level of the pin; true is high.
    pub high: bool,
}

/// State of a PWM output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PwmView {
    /// Label of the output.
    pub label: String,
    /// Periods per second; 0 before firmware opened the output.
    pub hertz: u32,
    /// Active share of 65535.
    pub duty: u16,
}

/// Value in the world around the board, which one of its sensors measures.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorView {
    /// Name of the value, for example `temperature`.
    pub name: String,
    /// Part that measures it, for example `i2c sensors`.
    pub part: String,
    /// Unit for people.
    pub unit: &'static str,
    /// Value now.
    pub value: f64,
    /// Least value that can be set.
    pub min: f64,
    /// Greatest value that can be set.
    pub max: f64,
}

/// All that a person beside the board sees at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View {
    /// Names of the header's pins, by position from 1 on: labels of parts, or supplies such as `GND`.
    pub header: Vec<String>,
    /// Pins, by label.
    pub pins: Vec<PinView>,
    /// PWM outputs, by label.
    pub pwm: Vec<PwmView>,
    /// Values of the world, in the order in which they were added.
    pub sensors: Vec<SensorView>,
}

/// Value that is measured by a sensor of a board.
#[derive(Clone)]
pub(super) struct Sensor {
    name: &'static str,
    part: String,
    unit: &'static str,
    range: (f64, f64),
    what: Measured,
}

#[derive(Clone)]
enum Measured {
    Celsius(Bme280),
    Hectopascal(Bme280),
    Percent(Bme280),
    /// Analog input of this label, in volts.
    Volts(String),
}

/// Names of the pins on the header of [`VirtualBoard::standard`].
pub(super) const STANDARD_HEADER: [&str; 20] = [
    "3V3", "5V", "SDA", "GND", "SCL", "TX", "led", "RX", "GND", "button", "heater", "relay", "fan", "GND",
    "light", "CS", "3V3", "MISO", "MOSI", "SCK",
];

/// Greatest voltage at an analog input, in volts.
const MAX_VOLTS: f64 = 3.3;

impl VirtualBoard {
    /// Returns the virtual board behind the interface; none for real hardware.
    #[must_use]
    pub fn of(board: &dyn Board) -> Option<&Self> {
        board.in_memory()?.downcast_ref()
    }

    /// Wires a thing to a pin, which is added if it does not exist.
    #[must_use]
    pub fn with_fitting(mut self, label: &str, fitting: Fitting) -> Self {
        self.parts.pins.entry(label.to_owned()).or_default().fit(fitting);
        self
    }

    /// Puts a climate sensor on an I2C bus, with a temperature, a pressure and a humidity that people can set.
    #[must_use]
    pub fn with_climate(mut self, bus: &str, address: u8, sensor: &Bme280) -> Self {
        let quantities = [
            (
                "temperature",
                "°C",
                (-40.0, 85.0),
                Measured::Celsius(sensor.clone()),
            ),
            ("humidity", "%", (0.0, 100.0), Measured::Percent(sensor.clone())),
            (
                "pressure",
                "hPa",
                (300.0, 1100.0),
                Measured::Hectopascal(sensor.clone()),
            ),
        ];
        self.sensors
            .extend(quantities.map(|(name, unit, range, what)| Sensor {
                name,
                part: format!("i2c {bus}"),
                unit,
                range,
                what,
            }));
        self.with_i2c(bus, address, sensor.clone())
    }

    /// Makes the voltage at an analog input, which is added with half of the greatest one, a value that people can set.
    #[must_use]
    pub fn with_volts(mut self, name: &'static str, label: &str) -> Self {
        self.sensors.push(Sensor {
            name,
            part: format!("adc {label}"),
            unit: "V",
            range: (0.0, MAX_VOLTS),
            what: Measured::Volts(label.to_owned()),
        });
        self.with_analog(label, microvolts(MAX_VOLTS / 2.0))
    }

    /// Names the pins of the header, by position from 1 on.
    #[must_use]
    pub fn with_header(mut self, names: &[&str]) -> Self {
        self.header = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Returns what a person beside the board sees now.
    #[must_use]
    pub fn view(&self) -> View {
        let pins = self.parts.pins.iter().map(|(label, pin)| pin.view(label));
        let pwm = self.parts.pwm.iter().map(|(label, output)| {
            let (hertz, duty) = output.state().unwrap_or_default();
            let label = label.clone();
            PwmView { label, hertz, duty }
        });
        let sensors = self.sensors.iter().map(|sensor| SensorView {
            name: sensor.name.to_owned(),
            part: sensor.part.clone(),
            unit: sensor.unit,
            value: self.value(&sensor.what),
            min: sensor.range.0,
            max: sensor.range.1,
        });
        View {
            header: self.header.clone(),
            pins: pins.collect(),
            pwm: pwm.collect(),
            sensors: sensors.collect(),
        }
    }

    /// Presses or releases a button. A pressed button joins its pin to the level that the firmware's pull does not.
    ///
    /// # Errors
    /// [`BoardError::Missing`]; [`BoardError::Unsupported`] for a pin without a button, or one that firmware drives.
    pub fn press(&self, label: &str, pressed: bool) -> Result<(), BoardError> {
        let pin = find(&self.parts.pins, "button", label)?;
        let view = pin.view(label);
        if view.fitting != Fitting::Button {
            return Err(BoardError::Unsupported(format!("pin {label:?} has no button")));
        }
        if view.direction == Direction::Output {
            return Err(BoardError::Unsupported(format!(
                "pin {label:?} has a button, but the firmware drives it"
            )));
        }
        pin.drive(pressed != pin.rests_high());
        Ok(())
    }

    /// Sets a value in the world around the board; firmware sees it at its next measurement.
    ///
    /// # Errors
    /// [`BoardError::Missing`]; [`BoardError::Unsupported`] for a value outside the sensor's range.
    pub fn set_sensor(&self, name: &str, value: f64) -> Result<(), BoardError> {
        let missing = || BoardError::Missing {
            what: "sensor",
            label: name.to_owned(),
        };
        let sensor = self
            .sensors
            .iter()
            .find(|sensor| sensor.name == name)
            .ok_or_else(missing)?;
        let (min, max) = sensor.range;
        if !(min..=max).contains(&value) {
            return Err(BoardError::Unsupported(format!(
                "{name} goes from {min} to {max} {}, not to {value}",
                sensor.unit
            )));
        }
        match &sensor.what {
            Measured::Celsius(sensor) => sensor.set(Climate {
                celsius: value,
                ..sensor.climate()
            }),
            Measured::Hectopascal(sensor) => sensor.set(Climate {
                hectopascal: value,
                ..sensor.climate()
            }),
            Measured::Percent(sensor) => sensor.set(Climate {
                percent: value,
                ..sensor.climate()
            }),
            Measured::Volts(label) => self.set_analog(label, microvolts(value))?,
        }
        Ok(())
    }

    fn value(&self, what: &Measured) -> f64 {
        match what {
            Measured::Celsius(sensor) => sensor.climate().celsius,
            Measured::Hectopascal(sensor) => sensor.climate().hectopascal,
            Measured::Percent(sensor) => sensor.climate().percent,
            Measured::Volts(label) => self
                .parts
                .adc
                .get(label)
                .map_or(0.0, |channel| f64::from(channel.microvolts()) / 1e6),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the voltage is between 0 and 3.3")]
fn microvolts(volts: f64) -> i32 {
    (volts * 1e6).round() as i32
}
