//! JSON types for the view of a virtual board.

use iottly_cloud::boards::Seen;
use iottly_protocol::board::{
    BoardInput, BoardPin, BoardPwm, BoardSensor, BoardState, PinDirection, PinFitting,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Date, OK};

/// Time for which a button is pressed unless the request says otherwise, in milliseconds.
pub(crate) const PRESS_MS: u64 = 200;

/// Board of a device, as a person beside it would see it.
#[derive(Serialize, ToSchema)]
#[schema(as = Board)]
pub(crate) struct BoardDto {
    /// HTTP status: always 200.
    status: u16,
    /// `live`, `waiting` (asked, no answer yet), `silent` (connected, no answer), `away` (not connected to this cloud),
    /// `hidden` (the device shows no board) or `unknown` (not connected since the cloud started, so not known yet).
    #[schema(value_type = String)]
    state: &'static str,
    /// Explanation of the state, for people.
    #[schema(value_type = String)]
    reason: &'static str,
    /// Time at which the newest parts arrived; null before the first.
    at: Option<Date>,
    /// Parts of the board; null before the first answer.
    board: Option<PartsDto>,
}

/// Parts of a board.
#[derive(Serialize, ToSchema)]
#[schema(as = BoardParts)]
struct PartsDto {
    /// Names of the header's pins, by position from 1 on.
    header: Vec<String>,
    /// Pins.
    pins: Vec<PinDto>,
    /// PWM outputs.
    pwm: Vec<PwmDto>,
    /// Values in the world around the board.
    sensors: Vec<SensorDto>,
}

/// Pin of a board.
#[derive(Serialize, ToSchema)]
#[schema(as = BoardPin)]
struct PinDto {
    /// Label, as firmware uses it.
    label: String,
    /// Thing that is wired to the pin: `led`, `button`, `load` or `nothing`.
    #[schema(value_type = String)]
    fitting: &'static str,
    /// Use that the firmware makes of the pin: `input`, `output` or `free`.
    #[schema(value_type = String)]
    direction: &'static str,
    /// True if the level is high.
    high: bool,
}

/// PWM output of a board.
#[derive(Serialize, ToSchema)]
#[schema(as = BoardPwm)]
struct PwmDto {
    /// Label, as firmware uses it.
    label: String,
    /// Periods per second; 0 before the firmware opened the output.
    hertz: u32,
    /// Active share, from 0 to 1.
    duty: f64,
}

/// Value that a sensor of a board measures.
#[derive(Serialize, ToSchema)]
#[schema(as = BoardSensor)]
struct SensorDto {
    /// Name, for inputs.
    name: String,
    /// Part that measures it.
    part: String,
    /// Unit for people.
    unit: String,
    /// Value now.
    value: f64,
    /// Least value that can be set.
    min: f64,
    /// Greatest value that can be set.
    max: f64,
}

/// Inputs to a virtual board.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BoardInputs)]
pub(crate) struct InputsBody {
    /// Inputs in order: 1 to 16.
    pub(crate) inputs: Vec<InputDto>,
}

/// Input of a person.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = BoardInput)]
pub(crate) enum InputDto {
    /// Presses a button.
    Press {
        /// Label of the button's pin.
        button: String,
        /// Time after which the device releases it by itself, in milliseconds: 1 to 10,000; 200 by default.
        #[schema(value_type = Option<i64>, minimum = 1, maximum = 10000)]
        hold_ms: Option<u64>,
    },
    /// Releases a button.
    Release {
        /// Label of the button's pin.
        button: String,
    },
    /// Sets a value in the world around the board.
    Sensor {
        /// Name of the value.
        name: String,
        /// New value, within the range of the sensor.
        value: f64,
    },
}

impl From<InputDto> for BoardInput {
    fn from(input: InputDto) -> Self {
        match input {
            InputDto::Press { button, hold_ms } => Self::Press {
                button,
                hold_ms: hold_ms.unwrap_or(PRESS_MS),
            },
            InputDto::Release { button } => Self::Release { button },
            InputDto::Sensor { name, value } => Self::Sensor { name, value },
        }
    }
}

impl From<&Seen> for BoardDto {
    fn from(seen: &Seen) -> Self {
        Self {
            status: OK,
            state: seen.standing.as_str(),
            reason: seen.standing.text(),
            at: seen.at.map(Into::into),
            board: seen.state.as_deref().map(Into::into),
        }
    }
}

impl From<&BoardState> for PartsDto {
    fn from(state: &BoardState) -> Self {
        Self {
            header: state.header.clone(),
            pins: state.pins.iter().map(Into::into).collect(),
            pwm: state.pwm.iter().map(Into::into).collect(),
            sensors: state.sensors.iter().map(Into::into).collect(),
        }
    }
}

impl From<&BoardPin> for PinDto {
    fn from(pin: &BoardPin) -> Self {
        Self {
            label: pin.label.clone(),
            fitting: match pin.fitting {
                PinFitting::Led => "led",
                PinFitting::Button => "button",
                PinFitting::Load => "load",
                PinFitting::Nothing => "nothing",
            },
            direction: match pin.direction {
                PinDirection::Input => "input",
                PinDirection::Output => "output",
                PinDirection::Free => "free",
            },
            high: pin.high,
        }
    }
}

impl From<&BoardPwm> for PwmDto {
    fn from(output: &BoardPwm) -> Self {
        Self {
            label: output.label.clone(),
            hertz: output.hertz,
            duty: (f64::from(output.duty) / f64::from(u16::MAX) * 1e4).round() / 1e4,
        }
    }
}

impl From<&BoardSensor> for SensorDto {
    fn from(sensor: &BoardSensor) -> Self {
        Self {
            name: sensor.name.clone(),
            part: sensor.part.clone(),
            unit: sensor.unit.clone(),
            value: sensor.value,
            min: sensor.min,
            max: sensor.max,
        }
    }
}
