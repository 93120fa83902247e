//! `iottly group …`: deployment groups, and rollouts to them.

mod manage;
mod watch;

use std::io::Write;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use iottly_web::answers::{FlashDto, GroupDto, RolloutDto};
use serde_json::{Map, Value, json};

use crate::answer::read;
use crate::exit::Failure;
use crate::remote::{Api, Remote};
use watch::watch;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Subcommand)]
enum GroupCommand {
    /// Lists the deployment groups
    List(manage::ListOptions),
    /// Creates a deployment group
    Create(manage::CreateOptions),
    /// Renames a deployment group
    Rename(manage::RenameOptions),
    /// Lets a deployment group follow a branch
    Follow(manage::FollowOptions),
    /// Deletes a deployment group; its devices move to `_orphaned`
    Delete(manage::DeleteOptions),
    /// Deploys the group's branch: a canary first, then the rest; halts when too many devices fail
    Flash(Box<FlashOptions>),
    /// Shows the progress of the group's newest rollout until it ends
    Watch(Named),
    /// Pauses the rollout: no further devices are updated until it is resumed
    Pause(Named),
    /// Resumes a paused or halted rollout; devices that failed try again
    Resume(Steered),
    /// Cancels the rollout: devices that have not activated the release keep their current one
    Cancel(Named),
    /// Deploys the release that the group ran before
    Rollback(Steered),
}

#[derive(Args)]
struct Named {
    /// Name or id of the group
    group: String,
    #[command(flatten)]
    remote: Remote,
    /// Format of the output
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Args)]
struct Steered {
    #[command(flatten)]
    named: Named,
    /// Show the progress until the rollout ends
    #[arg(long)]
    watch: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Readable text
    Text,
    /// A line of JSON for each event
    #[value(alias = "jsonl")]
    Json,
}

#[derive(Args)]
struct FlashOptions {
    #[command(flatten)]
    steered: Steered,
    /// Revision of the branch, in place of its newest
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// Approve a capability that the previous release does not have; may be given several times
    #[arg(long = "approve", value_name = "NAME")]
    approve: Vec<String>,
    /// Allow devices to try a release again that they rolled back
    #[arg(long)]
    force: bool,
    /// Show the release's capabilities and the devices that would refuse it, without a rollout
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    spread: Spread,
}

/// Parts of the policy that differ from the group's own.
#[derive(Args)]
struct Spread {
    /// Number of devices that are updated first
    #[arg(long, value_name = "N")]
    canary: Option<u32>,
    /// End of a wave, in percent of the group; may be given several times
    #[arg(long = "wave", value_name = "PERCENT")]
    waves: Vec<u8>,
    /// Largest number of devices that update at the same time; 0 for no limit
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Percentage of the finished devices that may fail
    #[arg(long, value_name = "N")]
    failure_percent: Option<u8>,
    /// Number of retries of a device that failed
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Wait between two waves, in seconds
    #[arg(long, value_name = "S")]
    soak: Option<u64>,
    /// Time limit of an update, in seconds
    #[arg(long, value_name = "S")]
    deadline: Option<u64>,
    /// Duration of the release's trial on each device, in milliseconds
    #[arg(long, value_name = "MS")]
    grace_ms: Option<u64>,
}

impl Spread {
    /// Returns the fields of a policy that differ from the group's own.
    fn fields(&self) -> Map<String, Value> {
        let waves = (!self.waves.is_empty()).then(|| {
            self.waves
                .iter()
                .map(|percent| json!({"percent": percent}))
                .collect()
        });
        let number = |value: Option<u32>| value.map(Value::from);
        let fields = [
            ("canary", number(self.canary)),
            ("waves", waves),
            ("concurrency", number(self.concurrency)),
            ("failure_percent", self.failure_percent.map(Value::from)),
            ("retries", number(self.retries)),
            ("soak_s", self.soak.map(Value::from)),
            ("deadline_s", self.deadline.map(Value::from)),
            ("grace_ms", self.grace_ms.map(Value::from)),
        ];
        fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        GroupCommand::List(options) => manage::list(options),
        GroupCommand::Create(options) => manage::create(options),
        GroupCommand::Rename(options) => manage::rename(options),
        GroupCommand::Follow(options) => manage::follow(options),
        GroupCommand::Delete(options) => manage::delete(options),
        GroupCommand::Flash(options) => flash(options),
        GroupCommand::Watch(named) => {
            let (api, group) = open(named)?;
            watch(&api, &newest(&api, &group)?, named.output == Output::Json)
        }
        GroupCommand::Pause(named) => steer(named, "pause"),
        GroupCommand::Cancel(named) => steer(named, "cancel"),
        GroupCommand::Resume(steered) => {
            steer(&steered.named, "resume")?;
            let (api, group) = open(&steered.named)?;
            follow(&api, steered, &newest(&api, &group)?)
        }
        GroupCommand::Rollback(steered) => {
            let (api, group) = open(&steered.named)?;
            let begun = api.post(&format!("/deploymentgroups/{}/rollback", group.id), &json!({}))?;
            match announce(&begun, &group, steered.named.output)?.rollout {
                Some(rollout) => follow(&api, steered, &rollout.to_string()),
                None => Ok(()),
            }
        }
    }
}

fn open(named: &Named) -> Result<(Api, GroupDto), Failure> {
    let api = Api::open(&named.remote)?;
    let group = api.group(&named.group)?;
    Ok((api, group))
}

fn steer(named: &Named, how: &str) -> Result<(), Failure> {
    let (api, group) = open(named)?;
    api.post(&format!("/deploymentgroups/{}/{how}", group.id), &json!({}))
        .map(drop)
}

fn follow(api: &Api, steered: &Steered, rollout: &str) -> Result<(), Failure> {
    if steered.watch {
        watch(api, rollout, steered.named.output == Output::Json)
    } else {
        Ok(())
    }
}

fn newest(api: &Api, group: &GroupDto) -> Result<String, Failure> {
    let answer = api.get(&format!("/rollouts?group={}&numRollouts=1", group.id))?;
    let rollouts: Vec<RolloutDto> = read(&answer["rollouts"])?;
    let id = rollouts.first().map(|rollout| rollout.id.to_string());
    id.ok_or_else(|| Failure::NotFound(format!("deployment group {:?} has no rollout yet", group.name)))
}

fn flash(options: &FlashOptions) -> Result<(), Failure> {
    let (api, group) = open(&options.steered.named)?;
    let mut body = json!({"approve": options.approve, "force": options.force, "dry_run": options.dry_run});
    if let Some(revision) = options.revision {
        body["revision"] = revision.into();
    }
    let fields = options.spread.fields();
    if !fields.is_empty() {
        let mut policy = api.get(&format!("/deploymentgroups/{}/policy", group.id))?["policy"].take();
        for (name, value) in fields {
            policy[name] = value;
        }
        body["policy"] = policy;
    }
    let begun = api.post(&format!("/deploymentgroups/{}/flashfw", group.id), &body)?;
    match announce(&begun, &group, options.steered.named.output)?.rollout {
        Some(rollout) => follow(&api, &options.steered, &rollout.to_string()),
        None => Ok(()),
    }
}

/// Prints the release, and the devices that would refuse it. Returns what was begun.
fn announce(answer: &Value, group: &GroupDto, output: Output) -> Result<FlashDto, Failure> {
    let begun: FlashDto = read(answer)?;
    let text = if output == Output::Json {
        answer.to_string()
    } else {
        announcement(&begun, group)
    };
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write to standard output")?;
    Ok(begun)
}

fn announcement(begun: &FlashDto, group: &GroupDto) -> String {
    let release = &begun.release;
    let reach = if release.capabilities.is_empty() {
        String::new()
    } else {
        format!(", capabilities {}", release.capabilities.join(", "))
    };
    let mut text = format!(
        "release {} ({}, revision {}) for {} devices{reach}",
        release.release,
        release.path,
        release.revision,
        group.size()
    );
    if group.size() == 0 {
        text.push_str("\nthe group has no devices: no device is notified, and devices that join it later are not notified either");
    }
    for refusal in &begun.preflight.refusals {
        text = format!(
            "{text}\n{} would refuse it: {}: {}",
            refusal.device,
            refusal.reason.as_str(),
            refusal.detail
        );
    }
    text
}
