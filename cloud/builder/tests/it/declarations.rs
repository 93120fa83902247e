//! The declarations for editors, compared with what scripts really have.

use std::collections::BTreeSet;

use iottly_builder::DECLARATIONS;
use iottly_protocol::command_name::library_names;

use crate::common::Board;

fn declared() -> BTreeSet<&'static str> {
    let starts = ["declare const ", "declare class ", "declare function "];
    let rest = DECLARATIONS
        .lines()
        .filter_map(|line| starts.iter().find_map(|start| line.strip_prefix(start)));
    rest.map(|rest| {
        rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .next()
            .unwrap()
    })
    .collect()
}

/// Returns true for a global of the language itself. `eval` is one that no function can be named after.
fn is_of_language(name: &str) -> bool {
    name == "eval" || library_names().contains(&name)
}

#[test]
fn every_global_of_ours_is_declared_and_every_declared_one_is_there() {
    let mut board =
        Board::run("function loop() { send_msg({ names: Object.getOwnPropertyNames(globalThis).sort() }); }");
    board.tick().unwrap();
    let message: serde_json::Value = serde_json::from_str(&board.sent()[0]).unwrap();
    let found: BTreeSet<_> = message["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let ours: BTreeSet<_> = found
        .into_iter()
        .filter(|name| !is_of_language(name) && !name.starts_with("__"))
        .collect();
    assert_eq!(ours, declared());
}
