//! `iottly lease …`: shows and ends a project's developer leases over the REST API, and lets older projects have them.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use iottly_web::answers::{LeaseDeviceDto, LeaseDto, LeaseKey, OneLease};
use serde_json::json;

use crate::call::Call;
use crate::exit::Failure;
use crate::remote::escaped;
use crate::table::plain;
use crate::time_text::at;

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
            call.print_as(&answer, |answer: &LeaseKey| {
                let text = if answer.added {
                    "added the key for developer leases"
                } else {
                    "the project has a key for developer leases already"
                };
                format!("{text}\n")
            })
        }
        Command::List { call } => {
            let answer = call.api()?.get("/leases")?;
            call.print_lines("leases", &answer, shown)
        }
        Command::End { id, call } => {
            let answer = call.api()?.delete(&format!("/leases/{}", escaped(id)))?;
            call.print_as(&answer, |answer: &OneLease| shown(&answer.lease))
        }
    }
}

/// Returns the lines about a lease.
fn shown(lease: &LeaseDto) -> String {
    let mut out = format!(
        "{}  {}  until {}  by {}\n",
        lease.id,
        lease.state,
        at(lease.expires),
        plain(&lease.author)
    );
    for LeaseDeviceDto { device, report } in &lease.devices {
        let (state, detail) = match report {
            Some(report) => (&*report.state, report.detail.as_deref()),
            None => ("no report", None),
        };
        let detail = detail.map(|detail| format!(": {}", plain(detail)));
        writeln!(out, "  {device}  {state}{}", detail.unwrap_or_default()).expect("a string takes all");
    }
    out
}
