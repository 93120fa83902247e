//! Message definitions and their validation. Knows nothing about stored definitions or handlers.

use iottly_protocol::command_name::{BadName, is_good_name};
use serde::{Deserialize, Serialize};

use super::option_facts::{InvalidFacts, OptionFacts};

/// Maximum number of definitions of a project.
pub const MAX_DEFINITIONS: usize = 200;
/// Maximum number of options of a definition.
pub(super) const MAX_OPTIONS: usize = 64;
/// Maximum number of choices of an option.
const MAX_CHOICES: usize = 256;
/// Maximum length of a definition's or option's name, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 64;
/// Maximum length of a default or choice, in bytes.
pub(super) const MAX_VALUE_BYTES: usize = 1024;
/// Maximum length of a description, in bytes.
pub(super) const MAX_DESCRIPTION_BYTES: usize = 2048;

/// A kind of message that a project sends as commands or receives as events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Name of the definition: the command's type.
    pub cmd_type: String,
    /// Description, for people.
    pub description: String,
    /// Direction of its messages.
    pub direction: Direction,
    /// Options, in the order they were defined.
    pub options: Vec<DefinitionOption>,
}

/// Direction of a definition's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Cloud to device.
    Command,
    /// Device to cloud.
    Event,
}

/// An option of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionOption {
    /// Name, without the type's prefix.
    pub key: String,
    /// Accepted values.
    #[serde(flatten)]
    pub kind: OptionKind,
    /// True if a command may omit the option.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Type, unit, range and default of the values.
    #[serde(flatten)]
    pub facts: OptionFacts,
}

/// Accepted values of an option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum OptionKind {
    /// Sent as `value` unless the sender overrides it.
    FixedValue {
        /// Default value.
        value: String,
    },
    /// Any value from the list.
    MultipleChoice {
        /// Values to choose from.
        listvalues: Vec<String>,
    },
    /// Any value but null and the empty text.
    FreeValue,
}

/// Error of validating a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDefinition {
    /// A name is empty, too long, or has characters that names do not have.
    #[error("{what} {name:?} is not 1 to {MAX_NAME_BYTES} letters, digits, \"_\" or \"-\"")]
    Name {
        /// Kind of name.
        what: &'static str,
        /// Name that was given.
        name: String,
    },
    /// The name has another meaning in the documented format.
    #[error("type \"metadata\" is reserved")]
    Reserved,
    /// No firmware can have a handler of this name.
    #[error("the command's name {name:?} is refused: {why}")]
    Command {
        /// Name that was given.
        name: String,
        /// Reason of the refusal.
        why: BadName,
    },
    /// The definition has no options.
    #[error("definition has no keys")]
    Empty,
    /// The name begins with `_`: branches keep the handlers of removed commands under such names.
    #[error(
        "the command's name {0:?} is refused: names that begin with \"_\" are reserved for handlers whose command is gone"
    )]
    Underscore(String),
    /// Two options have the same name.
    #[error("key {0:?} is defined twice")]
    Twice(String),
    /// A choice has no values, a repeated value, or an empty one.
    #[error("key {0:?} needs listvalues that are different and not empty")]
    Choices(String),
    /// The facts about an option contradict each other or its kind.
    #[error("key {key:?}: {why}")]
    Facts {
        /// Name of the option.
        key: String,
        /// Reason of the refusal.
        why: InvalidFacts,
    },
    /// A limit is exceeded.
    #[error("{what} is over its limit of {max}")]
    Limit {
        /// Name of the limited quantity.
        what: &'static str,
        /// Maximum of the quantity.
        max: usize,
    },
}

/// Returns the name normalised as on the original platform: spaces become `_`, commas and dots are removed.
#[must_use]
pub fn normalised(name: &str) -> String {
    name.trim()
        .chars()
        .filter(|c| !matches!(c, ',' | '.'))
        .map(|c| if c == ' ' { '_' } else { c })
        .collect()
}

impl Definition {
    /// Normalises the names and checks the limits.
    ///
    /// # Errors
    /// Names the first fault found.
    pub fn checked(mut self) -> Result<Self, InvalidDefinition> {
        self.cmd_type = name("type", &self.cmd_type)?;
        if self.cmd_type == "metadata" {
            return Err(InvalidDefinition::Reserved);
        }
        limit("description", self.description.len(), MAX_DESCRIPTION_BYTES)?;
        if self.options.is_empty() {
            return Err(InvalidDefinition::Empty);
        }
        limit("number of keys", self.options.len(), MAX_OPTIONS)?;
        for option in &mut self.options {
            option.key = name("key", &option.key)?;
            check_kind(&option.key, &option.kind)?;
            let facts = std::mem::take(&mut option.facts);
            option.facts = facts
                .checked(&option.kind)
                .map_err(|why| InvalidDefinition::Facts {
                    key: option.key.clone(),
                    why,
                })?;
        }
        for (index, option) in self.options.iter().enumerate() {
            if self.options[..index].iter().any(|other| other.key == option.key) {
                return Err(InvalidDefinition::Twice(option.key.clone()));
            }
        }
        Ok(self)
    }
}

impl Definition {
    /// Checks that a firmware can have a handler for the definition, if it is a command. Not applied to
    /// definitions that are stored already.
    ///
    /// # Errors
    /// [`InvalidDefinition::Command`].
    pub fn can_be_handled(&self) -> Result<(), InvalidDefinition> {
        if self.direction != Direction::Command {
            return Ok(());
        }
        if self.cmd_type.starts_with('_') {
            return Err(InvalidDefinition::Underscore(self.cmd_type.clone()));
        }
        is_good_name(&self.cmd_type).map_err(|why| InvalidDefinition::Command {
            name: self.cmd_type.clone(),
            why,
        })
    }
}

fn check_kind(key: &str, kind: &OptionKind) -> Result<(), InvalidDefinition> {
    match kind {
        OptionKind::FixedValue { value } => limit("value", value.len(), MAX_VALUE_BYTES),
        OptionKind::MultipleChoice { listvalues } => {
            limit("number of listvalues", listvalues.len(), MAX_CHOICES)?;
            listvalues
                .iter()
                .try_for_each(|value| limit("listvalue", value.len(), MAX_VALUE_BYTES))?;
            let twice = listvalues
                .iter()
                .enumerate()
                .any(|(index, value)| listvalues[..index].contains(value));
            if listvalues.is_empty() || twice || listvalues.iter().any(String::is_empty) {
                return Err(InvalidDefinition::Choices(key.to_owned()));
            }
            Ok(())
        }
        OptionKind::FreeValue => Ok(()),
    }
}

fn name(what: &'static str, given: &str) -> Result<String, InvalidDefinition> {
    let name = normalised(given);
    let plain = name
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !plain {
        let name = iottly_protocol::limits::clip(given, MAX_NAME_BYTES).to_owned();
        return Err(InvalidDefinition::Name { what, name });
    }
    Ok(name)
}

fn limit(what: &'static str, is: usize, max: usize) -> Result<(), InvalidDefinition> {
    if is > max {
        Err(InvalidDefinition::Limit { what, max })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(key: &str) -> DefinitionOption {
        DefinitionOption {
            key: key.into(),
            kind: OptionKind::FreeValue,
            optional: false,
            facts: OptionFacts::default(),
        }
    }

    fn definition(cmd_type: &str, options: Vec<DefinitionOption>) -> Definition {
        Definition {
            cmd_type: cmd_type.into(),
            description: String::new(),
            direction: Direction::Command,
            options,
        }
    }

    #[test]
    fn names_are_normalised() {
        let checked = definition(" set the, target. ", vec![free("target value")])
            .checked()
            .expect("fits");
        assert_eq!(
            (checked.cmd_type.as_str(), checked.options[0].key.as_str()),
            ("set_the_target", "target_value")
        );
    }

    #[test]
    fn names_that_no_handler_can_have_are_refused_for_commands_only() {
        for (name, reason) in [
            ("state", "platform"),
            ("init", "section"),
            ("send_msg", "platform"),
            ("_echo", "handlers whose command is gone"),
        ] {
            let command = definition(name, vec![free("k")]);
            let refused = command.can_be_handled().expect_err(name).to_string();
            assert!(refused.contains(name) && refused.contains(reason), "{refused}");
            Definition {
                direction: Direction::Event,
                ..command
            }
            .can_be_handled()
            .expect("an event has no handler");
        }
        for name in ["switch", "set-target", "echo", "größe", "1st", "constructor"] {
            definition(name, vec![free("k")]).can_be_handled().expect(name);
        }
    }

    #[test]
    fn facts_that_are_not_set_are_not_written() {
        let option = serde_json::to_value(free("k")).expect("an option serializes");
        assert_eq!(option, serde_json::json!({"key": "k", "type": "FreeValue"}));
        let stored = r#"{"key":"t","type":"FreeValue","value_type":"number","unit":"°C","minimum":-5,"maximum":60.5,"default":20}"#;
        let read: DefinitionOption = serde_json::from_str(stored).expect("an option");
        assert_eq!(
            serde_json::to_string(&read).expect("an option serializes"),
            stored
        );
    }

    #[test]
    fn refused_facts_name_their_option() {
        let mut option = free("target value");
        option.facts.minimum = Some(5.into());
        let refused = definition("a", vec![option]).checked().expect_err("no numbers");
        assert_eq!(
            refused.to_string(),
            "key \"target_value\": minimum and maximum need the value_type \"integer\" or \"number\""
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let choice = |list: &[&str]| {
            let listvalues = list.iter().map(|value| (*value).to_owned()).collect();
            definition(
                "a",
                vec![DefinitionOption {
                    key: "k".into(),
                    kind: OptionKind::MultipleChoice { listvalues },
                    optional: false,
                    facts: OptionFacts::default(),
                }],
            )
        };
        for (bad, reason) in [
            (definition("", vec![free("k")]), "type \"\""),
            (definition(".,", vec![free("k")]), "type"),
            (definition("a/b", vec![free("k")]), "type \"a/b\""),
            (definition("metadata", vec![free("k")]), "reserved"),
            (definition("a", Vec::new()), "no keys"),
            (definition("a", vec![free("")]), "key \"\""),
            (
                definition("a", vec![free("x y"), free("x_y")]),
                "\"x_y\" is defined twice",
            ),
            (definition("a", vec![free("k"); 65]), "limit of 64"),
            (definition(&"x".repeat(65), vec![free("k")]), "type"),
            (choice(&[]), "listvalues"),
            (choice(&["a", "a"]), "listvalues"),
            (choice(&[""]), "listvalues"),
        ] {
            let error = bad.checked().expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
