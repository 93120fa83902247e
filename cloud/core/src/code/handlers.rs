//! Snippets of new branches, and handlers that follow changes of their commands. Pure.

use std::sync::LazyLock;

use iottly_protocol::command_name::is_function_name;
use regex::{Captures, Regex};

use crate::model::{Definition, DefinitionOption, Direction, OptionKind, Snippet, SnippetId, SnippetKind};

const GLOBAL: &str = "// Shared by all other sections.\n";
const INIT: &str = "// Runs once, before the first message is sent.\nfunction init() {\n}\n";
const LOOP: &str =
    "// Runs every second, or after as many milliseconds as it returns.\nfunction loop() {\n}\n";

/// Change of a command, as far as its handlers are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandlerChange {
    /// The command was added.
    Appeared,
    /// The options of the command changed.
    Changed,
    /// The command was removed.
    Vanished,
}

impl HandlerChange {
    /// Returns the change between two definitions of a type; none when handlers are not affected.
    #[must_use]
    pub fn between(old: Option<&Definition>, new: Option<&Definition>) -> Option<Self> {
        let command = |definition: &&Definition| definition.direction == Direction::Command;
        match (old.filter(command), new.filter(command)) {
            (None, Some(_)) => Some(Self::Appeared),
            (Some(_), None) => Some(Self::Vanished),
            (Some(old), Some(new)) if !has_same_values(old, new) => Some(Self::Changed),
            _ => None,
        }
    }
}

/// Returns true if a handler gets the same options from both definitions. Most facts about their values change no handler:
/// they only narrow what is sent. The type of a default that is sent decides the form in which it arrives.
fn has_same_values(old: &Definition, new: &Definition) -> bool {
    let is_same = |(old, new): (&DefinitionOption, &DefinitionOption)| {
        let is_sent = matches!(old.kind, OptionKind::FixedValue { .. });
        let is_same_type = !is_sent || old.facts.value_type == new.facts.value_type;
        old.key == new.key && old.kind == new.kind && old.optional == new.optional && is_same_type
    };
    old.options.len() == new.options.len() && old.options.iter().zip(&new.options).all(is_same)
}

/// Returns the snippets of a new branch, with ids from `new_id`.
#[must_use]
pub fn fresh(definitions: &[Definition], new_id: impl FnMut() -> SnippetId) -> Vec<Snippet> {
    let mut snippets = Vec::new();
    complete(&mut snippets, definitions, new_id);
    snippets
}

/// Adds missing snippets, with ids from `new_id`: the three sections and a handler for each command.
pub fn complete(
    snippets: &mut Vec<Snippet>,
    definitions: &[Definition],
    mut new_id: impl FnMut() -> SnippetId,
) {
    for (kind, name, code) in [
        (SnippetKind::Global, "global", GLOBAL),
        (SnippetKind::Init, "init", INIT),
        (SnippetKind::Loop, "loop", LOOP),
    ] {
        if !snippets.iter().any(|snippet| snippet.kind == kind) {
            snippets.push(snippet(new_id(), kind, name, code.to_owned()));
        }
    }
    for definition in definitions
        .iter()
        .filter(|definition| definition.direction == Direction::Command)
    {
        if !snippets
            .iter()
            .any(|snippet| is_handler(snippet, &definition.cmd_type))
        {
            snippets.push(handler(new_id(), &definition.cmd_type));
        }
    }
}

/// Adapts a branch to a change of a command. A handler is never deleted: its name and the name of its
/// function get a leading `_` (another one while the name is taken), and a comment line with the reason; a
/// changed command gets a new handler in addition, with the id `new_id`.
pub fn adapt(snippets: &mut Vec<Snippet>, cmd_type: &str, change: HandlerChange, new_id: SnippetId) {
    if change != HandlerChange::Appeared {
        orphan(snippets, cmd_type, change);
    }
    if change != HandlerChange::Vanished && !snippets.iter().any(|snippet| is_handler(snippet, cmd_type)) {
        snippets.push(handler(new_id, cmd_type));
    }
}

fn orphan(snippets: &mut [Snippet], cmd_type: &str, change: HandlerChange) {
    let Some(at) = snippets.iter().position(|snippet| is_handler(snippet, cmd_type)) else {
        return;
    };
    let mut name = format!("_{cmd_type}");
    while snippets.iter().any(|snippet| is_handler(snippet, &name)) {
        name.insert(0, '_');
    }
    let what = if change == HandlerChange::Vanished {
        "was removed"
    } else {
        "was changed"
    };
    let orphan = &mut snippets[at];
    orphan.code = format!(
        "// The command {cmd_type} {what}: no command calls this handler any more. Take from it what is needed, then delete it.\n{}",
        rename_function(&orphan.code, cmd_type, &name)
    );
    orphan.name = name;
}

fn is_handler(snippet: &Snippet, name: &str) -> bool {
    snippet.kind == SnippetKind::Handler && snippet.name == name
}

fn handler(id: SnippetId, cmd_type: &str) -> Snippet {
    // The platform answers `echo` unless a firmware defines a handler, so the new handler does the same.
    let body = if cmd_type == "echo" {
        "    send_msg({ ECHO: command });\n"
    } else {
        ""
    };
    let values =
        format!("// Runs when the command {cmd_type} arrives; command[\"{cmd_type}\"] holds its values.\n");
    // A reserved word, or a name that is not an identifier, becomes an entry of the platform's table of
    // commands.
    let code = if is_function_name(cmd_type) {
        format!("{values}function {cmd_type}(command) {{\n{body}}}\n")
    } else {
        format!("{values}commands[\"{cmd_type}\"] = function (command) {{\n{body}}};\n")
    };
    snippet(id, SnippetKind::Handler, cmd_type, code)
}

fn snippet(id: SnippetId, kind: SnippetKind, name: &str, code: String) -> Snippet {
    Snippet {
        id,
        kind,
        name: name.to_owned(),
        description: String::new(),
        code,
    }
}

/// Declarations of functions in all forms; the name is checked outside, so that one expression serves all
/// names.
static DECLARATION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?m)(\bfunction\s*\*?\s+|\b(?:const|let|var)\s+|\b(?:globalThis|commands)\s*\[\s*["']|\b(?:globalThis|commands)\s*\.\s*)([\p{Alphabetic}_$][\p{Alphabetic}\p{Nd}_$-]*)"#)
        .expect("the expression is a constant that tests compile")
});

fn rename_function(code: &str, from: &str, to: &str) -> String {
    DECLARATION
        .replace_all(code, |found: &Captures<'_>| {
            let name = if &found[2] == from { to } else { &found[2] };
            format!("{}{name}", &found[1])
        })
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::seeded_definitions;

    fn branch(code: &str) -> Vec<Snippet> {
        let mut snippets = fresh(&seeded_definitions(), SnippetId::random);
        let echo = snippets
            .iter_mut()
            .find(|snippet| snippet.name == "echo")
            .expect("a handler");
        echo.code = code.to_owned();
        snippets
    }

    fn code<'a>(snippets: &'a [Snippet], name: &str) -> &'a str {
        &snippets
            .iter()
            .find(|snippet| snippet.name == name)
            .unwrap_or_else(|| panic!("no {name}"))
            .code
    }

    #[test]
    fn a_new_branch_has_the_sections_and_a_handler_for_each_command() {
        let snippets = fresh(&seeded_definitions(), SnippetId::random);
        let names: Vec<_> = snippets
            .iter()
            .map(|snippet| (snippet.kind, snippet.name.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                (SnippetKind::Global, "global"),
                (SnippetKind::Init, "init"),
                (SnippetKind::Loop, "loop"),
                (SnippetKind::Handler, "echo"),
                (SnippetKind::Handler, "examplecommand"),
            ]
        );
        assert!(
            code(&snippets, "echo").contains("send_msg({ ECHO: command })"),
            "echo still answers"
        );
    }

    #[test]
    fn a_removed_command_leaves_its_handler_under_another_name() {
        let mut snippets =
            branch("function echo(command) { send_msg(helper(command)); }\nfunction echoes() {}\n");
        let id = snippets
            .iter()
            .find(|snippet| snippet.name == "echo")
            .expect("a handler")
            .id;
        adapt(
            &mut snippets,
            "echo",
            HandlerChange::Vanished,
            SnippetId::random(),
        );
        assert!(!snippets.iter().any(|snippet| snippet.name == "echo"));
        let orphan = code(&snippets, "_echo");
        assert!(orphan.starts_with("// The command echo was removed"), "{orphan}");
        assert!(
            orphan.ends_with(
                "\nfunction _echo(command) { send_msg(helper(command)); }\nfunction echoes() {}\n"
            ),
            "{orphan}"
        );
        assert_eq!(
            snippets
                .iter()
                .find(|snippet| snippet.name == "_echo")
                .expect("kept")
                .id,
            id
        );
    }

    #[test]
    fn a_changed_command_gets_a_fresh_handler_and_names_stay_unique() {
        let mut snippets = branch("async function  echo (c) {}");
        for underscores in 1..=3 {
            adapt(&mut snippets, "echo", HandlerChange::Changed, SnippetId::random());
            let name = format!("{}echo", "_".repeat(underscores));
            assert!(code(&snippets, &name).contains("was changed"));
            assert!(code(&snippets, "echo").contains("function echo(command)"));
        }
        assert!(code(&snippets, "_echo").contains("async function  _echo (c) {}"));
    }

    #[test]
    fn functions_are_renamed_however_they_are_declared() {
        for (before, after) in [
            ("const echo = (c) => 1;", "const _echo = (c) => 1;"),
            ("globalThis[\"echo\"] = f;", "globalThis[\"_echo\"] = f;"),
            ("globalThis.echo = f;", "globalThis._echo = f;"),
            ("commands[\"echo\"] = f;", "commands[\"_echo\"] = f;"),
            ("commands . echo = f;", "commands . _echo = f;"),
            ("function* echo() {}", "function* _echo() {}"),
            ("// echo\nx.echo(\"echo\")", "// echo\nx.echo(\"echo\")"),
            ("function echo_2() {}", "function echo_2() {}"),
        ] {
            assert_eq!(rename_function(before, "echo", "_echo"), after);
        }
    }

    #[test]
    fn only_what_a_handler_sees_counts_as_a_change() {
        let old = seeded_definitions().remove(0);
        let mut described = old.clone();
        described.description = "other".into();
        assert_eq!(HandlerChange::between(Some(&old), Some(&described)), None);
        let event = Definition {
            direction: Direction::Event,
            ..old.clone()
        };
        assert_eq!(
            HandlerChange::between(Some(&old), Some(&event)),
            Some(HandlerChange::Vanished)
        );
        assert_eq!(HandlerChange::between(None, Some(&event)), None);
        let mut options = old.clone();
        options.options[0].optional = true;
        assert_eq!(
            HandlerChange::between(Some(&old), Some(&options)),
            Some(HandlerChange::Changed)
        );
        let mut facts = old.clone();
        facts.options[0].facts.unit = Some("°C".into());
        assert_eq!(
            HandlerChange::between(Some(&old), Some(&facts)),
            None,
            "the handler gets the same options"
        );
    }

    #[test]
    fn handlers_of_odd_names_are_still_functions() {
        for (name, expected) in [
            ("set-target", "commands[\"set-target\"] = function"),
            ("1st", "commands[\"1st\"]"),
            ("größe", "commands[\"größe\"]"),
            ("switch", "commands[\"switch\"]"),
            ("state", "commands[\"state\"]"),
            ("set_target", "function set_target("),
        ] {
            let made = handler(SnippetId::random(), name);
            assert!(made.code.contains(expected), "{}", made.code);
        }
    }
}
