//! Sections of handlers: a function becomes an entry of the table `commands` when its command's name cannot be the
//! name of a function.

use std::borrow::Cow;

use iottly_protocol::command_name::is_function_name;

/// Names of the sections that are not handlers.
const FIXED: [&str; 3] = ["global", "init", "loop"];

/// Returns the text of a section as it goes into the script. `function NAME(` at the beginning of a line becomes
/// `commands["NAME"] = function (` for a name that is a word of the language, a name of the platform, or not
/// an identifier. The count of lines does not change.
pub(crate) fn handler<'a>(name: &str, text: &'a str) -> Cow<'a, str> {
    if FIXED.contains(&name) || is_function_name(name) {
        return Cow::Borrowed(text);
    }
    let mut changed = String::with_capacity(text.len() + name.len());
    for line in text.split_inclusive('\n') {
        match declared(line, name) {
            Some(behind) => {
                changed.push_str(&format!(
                    "commands[{}] = function ",
                    serde_json::Value::from(name)
                ));
                changed.push_str(behind);
            }
            None => changed.push_str(line),
        }
    }
    Cow::Owned(changed)
}

/// Returns the text after `function NAME` at the beginning of a line, from the opening parenthesis.
fn declared<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let behind = line.trim_start().strip_prefix("function")?;
    let named = behind.trim_start();
    let parameters = named.strip_prefix(name)?.trim_start();
    (named.len() < behind.len() && parameters.starts_with('(')).then_some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_of_names_with_a_meaning_go_into_the_table() {
        for (name, text, expected) in [
            (
                "switch",
                "// a\nfunction switch(command) {\n}\n",
                "// a\ncommands[\"switch\"] = function (command) {\n}\n",
            ),
            (
                "state",
                "  function  state (c) {}",
                "commands[\"state\"] = function (c) {}",
            ),
            (
                "größe",
                "function größe(c) {}",
                "commands[\"größe\"] = function (c) {}",
            ),
            (
                "state",
                "const state2 = 1; // function state(",
                "const state2 = 1; // function state(",
            ),
            ("switch", "function switches(c) {}", "function switches(c) {}"),
            (
                "set-target",
                "globalThis[\"set-target\"] = function (c) {};",
                "globalThis[\"set-target\"] = function (c) {};",
            ),
        ] {
            assert_eq!(handler(name, text), expected);
        }
    }

    #[test]
    fn other_sections_stay_as_they_are() {
        for (name, text) in [
            ("echo", "function echo(c) {}"),
            ("loop", "function loop() {}"),
            ("global", "function state() {}"),
        ] {
            assert!(matches!(handler(name, text), Cow::Borrowed(same) if same == text));
        }
    }
}
