//! View of a virtual board from afar: what the cloud asks for, and what the device answers. Shapes and their limits only.
//!
//! Nothing of it is stored or repeated: the newest state replaces the ones before it, and a device sends none without a
//! [`BoardOrder`] that is a few seconds old.

use serde::{Deserialize, Serialize};

use crate::envelope::envelope;
use crate::{DecodeError, limits};

/// Capability in the hello of a device that shows its board.
pub const CAN_SHOW_BOARD: &str = "board_view";
/// Maximum size of a message about a board.
pub const MAX_BOARD_BYTES: usize = 16 << 10;
/// Maximum number of pins, of outputs, of values and of names on the header of a board.
pub const MAX_BOARD_PARTS: usize = 64;
/// Maximum length of a label, name or unit.
pub const MAX_LABEL_BYTES: usize = 64;
/// Maximum number of inputs in one order.
pub const MAX_BOARD_INPUTS: usize = 16;
/// Longest time for which a device sends states after an order, in milliseconds.
pub const MAX_WATCH_MS: u64 = 30_000;
/// Longest time for which a button stays pressed after an order, in milliseconds.
pub const MAX_PRESS_MS: u64 = 10_000;
/// Shortest time between two states that a device sends, in milliseconds.
pub const BOARD_EVERY_MS: u64 = 100;
/// Longest time between two states while the board is watched, in milliseconds: they show that the device is there.
pub const BOARD_ALIVE_MS: u64 = 2_000;

envelope! {
    ['de]
    /// Message about a virtual board, on `v1/{device}/board` at QoS 0.
    pub enum BoardMessage {
        /// State of the board.
        State(BoardState) = "state",
    }
}

impl BoardMessage {
    /// Decodes one publish from a device, and checks its sizes.
    ///
    /// # Errors
    /// The bytes are over [`MAX_BOARD_BYTES`], are not JSON, are of another version or shape, or hold too much.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_BOARD_BYTES {
            return Err(DecodeError::TooLarge {
                len: bytes.len(),
                max: MAX_BOARD_BYTES,
            });
        }
        let message: Self = serde_json::from_slice(bytes)?;
        let Self::State(state) = &message;
        state
            .check()
            .map_err(|reason| DecodeError::Json(serde::de::Error::custom(reason)))?;
        Ok(message)
    }
}

/// Order of the cloud: keep sending states for a while, and apply these inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoardOrder {
    /// Number of the order; grows.
    pub number: u64,
    /// Time for which the device sends states from now on, at most [`MAX_WATCH_MS`]; 0 ends it.
    pub watch_ms: u64,
    /// Inputs, at most [`MAX_BOARD_INPUTS`], in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<BoardInput>,
}

/// Input from a person to a virtual board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BoardInput {
    /// Presses a button.
    Press {
        /// Label of the button's pin.
        button: String,
        /// Time after which the device releases it, unless it is pressed again; at most [`MAX_PRESS_MS`].
        hold_ms: u64,
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
        /// New value, in the unit that the board names.
        value: f64,
    },
    /// Input of a later version; changes nothing.
    #[serde(other)]
    Unknown,
}

/// All that a person beside the board would see.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BoardState {
    /// Number of the latest order whose inputs were applied; 0 before the first.
    pub applied: u64,
    /// Names of the header's pins, by position from 1 on.
    #[serde(default)]
    pub header: Vec<String>,
    /// Pins.
    #[serde(default)]
    pub pins: Vec<BoardPin>,
    /// PWM outputs.
    #[serde(default)]
    pub pwm: Vec<BoardPwm>,
    /// Values of the world around the board.
    #[serde(default)]
    pub sensors: Vec<BoardSensor>,
}

/// State of a pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardPin {
    /// Label of the pin.
    pub label: String,
    /// Thing that is wired to the pin.
    pub fitting: PinFitting,
    /// Use that firmware makes of the pin.
    pub direction: PinDirection,
    /// True if the level is high.
    pub high: bool,
}

/// Thing that is wired to a pin. A name that a reader does not know is [`Nothing`](Self::Nothing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PinFitting {
    /// Light.
    Led,
    /// Button.
    Button,
    /// Switched load.
    Load,
    /// Nothing, or something else.
    #[serde(other)]
    Nothing,
}

/// Use that firmware makes of a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PinDirection {
    /// Firmware reads the pin.
    Input,
    /// Firmware drives the pin.
    Output,
    /// The pin is not open.
    #[serde(other)]
    Free,
}

/// State of a PWM output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardPwm {
    /// Label of the output.
    pub label: String,
    /// Periods per second; 0 before firmware opened the output.
    pub hertz: u32,
    /// Active share of 65535.
    pub duty: u16,
}

/// Value in the world around a board, which one of its sensors measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoardSensor {
    /// Name of the value.
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

impl BoardState {
    /// Refuses what no device of ours sends.
    fn check(&self) -> Result<(), String> {
        let counts = [
            ("header", self.header.len()),
            ("pins", self.pins.len()),
            ("pwm", self.pwm.len()),
            ("sensors", self.sensors.len()),
        ];
        if let Some((list, count)) = counts.iter().find(|(_, count)| *count > MAX_BOARD_PARTS) {
            return Err(format!(
                "{list} has {count} entries, the limit is {MAX_BOARD_PARTS}"
            ));
        }
        let sensors = self.sensors.iter();
        let words = (self.header.iter())
            .chain(self.pins.iter().map(|pin| &pin.label))
            .chain(self.pwm.iter().map(|output| &output.label))
            .chain(sensors.flat_map(|sensor| [&sensor.name, &sensor.part, &sensor.unit]));
        for word in words {
            if word.len() > MAX_LABEL_BYTES || word.chars().any(char::is_control) {
                return Err(format!(
                    "{:?} is no label of at most {MAX_LABEL_BYTES} bytes",
                    limits::clip(word, MAX_LABEL_BYTES)
                ));
            }
        }
        let empty = |sensor: &&BoardSensor| sensor.min > sensor.max;
        match self.sensors.iter().find(empty) {
            Some(sensor) => Err(format!("sensor {:?} has no range", sensor.name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> BoardState {
        BoardState {
            applied: 3,
            header: vec!["GND".to_owned(), "led".to_owned()],
            pins: vec![BoardPin {
                label: "led".to_owned(),
                fitting: PinFitting::Led,
                direction: PinDirection::Output,
                high: true,
            }],
            pwm: Vec::new(),
            sensors: vec![BoardSensor {
                name: "temperature".to_owned(),
                part: "i2c sensors".to_owned(),
                unit: "°C".to_owned(),
                value: 21.5,
                min: -40.0,
                max: 85.0,
            }],
        }
    }

    fn decoded(state: BoardState) -> Result<BoardMessage, String> {
        BoardMessage::decode(&BoardMessage::State(state).encode()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_state_reads_back() {
        let Ok(BoardMessage::State(read)) = decoded(state()) else {
            panic!("valid")
        };
        assert_eq!(read, state());
    }

    #[test]
    fn names_of_later_devices_are_nothing_and_free() {
        let text = br#"{"v":1,"state":{"applied":0,"later":1,"pins":[{"label":"a","fitting":"servo","direction":"shared","high":false}]}}"#;
        let BoardMessage::State(read) = BoardMessage::decode(text).expect("valid");
        assert_eq!(read.pins[0].fitting, PinFitting::Nothing);
        assert_eq!(read.pins[0].direction, PinDirection::Free);
    }

    #[test]
    fn sizes_are_bounded() {
        let long = "x".repeat(MAX_LABEL_BYTES + 1);
        let with = |change: &dyn Fn(&mut BoardState)| {
            let mut state = state();
            change(&mut state);
            decoded(state).expect_err("refused")
        };
        assert!(with(&|state| state.pins[0].label.clone_from(&long)).contains("no label"));
        assert!(with(&|state| state.header.push("a\nb".to_owned())).contains("no label"));
        assert!(
            with(&|state| state.header = vec![String::new(); MAX_BOARD_PARTS + 1]).contains("65 entries")
        );
        assert!(with(&|state| state.sensors[0].min = 90.0).contains("no range"));
        let large = [br#"{"v":1,"state":"#.to_vec(), vec![b' '; MAX_BOARD_BYTES]].concat();
        let error = BoardMessage::decode(&large).expect_err("too large");
        assert!(matches!(error, DecodeError::TooLarge { .. }));
    }
}
