//! Validation of a command's values against its definition. Pure.

use iottly_protocol::limits::{MAX_JSON_DEPTH, clip, depth_within};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::MAX_VALUES_BYTES;
use crate::model::{Definition, Direction, OptionKind};

/// Reason for which values do not match a definition; names the key as the caller wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommand {
    /// The definition is for messages of devices.
    #[error("cmd_type {0:?} is an event, devices do not accept it")]
    Event(String),
    /// A key does not start with the type.
    #[error("key {key:?} lacks the prefix {prefix:?}")]
    Prefix {
        /// Key that was given.
        key: String,
        /// Expected prefix.
        prefix: String,
    },
    /// The definition has no such option.
    #[error("key {0:?} is not defined")]
    UnknownKey(String),
    /// The value is not one of the choices.
    #[error("key {key:?} must be one of {choices:?}")]
    Choice {
        /// Key of the option.
        key: String,
        /// Accepted values.
        choices: Vec<String>,
    },
    /// The value has a type that the option does not accept.
    #[error("key {key:?} must be {expected}")]
    Type {
        /// Key of the option.
        key: String,
        /// Accepted type.
        expected: &'static str,
    },
    /// A value without a default is missing.
    #[error("key {0:?} is missing")]
    Missing(String),
    /// The values are nested too deeply.
    #[error("values are nested deeper than {MAX_JSON_DEPTH}")]
    Depth,
    /// The values are too long.
    #[error("values are longer than {MAX_VALUES_BYTES} bytes")]
    TooLong,
}

/// Checks a caller's values and returns the body for the device: the options in the definition's order,
/// without prefix.
///
/// Null and the empty string count as missing; a missing `FixedValue` is sent as its default.
///
/// # Errors
/// Names the first key that does not match.
pub fn validate(
    definition: &Definition,
    values: &Map<String, Value>,
) -> Result<Box<RawValue>, InvalidCommand> {
    if definition.direction == Direction::Event {
        return Err(InvalidCommand::Event(definition.cmd_type.clone()));
    }
    let prefix = format!("{}.", definition.cmd_type);
    for key in values.keys() {
        let shown = || clip(key, 128).to_owned();
        let name = key.strip_prefix(&prefix).ok_or_else(|| InvalidCommand::Prefix {
            key: shown(),
            prefix: prefix.clone(),
        })?;
        if !definition.options.iter().any(|option| option.key == name) {
            return Err(InvalidCommand::UnknownKey(shown()));
        }
    }
    let mut sent = Map::new();
    for option in &definition.options {
        let key = format!("{prefix}{}", option.key);
        let given = values
            .get(&key)
            .filter(|value| !value.is_null() && value.as_str() != Some(""));
        if option.optional && given.is_none() {
            continue;
        }
        sent.insert(option.key.clone(), accept(&option.kind, key, given)?);
    }
    let raw = to_raw_value(&sent).expect("a JSON map serializes without failing");
    if raw.get().len() > MAX_VALUES_BYTES {
        return Err(InvalidCommand::TooLong);
    }
    if !depth_within(raw.get(), MAX_JSON_DEPTH) {
        return Err(InvalidCommand::Depth);
    }
    Ok(raw)
}

fn accept(kind: &OptionKind, key: String, given: Option<&Value>) -> Result<Value, InvalidCommand> {
    match (kind, given) {
        (OptionKind::FixedValue { value }, None) => Ok(Value::String(value.clone())),
        (OptionKind::FixedValue { .. }, Some(value)) if value.is_object() || value.is_array() => {
            Err(InvalidCommand::Type {
                key,
                expected: "a string, a number or a boolean",
            })
        }
        (OptionKind::MultipleChoice { listvalues }, Some(value)) => {
            let text = value.as_str().ok_or(InvalidCommand::Type {
                key: key.clone(),
                expected: "a string",
            })?;
            if !listvalues.iter().any(|choice| choice == text) {
                return Err(InvalidCommand::Choice {
                    key,
                    choices: listvalues.clone(),
                });
            }
            Ok(value.clone())
        }
        (OptionKind::FixedValue { .. } | OptionKind::FreeValue, Some(value)) => Ok(value.clone()),
        (OptionKind::MultipleChoice { .. } | OptionKind::FreeValue, None) => {
            Err(InvalidCommand::Missing(key))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::seeded_definitions;
    use crate::model::DefinitionOption;

    fn check(definition: &Definition, values: Value) -> Result<String, InvalidCommand> {
        validate(definition, values.as_object().expect("an object")).map(|raw| raw.get().to_owned())
    }

    fn seeded(index: usize) -> Definition {
        seeded_definitions().remove(index)
    }

    #[test]
    fn the_prefix_addresses_and_never_reaches_the_device() {
        assert_eq!(
            check(&seeded(0), json!({"echo.content": "hi there!"})).expect("fits"),
            r#"{"content":"hi there!"}"#
        );
        assert_eq!(
            check(&seeded(0), json!({"echo.content": 5})).expect("fits"),
            r#"{"content":5}"#
        );
    }

    #[test]
    fn an_omitted_fixed_value_is_sent_as_its_value() {
        for omitted in [
            json!({}),
            json!({"echo.content": null}),
            json!({"echo.content": ""}),
        ] {
            assert_eq!(
                check(&seeded(0), omitted).expect("fits"),
                r#"{"content":"IOTTLY hello world!!!!"}"#
            );
        }
    }

    #[test]
    fn misfits_name_the_key() {
        let cases = [
            (0, json!({"content": 1}), "\"content\" lacks the prefix \"echo.\""),
            (0, json!({"echo.contents": 1}), "\"echo.contents\" is not defined"),
            (
                0,
                json!({"echo.content": {"a": 1}}),
                "\"echo.content\" must be a string, a number or a boolean",
            ),
            (
                1,
                json!({"examplecommand.status": "<start|stop>"}),
                "must be one of [\"start\", \"stop\"]",
            ),
            (
                1,
                json!({"examplecommand.status": 1}),
                "\"examplecommand.status\" must be a string",
            ),
            (1, json!({}), "\"examplecommand.status\" is missing"),
            (
                1,
                json!({"examplecommand.status": ""}),
                "\"examplecommand.status\" is missing",
            ),
        ];
        for (definition, values, reason) in cases {
            let error = check(&seeded(definition), values.clone())
                .expect_err("misfit")
                .to_string();
            assert!(error.contains(reason), "{values}: {error}");
        }
    }

    #[test]
    fn events_are_not_sent_and_values_are_bounded() {
        let mut definition = Definition {
            cmd_type: "free".into(),
            description: String::new(),
            direction: Direction::Command,
            options: vec![DefinitionOption {
                key: "v".into(),
                kind: OptionKind::FreeValue,
                optional: false,
            }],
        };
        assert_eq!(
            check(&definition, json!({"free.v": [1, {"a": null}]})).expect("fits"),
            r#"{"v":[1,{"a":null}]}"#
        );
        let long = "x".repeat(MAX_VALUES_BYTES);
        assert_eq!(
            check(&definition, json!({"free.v": long})),
            Err(InvalidCommand::TooLong)
        );
        let deep = (0..MAX_JSON_DEPTH).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(
            check(&definition, json!({"free.v": deep})),
            Err(InvalidCommand::Depth)
        );
        definition.options[0].optional = true;
        assert_eq!(
            check(&definition, json!({"free.v": ""})).expect("fits"),
            "{}",
            "what is optional may be left out"
        );
        definition.direction = Direction::Event;
        assert_eq!(
            check(&definition, json!({})),
            Err(InvalidCommand::Event("free".into()))
        );
    }
}
