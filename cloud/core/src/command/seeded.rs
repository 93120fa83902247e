//! Definitions that every new project starts with.

use crate::model::{Definition, DefinitionOption, Direction, OptionFacts, OptionKind};

/// Returns the definitions that every new project has.
#[must_use]
pub fn seeded_definitions() -> Vec<Definition> {
    vec![
        Definition {
            cmd_type: "echo".into(),
            description: "The device sends the content back.".into(),
            direction: Direction::Command,
            options: vec![DefinitionOption {
                key: "content".into(),
                kind: OptionKind::FixedValue {
                    value: "IOTTLY hello world!!!!".into(),
                },
                optional: false,
                facts: OptionFacts::default(),
            }],
        },
        Definition {
            cmd_type: "examplecommand".into(),
            description: "An example with two choices.".into(),
            direction: Direction::Command,
            options: vec![DefinitionOption {
                key: "status".into(),
                kind: OptionKind::MultipleChoice {
                    listvalues: vec!["start".into(), "stop".into()],
                },
                optional: false,
                facts: OptionFacts::default(),
            }],
        },
    ]
}
