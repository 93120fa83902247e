//! `iottly device move|tag|command|rm` of many devices: the named ones, or all that match conditions, by a job of the
//! cloud's that is followed to its end.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use clap::Args;
use iottly_protocol::DeviceId;
use iottly_web::answers::{DeletedDevice, GroupDto, Moved};
use serde_json::{Value, json};

use crate::call::Call;
use crate::cmd::{self, CommandText};
use crate::exit::Failure;
use crate::job::{self, Wait};
use crate::named_device::device_id;
use crate::progress::Progress;
use crate::remote::{Api, escaped};
use crate::say::{insist, say};

/// Devices of an action, and where it is done.
#[derive(Args)]
pub(super) struct Choice {
    /// Conditions such as `group:demo offline>1h`, or a filter as JSON: all devices that match, by a job of the cloud;
    /// '' means all devices
    #[arg(long, value_name = "CONDITIONS")]
    filter: Option<String>,
    /// Print how many devices it would be, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    call: Call,
}

#[derive(Args)]
pub(super) struct MoveOptions {
    /// Devices, by name or id
    #[arg(required_unless_present = "filter", conflicts_with = "filter")]
    devices: Vec<String>,
    /// Deployment group to move them to, by name or id
    #[arg(long)]
    to: String,
    #[command(flatten)]
    choice: Choice,
}

#[derive(Args)]
pub(super) struct TagOptions {
    /// Devices, by name or id
    #[arg(required_unless_present = "filter", conflicts_with = "filter")]
    devices: Vec<String>,
    /// Tag to add; can be given several times
    #[arg(long, value_name = "TAG", required_unless_present = "remove")]
    add: Vec<String>,
    /// Tag to remove; can be given several times
    #[arg(long, value_name = "TAG")]
    remove: Vec<String>,
    #[command(flatten)]
    choice: Choice,
}

#[derive(Args)]
pub(super) struct CommandOptions {
    #[command(flatten)]
    command: CommandText,
    /// Device, by name or id; can be given several times
    #[arg(
        long = "device",
        value_name = "DEVICE",
        required_unless_present = "filter",
        conflicts_with = "filter"
    )]
    devices: Vec<String>,
    #[command(flatten)]
    choice: Choice,
}

#[derive(Args)]
pub(super) struct RemoveOptions {
    /// Devices, by name or id
    #[arg(required_unless_present = "filter", conflicts_with = "filter")]
    devices: Vec<String>,
    #[command(flatten)]
    choice: Choice,
}

impl Choice {
    /// Returns the body of a job of a kind, with its devices.
    fn job(&self, api: &Api, kind: &str, named: &[String]) -> Result<Value, Failure> {
        Ok(match &self.filter {
            Some(filter) => json!({"kind": kind, "filter": filter}),
            None => json!({"kind": kind, "devices": ids(api, named)?}),
        })
    }

    /// Says how many devices a filter selects, and asks on a terminal unless that is not wanted. Named devices are known to
    /// the caller.
    ///
    /// # Errors
    /// [`Failure::NotFound`] if it is none, [`Failure::Invalid`] if the caller does not agree or cannot be asked.
    fn agreed(&self, api: &Api, body: &Value) -> Result<(), Failure> {
        if self.filter.is_none() || self.dry_run {
            return Ok(());
        }
        let devices = match count(api, body)? {
            0 => return Err(none_matches()),
            1 => "1 device".to_owned(),
            many => format!("{many} devices"),
        };
        if self.yes {
            say(&format!("this affects {devices}"));
            return Ok(());
        }
        let question = format!("this affects {devices}; go on? Type yes to go on:");
        agree(&question, "yes", &format!("this would affect {devices}"), "runs")
    }

    /// Starts a job and follows it, or prints what it `would` do with how many devices.
    fn act(&self, api: &Api, body: &Value, would: &str) -> Result<(), Failure> {
        if !self.dry_run {
            return job::start(&self.call, api, body, &self.wait).map(drop);
        }
        let count = count(api, body)?;
        let shown = json!({"would": would, "affected": count});
        self.call.print(&shown, |_| format!("would {would} {count}\n"))
    }
}

/// Moves devices into a deployment group: named ones at once, those of a filter by a job.
pub(super) fn move_devices(options: &MoveOptions) -> Result<(), Failure> {
    let choice = &options.choice;
    let api = choice.call.api()?;
    let group = api.group(&options.to)?;
    if choice.filter.is_none() {
        return move_named(&api, options, &group);
    }
    let mut body = choice.job(&api, "move", &options.devices)?;
    body["deployment_group"] = json!(group.id);
    if choice.dry_run {
        let count = count(&api, &body)?;
        let shown = json!({"would": "move", "affected": count, "deployment_group": group.id});
        return choice
            .call
            .print(&shown, |_| format!("would move {count} to {}\n", group.name));
    }
    choice.agreed(&api, &body)?;
    job::start(&choice.call, &api, &body, &choice.wait).map(drop)
}

fn move_named(api: &Api, options: &MoveOptions, group: &GroupDto) -> Result<(), Failure> {
    let choice = &options.choice;
    let ids = ids(api, &options.devices)?;
    let path = format!(
        "/deploymentgroups/{}/devices?dry_run={}",
        group.id, choice.dry_run
    );
    let moved = api.post(&path, &json!({ "devices": ids }))?;
    choice.call.print_as(&moved, |moved: &Moved| {
        let verb = if choice.dry_run { "would move" } else { "moved" };
        format!("{verb} {} to {}\n", moved.affected, group.name)
    })
}

/// Adds and removes tags.
pub(super) fn tag(options: &TagOptions) -> Result<(), Failure> {
    let api = options.choice.call.api()?;
    let mut body = options.choice.job(&api, "tag", &options.devices)?;
    body["add"] = json!(options.add);
    body["remove"] = json!(options.remove);
    options.choice.agreed(&api, &body)?;
    options.choice.act(&api, &body, "tag")
}

/// Sends a command to each device.
pub(super) fn command(options: &CommandOptions) -> Result<(), Failure> {
    let api = options.choice.call.api()?;
    let mut body = options.choice.job(&api, "command", &options.devices)?;
    for (key, value) in cmd::body(&api, &options.command) {
        body[key] = value;
    }
    options.choice.agreed(&api, &body)?;
    options.choice.act(&api, &body, "send it to")
}

/// Deletes devices: one at once, several by a job. Says how many before, and asks on a terminal.
pub(super) fn remove(options: &RemoveOptions) -> Result<(), Failure> {
    let choice = &options.choice;
    let api = choice.call.api()?;
    if let ([device], false) = (&options.devices[..], choice.dry_run) {
        return remove_one(&api, device, options);
    }
    let mut body = choice.job(&api, "delete", &options.devices)?;
    if choice.dry_run {
        return choice.act(&api, &body, "delete");
    }
    let count = count(&api, &body)?;
    if count == 0 {
        return Err(none_matches());
    }
    let (devices, histories) = match count {
        1 => ("1 device".to_owned(), "its history"),
        _ => (format!("{count} devices"), "their histories"),
    };
    if choice.yes {
        say(&format!("deleting {devices} with {histories}"));
    } else {
        let question = format!("delete {devices} with {histories}? Type {count} to delete:");
        agree(
            &question,
            &count.to_string(),
            &format!("{devices} would be deleted"),
            "deletes",
        )?;
    }
    // The cloud compares it: a device that came to match since then is not deleted unseen.
    body["confirm"] = json!(count);
    choice.act(&api, &body, "delete")
}

fn remove_one(api: &Api, device: &str, options: &RemoveOptions) -> Result<(), Failure> {
    let id = device_id(api, device)?;
    if !options.choice.yes {
        let question = format!("delete {device} and its history? Type its name to delete it:");
        agree(&question, device, "nothing was deleted", "deletes")?;
    }
    let deleted = api.delete(&format!("/device/{}", escaped(&id)))?;
    options
        .choice
        .call
        .print_as(&deleted, |deleted: &DeletedDevice| match deleted.erased {
            true => "deleted\n".to_owned(),
            false => "deleted; its data is still being erased\n".to_owned(),
        })
}

fn none_matches() -> Failure {
    Failure::NotFound(
        "no device matches; `iottly device list --filter` shows what a filter matches".to_owned(),
    )
}

/// Asks on the terminal; without one the answer is no.
///
/// # Errors
/// [`Failure::Invalid`] when the answer is not the wanted one; says `fact` and that `--yes` `acts` without asking.
fn agree(question: &str, wanted: &str, fact: &str, acts: &str) -> Result<(), Failure> {
    let refused = || Failure::Invalid(format!("{fact}; `--yes` {acts} without asking"));
    if !std::io::stdin().is_terminal() {
        return Err(refused());
    }
    insist(question);
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("cannot read from the terminal")?;
    (line.trim() == wanted).then_some(()).ok_or_else(refused)
}

/// Returns the ids of devices that are named by name or id, each once.
fn ids(api: &Api, named: &[String]) -> Result<Vec<DeviceId>, Failure> {
    let progress = Progress::of_items("devices", named.len());
    let mut ids = Vec::with_capacity(named.len());
    for device in named {
        let id = device_id(api, device)?
            .parse()
            .map_err(|error| Failure::Failed(anyhow::anyhow!("the cloud's id of {device:?}: {error}")))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
        progress.add(1);
    }
    Ok(ids)
}

/// Returns the number of devices of a job that is not started yet.
fn count(api: &Api, job: &Value) -> Result<u64, Failure> {
    if let Some(named) = job["devices"].as_array() {
        return Ok(named.len() as u64);
    }
    let path = match job["filter"].as_str().map(str::trim) {
        None | Some("") => "/devices/props?limit=1".to_owned(),
        Some(filter) => format!("/devices/props?limit=1&filter={}", escaped(filter)),
    };
    let found = api.get(&path)?;
    let count = found["matching"].as_u64();
    count.ok_or_else(|| Failure::Failed(anyhow::anyhow!("the cloud did not say how many devices match")))
}
