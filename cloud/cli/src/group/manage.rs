//! `iottly group list|create|rename|follow|delete`: the deployment groups of a project.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use clap::Args;
use iottly_web::answers::{GroupDto, OneGroup};
use serde_json::{Value, json};

use crate::call::Call;
use crate::exit::Failure;
use crate::say::say;

#[derive(Args)]
pub(super) struct ListOptions {
    #[command(flatten)]
    call: Call,
}

#[derive(Args)]
pub(super) struct CreateOptions {
    /// Name of the group
    name: String,
    /// Branch that the group follows [default: none]
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    #[command(flatten)]
    call: Call,
}

#[derive(Args)]
pub(super) struct RenameOptions {
    /// Name or id of the group
    group: String,
    /// New name
    name: String,
    #[command(flatten)]
    call: Call,
}

#[derive(Args)]
pub(super) struct FollowOptions {
    /// Name or id of the group
    group: String,
    /// Branch that the group follows; "" for none
    branch: String,
    #[command(flatten)]
    call: Call,
}

#[derive(Args)]
pub(super) struct DeleteOptions {
    /// Name or id of the group
    group: String,
    /// Delete without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    call: Call,
}

pub(super) fn list(options: &ListOptions) -> Result<(), Failure> {
    // The table needs the numbers of the devices only; programs get all their ids.
    let path = if options.call.is_table() {
        "/deploymentgroups?limit=1"
    } else {
        "/deploymentgroups"
    };
    let answer = options.call.api()?.get(path)?;
    let head = ["ID", "DEVICES", "BRANCH", "ROLLOUT", "NAME"];
    options
        .call
        .print_table("deployment_groups", &answer, &head, |group: &GroupDto| {
            let text = |text: &str| match text {
                "" => "-".to_owned(),
                text => text.to_owned(),
            };
            vec![
                group.id.to_string(),
                group.size().to_string(),
                text(&group.branch),
                text(&group.status),
                text(&group.name),
            ]
        })
}

pub(super) fn create(options: &CreateOptions) -> Result<(), Failure> {
    let body = json!({"name": options.name, "branch": options.branch.as_deref().unwrap_or_default()});
    let made = options.call.api()?.post("/deploymentgroups", &body)?;
    options.call.print_as(&made, shown)
}

pub(super) fn rename(options: &RenameOptions) -> Result<(), Failure> {
    change(&options.call, &options.group, &json!({"name": options.name}))
}

pub(super) fn follow(options: &FollowOptions) -> Result<(), Failure> {
    change(&options.call, &options.group, &json!({"branch": options.branch}))
}

fn change(call: &Call, group: &str, body: &Value) -> Result<(), Failure> {
    let api = call.api()?;
    let path = format!("/deploymentgroups/{}", api.group(group)?.id);
    let changed = api.put(&path, "application/json", body.to_string().as_bytes())?;
    call.print_as(&changed, shown)
}

fn shown(answer: &OneGroup) -> String {
    let group = &answer.deployment_group;
    match &*group.branch {
        "" => format!("{}  {}\n", group.id, group.name),
        branch => format!("{}  {}  follows {branch}\n", group.id, group.name),
    }
}

pub(super) fn delete(options: &DeleteOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let group = api.group(&options.group)?;
    if !options.yes && !agreed(&group.name, group.size())? {
        return Err(Failure::Invalid(
            "nothing was deleted; `--yes` deletes without asking".to_owned(),
        ));
    }
    let deleted = api.delete(&format!("/deploymentgroups/{}", group.id))?;
    options.call.print(&deleted, |_| "deleted\n".to_owned())
}

/// Asks on the terminal. Without one the answer is no.
fn agreed(name: &str, devices: u64) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    say(&format!(
        "delete the deployment group {name}, which has {devices} devices? Type its name to delete it:"
    ));
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("cannot read from the terminal")?;
    Ok(line.trim() == name)
}
