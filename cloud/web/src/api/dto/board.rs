//! JSON types for the view of a virtual board.

use std::borrow::Cow;

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
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Board)]
pub struct BoardDto {
    /// HTTP status: always 200.
    pub status: u16,
    /// `live`, `waiting` (asked, no answer yet), `silent` (connected, no answer), `away` (not connected to this cloud),
    /// `hidden` (the device shows no board) or `unknown` (not connected since the cloud started, so not known yet).
    #[schema(value_type = String)]
    pub state: Cow<'static, str>,
    /// Explanation of the state, for people.
    #[schema(value_type = String)]
    pub reason: Cow<'static, str>,
    /// Time at which the newest parts arrived; null before the first.
    pub at: Option<Date>,
    /// Parts of the board; null before the first answer.
    pub board: Option<PartsDto>,
}

/// Parts of a board.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = BoardParts)]
pub struct PartsDto {
    /// Names of the header's pins, by position from 1 on.
    pub header: Vec<String>,
    /// Pins.
    pub pins: Vec<PinDto>,
    /// PWM outputs.
    pub pwm: Vec<PwmDto>,
    /// Values in the world around the board.
    pub sensors: Vec<SensorDto>,
}

/// Pin of a board.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = BoardPin)]
pub struct PinDto {
    /// Label, as firmware uses it.
    pub label: String,
    /// Thing that is wired to the pin: `led`, `button`, `load` or `nothing`.
    #[schema(value_type = String)]
    pub fitting: Cow<'static, str>,
    /// Use that the firmware makes of the pin: `input`, `output` or `free`.
    #[schema(value_type = String)]
    pub direction: Cow<'static, str>,
    /// True if the level is high.
    pub high: bool,
}

/// PWM output of a board.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = BoardPwm)]
pub struct PwmDto {
    /// Label, as firmware uses it.
    pub label: String,
    /// Periods per second; 0 before the firmware opened the output.
    pub hertz: u32,
    /// Active share, from 0 to 1.
    pub duty: f64,
}

/// Value that a sensor of a board measures.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = BoardSensor)]
pub struct SensorDto {
    /// Name, for inputs.
    pub name: String,
    /// Part that measures it.
    pub part: String,
    /// Unit for people.
    pub unit: String,
    /// Value now.
    pub value: f64,
    /// Least value that can be set.
    pub min: f64,
    /// Greatest value that can be set.
    pub max: f64,
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
            state: seen.standing.as_str().into(),
            reason: seen.standing.text().into(),
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
            }
            .into(),
            direction: match pin.direction {
                PinDirection::Input => "input",
                PinDirection::Output => "output",
                PinDirection::Free => "free",
            }
            .into(),
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
