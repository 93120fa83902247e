//! `iottly whoami`: shows who acts, at which cloud, in which project, and what is allowed there.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use crate::call::Call;
use crate::exit::Failure;
use crate::remote::Api;
use crate::time_text::time;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    call: Call,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let place = options.call.remote().place()?;
    let mut answer = match options.call.api() {
        Ok(api) => api.get("/whoami")?,
        // Several projects, and none is chosen: the login can still be shown.
        Err(Failure::Invalid(_)) if place.project.is_none() => {
            Api::root(options.call.remote(), &place)?.get("/login")?
        }
        Err(failure) => return Err(failure),
    };
    answer["url"] = json!(place.url);
    answer["credentials"] = json!(if place.is_saved { "login" } else { "token" });
    options.call.print(&answer, text)
}

fn text(answer: &Value) -> String {
    let text = |key: &str| answer[key].as_str().unwrap_or("-");
    let scopes: Vec<_> = answer["scopes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut out = format!("{} {}\n", text("kind"), text("name"));
    let source = if answer["credentials"] == "login" {
        ", by `iottly login`"
    } else {
        ""
    };
    let mut line = |name: &str, value: &str| {
        writeln!(out, "{name} {value}").expect("a string takes all");
    };
    line("cloud", &format!("{}{source}", text("url")));
    match answer["project"].as_str() {
        Some(id) => line(
            "project",
            &format!("{id} {}", answer["project_name"].as_str().unwrap_or_default()),
        ),
        None => line("project", "none is chosen: `iottly project use NAME` chooses one"),
    }
    line("group", answer["deployment_group"].as_str().unwrap_or("any"));
    line("may", &scopes.join(", "));
    match answer["expires"].is_null() {
        true => line("expires", "never"),
        false => line("expires", &time(&answer["expires"])),
    }
    out
}
