//! Validation of a command's values against its definition. Pure.

use iottly_protocol::limits::{MAX_JSON_DEPTH, clip, depth_within};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::MAX_VALUES_BYTES;
use crate::model::{Definition, DefinitionOption, Direction, InvalidValue, OptionKind};

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
    /// The value does not match the facts of the option.
    #[error("{key}: {why}")]
    Value {
        /// Key of the option.
        key: String,
        /// Reason of the refusal.
        why: InvalidValue,
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

impl InvalidCommand {
    /// Returns the key of the refused value, as the caller wrote it; none if the refusal is not about one value.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Prefix { key, .. }
            | Self::UnknownKey(key)
            | Self::Choice { key, .. }
            | Self::Type { key, .. }
            | Self::Value { key, .. }
            | Self::Missing(key) => Some(key),
            Self::Event(_) | Self::Depth | Self::TooLong => None,
        }
    }
}

/// Checks a caller's values and returns the body for the device: the options in the definition's order,
/// without prefix.
///
/// Null and the empty string count as missing; a missing value is sent as its default, if it has one and is not optional.
/// A value is sent as the caller wrote it: a number that is written as text stays text.
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
        sent.insert(option.key.clone(), accept(option, key, given)?);
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

fn accept(option: &DefinitionOption, key: String, given: Option<&Value>) -> Result<Value, InvalidCommand> {
    let facts = &option.facts;
    match (&option.kind, given) {
        (OptionKind::FixedValue { value }, None) => Ok(facts.value_of(value)),
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
        (OptionKind::FixedValue { .. } | OptionKind::FreeValue, Some(value)) => match facts.accepts(value) {
            Ok(()) => Ok(value.clone()),
            Err(why) => Err(InvalidCommand::Value { key, why }),
        },
        (OptionKind::MultipleChoice { .. } | OptionKind::FreeValue, None) => {
            facts.default.clone().ok_or(InvalidCommand::Missing(key))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::seeded_definitions;
    use crate::model::OptionFacts;

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
    fn facts_are_checked_and_values_stay_as_they_were_written() {
        let body = r#"{"cmd_type":"temperature","description":"","direction":"command","options":[
            {"key":"target","type":"FreeValue","value_type":"number","unit":"°C","minimum":5,"maximum":60,"default":20},
            {"key":"mode","type":"FreeValue","optional":true,"value_type":"boolean","default":true},
            {"key":"steps","type":"FixedValue","value":"3","value_type":"integer"}]}"#;
        let definition: Definition = serde_json::from_str(body).expect("a definition");
        for (values, sent) in [
            (json!({}), r#"{"target":20,"steps":3}"#),
            (
                json!({"temperature.target": 21.50, "temperature.mode": false}),
                r#"{"target":21.5,"mode":false,"steps":3}"#,
            ),
            (
                json!({"temperature.target": "21.50", "temperature.steps": "4"}),
                r#"{"target":"21.50","steps":"4"}"#,
            ),
        ] {
            assert_eq!(check(&definition, values).as_deref(), Ok(sent));
        }
        for (values, reason) in [
            (
                json!({"temperature.target": 95}),
                "temperature.target: 95 is above the maximum of 60 °C",
            ),
            (
                json!({"temperature.target": "warm"}),
                "temperature.target: \"warm\" is not a number",
            ),
            (
                json!({"temperature.mode": "on"}),
                "temperature.mode: \"on\" is not true or false",
            ),
            (
                json!({"temperature.steps": 2.5}),
                "temperature.steps: 2.5 is not a whole number",
            ),
        ] {
            let refused = check(&definition, values).expect_err(reason);
            assert_eq!(refused.to_string(), reason);
            assert_eq!(refused.key(), reason.split_once(':').map(|(key, _)| key));
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
                facts: OptionFacts::default(),
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
