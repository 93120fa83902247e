//! `iottly rollout …`: lists, shows and cancels rollouts over the REST API.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use iottly_web::answers::{GroupDto, OneRollout, RolloutDto};
use serde_json::{Value, json};

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::remote::{Api, escaped};
use crate::table::plain;
use crate::time_text::at;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists rollouts, the newest first
    List {
        /// Deployment group, by name or id [default: all groups]
        #[arg(long)]
        group: Option<String>,
        /// Number of rollouts; 100 at most
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        last: u32,
        #[command(flatten)]
        call: Call,
    },
    /// Shows a rollout: its state, its policy, and why it has halted
    Show {
        /// Id of the rollout
        id: String,
        #[command(flatten)]
        call: Call,
    },
    /// Cancels a rollout: devices that have not switched the release on yet keep what they run
    Cancel {
        /// Id of the rollout
        id: String,
        #[command(flatten)]
        call: Call,
    },
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::List { group, last, call } => {
            let api = call.api()?;
            let mut path = format!("/rollouts?numRollouts={last}");
            if let Some(group) = group {
                write!(path, "&group={}", api.group(group)?.id).expect("a string takes all");
            }
            let answer = api.get(&path)?;
            let groups = match call.is_table() {
                true => groups(&api)?,
                false => Vec::new(),
            };
            let head = [
                "ID", "STATE", "KIND", "RELEASE", "DEVICES", "STARTED", "GROUP", "BY",
            ];
            call.print_table("rollouts", &answer, &head, |rollout: &RolloutDto| {
                let group = groups.iter().find(|group| group.id == rollout.deployment_group);
                vec![
                    rollout.id.to_string(),
                    rollout.status.to_string(),
                    rollout.kind.to_string(),
                    rollout.release.to_string(),
                    rollout.devices.to_string(),
                    at(rollout.created),
                    group.map_or_else(
                        || rollout.deployment_group.to_string(),
                        |group| group.name.clone(),
                    ),
                    rollout.author.clone(),
                ]
            })
        }
        Command::Show { id, call } => {
            let answer = call.api()?.get(&path(id))?;
            call.print_as(&answer, |one: &OneRollout| shown(&one.rollout))
        }
        Command::Cancel { id, call } => {
            let answer = call.api()?.post(&format!("{}/cancel", path(id)), &json!({}))?;
            call.print_as(&answer, |one: &OneRollout| shown(&one.rollout))
        }
    }
}

fn path(id: &str) -> String {
    format!("/rollouts/{}", escaped(id))
}

fn groups(api: &Api) -> Result<Vec<GroupDto>, Failure> {
    read(&api.get("/deploymentgroups?limit=1")?["deployment_groups"])
}

/// Returns the lines about a rollout.
fn shown(rollout: &RolloutDto) -> String {
    let evidence = rollout.evidence.as_ref().map(Value::to_string);
    let rows = [
        ("rollout", Some(rollout.id.to_string())),
        ("state", Some(rollout.status.to_string())),
        ("kind", Some(rollout.kind.to_string())),
        ("release", Some(rollout.release.to_string())),
        ("group", Some(rollout.deployment_group.to_string())),
        ("devices", Some(rollout.devices.to_string())),
        ("policy", Some(json!(rollout.policy).to_string())),
        (
            "approved",
            Some(rollout.approved.join(", ")).filter(|text| !text.is_empty()),
        ),
        (
            "started",
            Some(format!("{} by {}", at(rollout.created), rollout.author)),
        ),
        ("changed", Some(at(rollout.changed))),
        ("reason", rollout.reason.clone()),
        ("evidence", evidence),
    ];
    let mut out = String::new();
    for (name, value) in rows {
        if let Some(value) = value {
            writeln!(out, "{name:8} {}", plain(&value)).expect("a string takes all");
        }
    }
    out
}
