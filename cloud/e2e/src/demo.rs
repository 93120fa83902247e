//! The demo as a process: a cloud and its virtual devices in one program, on ports that were free.

use std::process::Command;

use serde_json::Value;

use crate::{Api, Process, program};

/// Starts the demo with more arguments and waits until it is up; returns it, the line that it printed, and a client of
/// its project.
pub fn demo(args: &[&str]) -> (Process, Value, Api) {
    let mut command = Command::new(program());
    command
        .args(["demo", "--json", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"])
        .args(args);
    let (process, ready) = Process::start_until_ready("the demo", &mut command);
    let text = |name: &str| {
        ready[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name} in {ready}"))
            .to_owned()
    };
    let api = Api::new(&text("http"), &text("token"), &text("project_id"));
    (process, ready, api)
}
