//! The help of every command: what scripts and people rely on does not change by accident.

use std::fmt::Write as _;
use std::process::Command;

use iottly_e2e::program;

use crate::local::finish;

#[test]
fn the_help_of_every_command_is_as_recorded() {
    let mut text = String::new();
    collect(&[], &mut text);
    insta::assert_snapshot!(text);
}

/// Appends the help of a command and of the commands below it.
fn collect(path: &[&str], text: &mut String) {
    let mut command = Command::new(program());
    // Help shows the values that the environment sets.
    command.args(path).arg("--help").env_clear();
    let (code, help, err) = finish(&mut command);
    assert_eq!(code, Some(0), "{path:?}: {err}");
    writeln!(
        text,
        "$ iottly {}\n{help}",
        [path, &["--help"]].concat().join(" ")
    )
    .expect("a string takes all");
    let names = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    for name in names {
        collect(&[path, &[name]].concat(), text);
    }
}
