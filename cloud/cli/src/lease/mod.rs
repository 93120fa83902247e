//! `iottly lease …`: shows and ends a project's developer leases over the REST API, and lets older projects have them.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::remote::{Api, Remote, escaped};

/// Address of the cloud, credentials, and format of the output.
#[derive(Args)]
struct Asked {
    #[command(flatten)]
    remote: Remote,
    /// Format of the output
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

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
        asked: Asked,
    },
    /// Lists the developer leases
    List {
        #[command(flatten)]
        asked: Asked,
    },
    /// Ends a developer lease: its devices return to their releases
    End {
        /// Id of the lease
        id: String,
        #[command(flatten)]
        asked: Asked,
    },
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Allow { asked } => {
            let answer = Api::new(&asked.remote).post("/leasekey", &json!({}))?;
            print(asked, &answer, |answer| {
                let text = if answer["added"] == true {
                    "added the key for developer leases"
                } else {
                    "the project has a key for developer leases already"
                };
                format!("{text}\n")
            })
        }
        Command::List { asked } => {
            let answer = Api::new(&asked.remote).get("/leases")?;
            print(asked, &answer, |answer| {
                let leases = answer["leases"].as_array().into_iter().flatten();
                leases.map(shown).collect()
            })
        }
        Command::End { id, asked } => {
            let answer = Api::new(&asked.remote).delete(&format!("/leases/{}", escaped(id)))?;
            print(asked, &answer, |answer| shown(&answer["lease"]))
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

fn print(asked: &Asked, answer: &Value, text: impl Fn(&Value) -> String) -> Result<(), Failure> {
    let text = if asked.output == Output::Json {
        format!("{answer}\n")
    } else {
        text(answer)
    };
    let mut out = std::io::stdout().lock();
    Ok(out
        .write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")?)
}
