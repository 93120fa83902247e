//! View of a virtual board: what is shown of it, when the device is asked again, and which inputs can be. Pure; times are
//! milliseconds of a clock that does not jump.

use iottly_protocol::board::{
    BoardInput, BoardState, MAX_BOARD_INPUTS, MAX_PRESS_MS, PinDirection, PinFitting,
};
use iottly_protocol::limits::clip;

/// Time for which a device is asked to send its state.
pub const LEASE_MS: u64 = 10_000;
/// Interval at which the cloud repeats that while there is a viewer.
const RENEW_MS: i64 = 4_000;
/// Time without a state after which a device counts as silent; devices send one every two seconds.
const SILENT_MS: i64 = 5_000;
/// Interval that each state of a device takes from its allowance, twice as many as an honest device sends.
const STATE_MS: i64 = 50;
/// Allowance of states that may come at once.
const BURST_MS: i64 = 500;

/// Reason why a board is shown as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// The device was asked and has not answered yet.
    #[default]
    Waiting,
    /// The device sends its state.
    Live,
    /// The device is connected and does not send its state any more.
    Silent,
    /// The device is not connected to this cloud.
    Away,
    /// The device shows no board.
    Hidden,
    /// The device has not said hello since the cloud started, so it is not known whether it shows its board.
    Unknown,
}

impl Standing {
    /// Returns the name for the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Live => "live",
            Self::Silent => "silent",
            Self::Away => "away",
            Self::Hidden => "hidden",
            Self::Unknown => "unknown",
        }
    }

    /// Returns an explanation for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Waiting => "The device was asked for its board.",
            Self::Live => "The device sends the state of its board.",
            Self::Silent => {
                "The device is connected, but it does not answer. It is asked again every few seconds."
            }
            Self::Away => {
                "The device is not connected to this cloud. If another cloud on the same database has its connection, its board is seen there."
            }
            Self::Hidden => {
                "The device shows no board: its board is real hardware, its owner's policy forbids it, or its agent is too old."
            }
            Self::Unknown => {
                "Not known yet: the device has not connected to this cloud since the cloud started, and says with each connection whether it shows its board. If another cloud on the same database has its connection, its board is seen there."
            }
        }
    }
}

/// State of a watched device.
#[derive(Debug, Clone, Copy, Default)]
pub struct Watched {
    /// Time at which the first viewer came, or the device connected after that.
    pub since: i64,
    /// Time of the last order; none before the first.
    pub ordered: Option<i64>,
    /// Time of the last state; none before the first.
    pub heard: Option<i64>,
    /// Time up to which the device's allowance of states is used.
    pub used: i64,
}

impl Watched {
    /// Returns the standing of the device now. `can_show` is none before its first hello to this run of the cloud.
    #[must_use]
    pub fn standing(&self, is_connected: bool, can_show: Option<bool>, now: i64) -> Standing {
        match can_show {
            None => return Standing::Unknown,
            Some(_) if !is_connected => return Standing::Away,
            Some(false) => return Standing::Hidden,
            Some(true) => {}
        }
        match self.heard {
            Some(at) if now.saturating_sub(at) < SILENT_MS => Standing::Live,
            heard => {
                let since = heard.unwrap_or(self.since).max(self.since);
                if now.saturating_sub(since) < SILENT_MS {
                    Standing::Waiting
                } else {
                    Standing::Silent
                }
            }
        }
    }

    /// Returns true if the device is to be asked now.
    #[must_use]
    pub fn is_due(&self, now: i64) -> bool {
        self.ordered.is_none_or(|at| now.saturating_sub(at) >= RENEW_MS)
    }

    /// Counts a state that has arrived. Returns false for one that is over the device's allowance.
    pub fn admit(&mut self, now: i64) -> bool {
        let used = self.used.max(now) + STATE_MS;
        if used - now > BURST_MS {
            return false;
        }
        self.used = used;
        self.heard = Some(now);
        true
    }
}

/// Checks inputs against the state that a device has sent.
///
/// # Errors
/// The reason, which names the input.
pub fn check(inputs: &[BoardInput], state: &BoardState) -> Result<(), String> {
    if inputs.is_empty() || inputs.len() > MAX_BOARD_INPUTS {
        return Err(format!(
            "{} inputs; 1 to {MAX_BOARD_INPUTS} are possible at once",
            inputs.len()
        ));
    }
    inputs.iter().try_for_each(|input| check_one(input, state))
}

fn check_one(input: &BoardInput, state: &BoardState) -> Result<(), String> {
    match input {
        BoardInput::Press { button, hold_ms } => {
            if !(1..=MAX_PRESS_MS).contains(hold_ms) {
                return Err(format!("hold_ms is {hold_ms}; 1 to {MAX_PRESS_MS} are possible"));
            }
            check_button(button, state)
        }
        BoardInput::Release { button } => check_button(button, state),
        BoardInput::Sensor { name, value } => {
            let found = state.sensors.iter().find(|sensor| sensor.name == *name);
            let Some(sensor) = found else {
                let names: Vec<_> = state.sensors.iter().map(|sensor| sensor.name.as_str()).collect();
                return Err(format!(
                    "the board has no sensor {:?}; it has {}",
                    clip(name, 64),
                    list(&names)
                ));
            };
            if !(sensor.min..=sensor.max).contains(value) {
                return Err(format!(
                    "{name} goes from {} to {} {}, not to {value}",
                    sensor.min, sensor.max, sensor.unit
                ));
            }
            Ok(())
        }
        BoardInput::Unknown => Err("the kind of an input is none of press, release, sensor".to_owned()),
    }
}

fn check_button(label: &str, state: &BoardState) -> Result<(), String> {
    let mut buttons = state.pins.iter().filter(|pin| pin.fitting == PinFitting::Button);
    let Some(pin) = buttons.clone().find(|pin| pin.label == label) else {
        let names: Vec<_> = buttons.by_ref().map(|pin| pin.label.as_str()).collect();
        return Err(format!(
            "the board has no button {:?}; it has {}",
            clip(label, 64),
            list(&names)
        ));
    };
    if pin.direction == PinDirection::Output {
        return Err(format!("the firmware drives the pin of button {label:?}"));
    }
    Ok(())
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use iottly_protocol::board::{BoardPin, BoardSensor};

    use super::*;

    #[test]
    fn a_device_that_is_asked_and_does_not_answer_is_silent() {
        let mut watched = Watched {
            since: 1000,
            ..Watched::default()
        };
        assert_eq!(watched.standing(false, None, 1000), Standing::Unknown);
        assert_eq!(watched.standing(true, None, 1000), Standing::Unknown);
        assert_eq!(watched.standing(false, Some(true), 1000), Standing::Away);
        assert_eq!(watched.standing(true, Some(false), 1000), Standing::Hidden);
        assert_eq!(watched.standing(true, Some(true), 1000), Standing::Waiting);
        assert_eq!(watched.standing(true, Some(true), 6000), Standing::Silent);
        assert!(watched.admit(7000));
        assert_eq!(watched.standing(true, Some(true), 11_999), Standing::Live);
        assert_eq!(watched.standing(true, Some(true), 12_000), Standing::Silent);
        watched.since = 12_000;
        assert_eq!(
            watched.standing(true, Some(true), 12_001),
            Standing::Waiting,
            "it has connected again"
        );
    }

    #[test]
    fn a_device_is_asked_again_before_its_lease_ends() {
        let mut watched = Watched::default();
        assert!(watched.is_due(0));
        watched.ordered = Some(0);
        assert!(!watched.is_due(RENEW_MS - 1));
        assert!(watched.is_due(RENEW_MS));
        assert!(
            RENEW_MS * 2 < i64::try_from(LEASE_MS).expect("small"),
            "one order may be lost"
        );
    }

    #[test]
    fn a_flood_of_states_is_cut() {
        let mut watched = Watched::default();
        let admitted = (0..10_000).filter(|now| watched.admit(*now)).count();
        assert!((200..=210).contains(&admitted), "{admitted} in ten seconds");
        let mut honest = Watched::default();
        assert!((0..100).all(|n| honest.admit(n * 100)));
    }

    #[test]
    fn an_input_has_to_fit_the_board() {
        let pin = |label: &str, fitting, direction| BoardPin {
            label: label.to_owned(),
            fitting,
            direction,
            high: false,
        };
        let state = BoardState {
            pins: vec![
                pin("led", PinFitting::Led, PinDirection::Output),
                pin("button", PinFitting::Button, PinDirection::Input),
                pin("odd", PinFitting::Button, PinDirection::Output),
            ],
            sensors: vec![BoardSensor {
                name: "temperature".to_owned(),
                part: "i2c".to_owned(),
                unit: "°C".to_owned(),
                value: 20.0,
                min: -40.0,
                max: 85.0,
            }],
            ..BoardState::default()
        };
        let press = |button: &str, hold_ms| BoardInput::Press {
            button: button.to_owned(),
            hold_ms,
        };
        let set = |name: &str, value| BoardInput::Sensor {
            name: name.to_owned(),
            value,
        };
        assert_eq!(
            check(&[press("button", 200), set("temperature", 85.0)], &state),
            Ok(())
        );
        for (input, reason) in [
            (press("led", 200), "has no button \"led\"; it has button, odd"),
            (press("odd", 200), "the firmware drives the pin of button \"odd\""),
            (press("button", 0), "hold_ms is 0"),
            (press("button", 10_001), "hold_ms is 10001"),
            (set("wind", 1.0), "has no sensor \"wind\"; it has temperature"),
            (
                set("temperature", 85.5),
                "temperature goes from -40 to 85 °C, not to 85.5",
            ),
            (BoardInput::Unknown, "none of press, release, sensor"),
        ] {
            let error = check(&[input], &state).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
        assert!(check(&[], &state).is_err());
        assert!(check(&vec![press("button", 1); MAX_BOARD_INPUTS + 1], &state).is_err());
    }
}
