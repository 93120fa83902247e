//! Definition of an event, proposed from a sample message. Pure.

use std::collections::HashSet;

use iottly_protocol::limits::{MAX_JSON_DEPTH, clip, depth_within};
use serde_json::{Map, Value};

use super::definition::{
    Definition, DefinitionOption, Direction, InvalidDefinition, MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES,
    MAX_OPTIONS, OptionKind, normalised,
};
use super::option_facts::{OptionFacts, ValueType};

/// Maximum length of a sample message, in bytes.
pub const MAX_SAMPLE_BYTES: usize = 16 << 10;
/// Name of a proposed definition when neither the caller nor the sample has one.
const NAMELESS: &str = "event";

/// Definition that was proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The definition, which can be saved as it is.
    pub definition: Definition,
    /// Number of the sample's values for which the definition has no room.
    pub left_out: usize,
}

/// Reason for which nothing can be proposed from a sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSample {
    /// The sample is too long.
    #[error("the sample is over its limit of {MAX_SAMPLE_BYTES} bytes")]
    TooLong,
    /// The sample is nested too deeply.
    #[error("the sample is nested deeper than {MAX_JSON_DEPTH}")]
    Depth,
    /// The sample is not JSON.
    #[error("the sample is not JSON: {0}")]
    Json(String),
    /// The sample is not an object with values.
    #[error("the sample is not a JSON object with at least one value")]
    Empty,
    /// The name is refused.
    #[error(transparent)]
    Definition(#[from] InvalidDefinition),
}

/// Proposes the definition of an event: an option for each value of the sample, with its type. Units and ranges are left
/// to the author.
///
/// The sample is a payload, a message as the API returns it, or a payload inside of its type (`{"<type>": {…}}`). A value
/// inside of others is named by its path, joined by `_`; the description says which path such a name stands for.
///
/// # Errors
/// If the sample exceeds a limit or has no values, or the name is refused.
pub fn propose(cmd_type: Option<&str>, sample: &str) -> Result<Proposal, InvalidSample> {
    if sample.len() > MAX_SAMPLE_BYTES {
        return Err(InvalidSample::TooLong);
    }
    if !depth_within(sample, MAX_JSON_DEPTH) {
        return Err(InvalidSample::Depth);
    }
    let sample = serde_json::from_str(sample).map_err(|error| InvalidSample::Json(error.to_string()))?;
    let Value::Object(sample) = sample else {
        return Err(InvalidSample::Empty);
    };
    let given = cmd_type.map(str::trim).filter(|name| !name.is_empty());
    let (inside, values) = unwrapped(payload(sample), given);
    let mut found = Found::default();
    found.walk(&values, &mut Vec::new());
    if found.options.is_empty() {
        return Err(InvalidSample::Empty);
    }
    let definition = Definition {
        cmd_type: given.map_or(inside.unwrap_or_else(|| NAMELESS.to_owned()), str::to_owned),
        description: found.description(),
        direction: Direction::Event,
        options: found.options,
    };
    Ok(Proposal {
        definition: definition.checked()?,
        left_out: found.left_out,
    })
}

/// Returns the payload of a message as the API returns it, or the sample itself.
fn payload(mut sample: Map<String, Value>) -> Map<String, Value> {
    if !sample.contains_key("timestamp") {
        return sample;
    }
    match sample.get_mut("payload") {
        Some(Value::Object(payload)) => std::mem::take(payload),
        _ => sample,
    }
}

/// Returns the values inside of their type, with the type, if the sample has that form.
fn unwrapped(mut sample: Map<String, Value>, given: Option<&str>) -> (Option<String>, Map<String, Value>) {
    let only = match sample.iter().next() {
        Some((name, Value::Object(inside))) if sample.len() == 1 && !inside.is_empty() => name.clone(),
        _ => return (None, sample),
    };
    let is_type = match given {
        Some(given) => normalised(given) == normalised(&only),
        None => true,
    };
    match sample.remove(&only) {
        Some(Value::Object(inside)) if is_type => (Some(word(&only)), inside),
        Some(other) => {
            sample.insert(only, other);
            (None, sample)
        }
        None => (None, sample),
    }
}

/// Returns a text as a name: other characters than those of names become `_`.
fn word(text: &str) -> String {
    let word: String = text
        .chars()
        .map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' })
        .collect();
    match clip(&word, MAX_NAME_BYTES) {
        "" => "_".to_owned(),
        word => word.to_owned(),
    }
}

/// Options found so far.
#[derive(Default)]
struct Found {
    options: Vec<DefinitionOption>,
    names: HashSet<String>,
    /// Paths of options whose name is not their path.
    renamed: Vec<(String, String)>,
    left_out: usize,
}

impl Found {
    /// Adds the values of an object; its depth was checked before.
    fn walk<'a>(&mut self, values: &'a Map<String, Value>, path: &mut Vec<&'a str>) {
        for (key, value) in values {
            path.push(key);
            match value {
                Value::Object(inside) if !inside.is_empty() => self.walk(inside, path),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_)
                | Value::Object(_) => self.add(path, value),
            }
            path.pop();
        }
    }

    fn add(&mut self, path: &[&str], value: &Value) {
        if self.options.len() == MAX_OPTIONS {
            self.left_out += 1;
            return;
        }
        let name = self.free_name(&word(&path.join("_")));
        let dotted = path.join(".");
        if dotted != name {
            self.renamed.push((name.clone(), dotted));
        }
        self.options.push(DefinitionOption {
            key: name,
            kind: OptionKind::FreeValue,
            optional: false,
            facts: OptionFacts {
                value_type: type_of(value),
                ..OptionFacts::default()
            },
        });
    }

    /// Returns the name, or it with a number if it is taken.
    fn free_name(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        let mut number = 2;
        while !self.names.insert(free.clone()) {
            let end = format!("_{number}");
            free = clip(name, MAX_NAME_BYTES - end.len()).to_owned() + &end;
            number += 1;
        }
        free
    }

    fn description(&self) -> String {
        let renamed: Vec<_> = self
            .renamed
            .iter()
            .map(|(name, path)| format!("{name} is {path}"))
            .collect();
        let mut text = "From a sample message.".to_owned();
        if !renamed.is_empty() {
            text = format!("{text} Names and paths: {}.", renamed.join(", "));
        }
        let shown: String = text.chars().filter(|c| !c.is_control()).collect();
        clip(&shown, MAX_DESCRIPTION_BYTES).to_owned()
    }
}

/// Returns the type of a value; none if options have no such type.
fn type_of(value: &Value) -> Option<ValueType> {
    match value {
        Value::String(_) => Some(ValueType::Text),
        Value::Bool(_) => Some(ValueType::Boolean),
        Value::Number(number) if number.is_f64() => Some(ValueType::Number),
        Value::Number(_) => Some(ValueType::Integer),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(proposal: &Proposal) -> Vec<(String, Option<&'static str>)> {
        let options = proposal.definition.options.iter();
        options
            .map(|option| (option.key.clone(), option.facts.value_type.map(ValueType::as_str)))
            .collect()
    }

    #[test]
    fn a_sample_becomes_the_definition_of_an_event() {
        let sample = json!({"temperature": 21.5, "door": {"open": true, "count": 3}, "note": "a", "list": [1], "none": null});
        let made = propose(Some("reading"), &sample.to_string()).expect("fits");
        assert_eq!(made.definition.cmd_type, "reading");
        assert_eq!(made.definition.direction, Direction::Event);
        assert_eq!(
            options(&made),
            [
                ("temperature".to_owned(), Some("number")),
                ("door_open".to_owned(), Some("boolean")),
                ("door_count".to_owned(), Some("integer")),
                ("note".to_owned(), Some("text")),
                ("list".to_owned(), None),
                ("none".to_owned(), None),
            ]
        );
        assert!(
            made.definition.description.contains("door_open is door.open"),
            "{}",
            made.definition.description
        );
    }

    #[test]
    fn a_message_of_the_api_and_a_payload_inside_of_its_type_are_unwrapped() {
        let message =
            json!({"timestamp": 1, "from": "a", "type": "userdefined", "payload": {"reading": {"t": 1}}});
        let made = propose(None, &message.to_string()).expect("fits");
        assert_eq!(made.definition.cmd_type, "reading");
        assert_eq!(options(&made), [("t".to_owned(), Some("integer"))]);
        let other = propose(Some("other"), r#"{"reading":{"t":1}}"#).expect("fits");
        assert_eq!(options(&other), [("reading_t".to_owned(), Some("integer"))]);
        let plain = propose(None, r#"{"payload":{"t":1},"b":2}"#).expect("fits");
        assert_eq!(plain.definition.cmd_type, "event");
        assert_eq!(plain.definition.options.len(), 2);
    }

    #[test]
    fn hostile_samples_are_refused_or_give_a_definition_that_can_be_saved() {
        let long_key = "k".repeat(5000);
        let many: Map<String, Value> = (0..1000).map(|n| (format!("v{n}"), json!(n))).collect();
        let hostile = [
            json!({"": 1, ".": 2, "_": 3, " ": 4}),
            json!({"a.b": 1, "a_b": 2, "a": {"b": 3}, "a b": 4}),
            json!({ long_key.clone(): 1, format!("{long_key}x"): 2, format!("{long_key}y"): {"z": 3} }),
            json!({"<script>alert(1)</script>": "x", "\u{202e}\u{0}\n": 1, "metadata": 2, "größe": 3}),
            json!({"metadata": {"a": 1}}),
            json!({"a": {}}),
            Value::Object(many),
        ];
        for sample in hostile {
            let name = sample.get("metadata").is_some_and(Value::is_object);
            let made = propose(name.then_some("m"), &sample.to_string());
            let made = made.unwrap_or_else(|error| panic!("{sample}: {error}"));
            assert_eq!(made.definition.clone().checked(), Ok(made.definition.clone()));
            assert!(made.definition.options.len() + made.left_out >= 1);
        }
        let full: Map<String, Value> = (0..70).map(|n| (format!("v{n}"), json!(n))).collect();
        let made = propose(None, &Value::Object(full).to_string()).expect("fits");
        assert_eq!((made.definition.options.len(), made.left_out), (64, 6));
        let deep = "[".repeat(40) + &"]".repeat(40);
        for (sample, reason) in [
            ("{}".to_owned(), "at least one value"),
            ("[1]".to_owned(), "JSON object"),
            ("{\"a\":".to_owned(), "not JSON"),
            (format!("{{\"a\":{deep}}}"), "nested deeper"),
            (
                format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_SAMPLE_BYTES)),
                "limit of 16384",
            ),
            ("{\"metadata\":{\"a\":1}}".to_owned(), "reserved"),
        ] {
            let error = propose(None, &sample).expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
