//! Names of commands: every valid one can be built and is found, and none hides a name of the platform.

use iottly_builder::Source;
use iottly_protocol::command_name::{is_function_name, is_good_name, platform_names};
use serde_json::json;

use crate::common::{Board, sections};

/// Returns the handlers that a branch begins with for a command of this name, now and in the first release.
fn handlers(name: &str) -> Vec<String> {
    let body = format!(
        "(command) {{ send_msg({{ name: Object.keys(command)[0], n: state.get('n', 0), json: JSON.stringify([1]) }}); log('{name}'); }}"
    );
    let mut forms = vec![format!("commands[\"{name}\"] = function {body};")];
    if !name.contains('-') && !name.starts_with(char::is_numeric) {
        forms.push(format!(
            "// Runs when the command {name} arrives.\nfunction {name}{body}\n"
        ));
    } else {
        forms.push(format!("globalThis[\"{name}\"] = function {body};"));
    }
    forms
}

#[test]
fn words_of_the_language_and_names_of_the_platform_are_handled() {
    let names = [
        "switch",
        "set-target",
        "1st",
        "größe",
        "class",
        "await",
        "JSON",
        "Object",
        "state",
        "log",
        "eval",
        "echo",
        "constructor",
    ];
    for form in 0..2 {
        let texts: Vec<_> = names
            .iter()
            .map(|name| handlers(name).swap_remove(form))
            .collect();
        let pairs: Vec<_> = names
            .iter()
            .copied()
            .zip(texts.iter().map(String::as_str))
            .collect();
        let source = sections(
            "let runs = 0;",
            "function init() { state.set('n', 1); }",
            "function loop() { runs += 1; return runs; }",
            &pairs,
        );
        let mut board = Board::start(&source);
        for (name, handler) in pairs {
            board
                .handle(name, json!({"v": 1}))
                .unwrap_or_else(|error| panic!("{name}: {error}\n{handler}"));
            let sent = board.sent().pop();
            assert_eq!(
                sent,
                Some(format!(r#"{{"name":"{name}","n":1,"json":"[1]"}}"#)),
                "{handler}"
            );
            assert_eq!(board.lines().pop().map(|(_, line)| line).as_deref(), Some(name));
        }
        assert_eq!(board.tick(), Ok(1), "the loop runs beside them");
    }
}

#[test]
fn a_script_may_use_the_table_itself_or_replace_a_function_of_the_language() {
    let mut board = Board::run(
        "commands['turn-off'] = (command) => send_msg({ off: command['turn-off'].now });
         globalThis.parseInt = () => send_msg({ mine: true });
         commands.init = () => send_msg({ never: true });",
    );
    board.handle("turn-off", json!({"now": true})).unwrap();
    board.handle("parseInt", json!({})).unwrap();
    assert!(board.handle("init", json!({})).is_err() && board.handle("commands", json!({})).is_err());
    assert_eq!(board.sent(), [r#"{"off":true}"#, r#"{"mine":true}"#]);
}

#[test]
fn the_names_that_scripts_find_are_the_names_that_are_reserved() {
    let mut board =
        Board::run("function init() { send_msg({ names: Object.getOwnPropertyNames(globalThis) }); }");
    let sent: serde_json::Value = serde_json::from_str(&board.sent()[0]).unwrap();
    let found: Vec<&str> = sent["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    for name in platform_names() {
        assert!(
            found.contains(name),
            "{name} is reserved and scripts do not find it"
        );
        assert!(is_good_name(name).is_err());
    }
    for name in &found {
        assert!(
            !is_function_name(name),
            "a handler {name} would hide what scripts find under this name"
        );
    }
    assert!(board.handle("send_msg", json!({})).is_err());
    assert!(Source::script("").files().count() == 1);
}
