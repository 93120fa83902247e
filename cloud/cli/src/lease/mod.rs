//! `iottly lease …`: shows and ends a project's developer leases over the REST API, and lets older projects have them.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::call::Call;
use crate::exit::Failure;
use crate::remote::escaped;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Adds the key for developer leases to the trusted root of a project that was created before there were any
    Allow {
        #[command(flatten)]
        call: Call,
    },
    /// Lists the developer leases
    List {
        #[command(flatten)]
        call: Call,
    },
    /// Ends a developer lease: its devices return to their releases
    End {
        /// Id of the lease
        id: String,
        #[command(flatten)]
        call: Call,
    },
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Allow { call } => {
            let answer = call.api()?.post("/leasekey", &json!({}))?;
            call.print(&answer, |answer| {
                let text = if answer["added"] == true {
                    "added the key for developer leases"
                } else {
                    "the project has a key for developer leases already"
                };
                format!("{text}\n")
            })
        }
        Command::List { call } => {
            let answer = call.api()?.get("/leases")?;
            call.print_list("leases", &answer, |answer| {
                let leases = answer["leases"].as_array().into_iter().flatten();
                leases.map(shown).collect()
            })
        }
        Command::End { id, call } => {
            let answer = call.api()?.delete(&format!("/leases/{}", escaped(id)))?;
            call.print(&answer, |answer| shown(&answer["lease"]))
        }
    }
}

/// Returns the lines about a lease.
fn shown(lease: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut out = format!(
        "{}  {}  until {}  by {}\n",
        text(&lease["id"]),
        text(&lease["state"]),
        lease["expires"]["$date"],
        text(&lease["author"])
    );
    for device in lease["devices"].as_array().into_iter().flatten() {
        let report = &device["report"];
        let state = report["state"].as_str().unwrap_or("no report");
        let detail = report["detail"].as_str().map(|detail| format!(": {detail}"));
        writeln!(
            out,
            "  {}  {state}{}",
            text(&device["device"]),
            detail.unwrap_or_default()
        )
        .expect("a string takes all");
    }
    out
}
