//! The virtual board of a local run: its actions are printed, its inputs come from standard input.
//!
//! `{"@pin": {"button": true}}` drives a pin, `{"@analog": {"light": 1200000}}` sets a voltage in microvolts,
//! and `{"@uart": {"loop": "text"}}` delivers bytes. No command can have such a name.

use iottly_boards::VirtualBoard;
use iottly_boards::virtual_board::{Action, Input, Recorded};
use serde_json::{Map, Value};

use super::say;

/// Prints the actions of a board to standard error.
pub(super) fn observed(board: VirtualBoard) -> VirtualBoard {
    board.record().listen(|Recorded { action, .. }| match action {
        Action::Pin { label, high } => say(&format!("board {label} = {}", u8::from(*high))),
        Action::Bytes { label, bytes } => {
            say(&format!("board {label} < {:?}", String::from_utf8_lossy(bytes)))
        }
        Action::Pwm { label, hertz, duty } => {
            say(&format!(
                "board {label} = {:.1} % of {hertz} Hz",
                f64::from(*duty) / f64::from(u16::MAX) * 100.0
            ));
        }
    });
    board
}

/// Returns the inputs of the board from a line with the name `@…`; none for any other name.
///
/// # Errors
/// The reason why the line is not valid.
pub(super) fn inputs(name: &str, values: &Map<String, Value>) -> Option<Result<Vec<Input>, String>> {
    let kind = name.strip_prefix('@')?;
    Some(
        values
            .iter()
            .map(|(label, value)| input(kind, label.clone(), value))
            .collect(),
    )
}

fn input(kind: &str, label: String, value: &Value) -> Result<Input, String> {
    let wrong = |wanted: &str| format!("@{kind} {label}: {value} is not a {wanted}");
    match kind {
        "pin" => {
            let level = value
                .as_bool()
                .or_else(|| value.as_u64().filter(|level| *level <= 1).map(|level| level == 1));
            level
                .map(|high| Input::Pin {
                    label: label.clone(),
                    high,
                })
                .ok_or_else(|| wrong("level (true or false)"))
        }
        "analog" => {
            let microvolts = value
                .as_i64()
                .and_then(|microvolts| i32::try_from(microvolts).ok());
            microvolts
                .map(|microvolts| Input::Microvolts {
                    label: label.clone(),
                    microvolts,
                })
                .ok_or_else(|| wrong("voltage in microvolts"))
        }
        "uart" => {
            let bytes = value.as_str().map(|text| text.as_bytes().to_vec());
            bytes
                .map(|bytes| Input::Bytes {
                    label: label.clone(),
                    bytes,
                })
                .ok_or_else(|| wrong("string"))
        }
        _ => Err(format!("@{kind}: the board knows @pin, @analog and @uart")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(name: &str, values: Value) -> Option<Result<Vec<Input>, String>> {
        inputs(name, values.as_object().unwrap())
    }

    #[test]
    fn the_world_is_told_from_commands() {
        assert_eq!(read("pin", json!({"button": true})), None);
        assert_eq!(
            read("@pin", json!({"button": 1})),
            Some(Ok(vec![Input::Pin {
                label: "button".into(),
                high: true
            }]))
        );
        assert_eq!(
            read("@analog", json!({"light": -5})),
            Some(Ok(vec![Input::Microvolts {
                label: "light".into(),
                microvolts: -5
            }]))
        );
        for (name, values) in [
            ("@pin", json!({"button": 2})),
            ("@analog", json!({"light": 1e12})),
            ("@uart", json!({"a": 1})),
            ("@x", json!({"a": 1})),
        ] {
            let error = read(name, values).unwrap().unwrap_err();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
