//! `iottly group …`: deployment groups, and rollouts to them.

mod manage;
mod spread;
mod watch;

use std::io::{IsTerminal as _, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use iottly_web::answers::{FlashDto, GroupDto, RolloutDto};
use serde_json::{Value, json};

use crate::answer::read;
use crate::exit::Failure;
use crate::remote::{Api, Remote};
use crate::say::{insist, say};
use spread::Spread;
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
    Watch(WatchOptions),
    /// Shows or changes the rules of the group's next rollouts; what is not given stays
    Policy(PolicyOptions),
    /// Pauses the rollout: no further devices are updated until it is resumed
    Pause(Named),
    /// Resumes a paused or halted rollout; devices that failed try again
    Resume(Steered),
    /// Cancels the rollout: devices that have not activated the release keep their current one
    Cancel(CancelOptions),
    /// Deploys the release that the group ran before
    Rollback(RollbackOptions),
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
    #[command(flatten)]
    patience: Patience,
}

#[derive(Args)]
struct Patience {
    /// Stop following after this time, in seconds, with exit code 124; the rollout continues
    #[arg(long, value_name = "S")]
    timeout: Option<u64>,
}

impl Patience {
    fn deadline(&self) -> Option<Instant> {
        let seconds = self.timeout.map(Duration::from_secs)?;
        Instant::now().checked_add(seconds)
    }
}

#[derive(Args)]
struct WatchOptions {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Args)]
struct Consent {
    /// Do not ask, also on a terminal
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
struct CancelOptions {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    consent: Consent,
}

#[derive(Args)]
struct RollbackOptions {
    #[command(flatten)]
    steered: Steered,
    #[command(flatten)]
    consent: Consent,
    /// Show the release that the group would go back to and the devices that would refuse it, without a rollout
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
struct PolicyOptions {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    spread: Spread,
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
    consent: Consent,
    #[command(flatten)]
    spread: Spread,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        GroupCommand::List(options) => manage::list(options),
        GroupCommand::Create(options) => manage::create(options),
        GroupCommand::Rename(options) => manage::rename(options),
        GroupCommand::Follow(options) => manage::follow(options),
        GroupCommand::Delete(options) => manage::delete(options),
        GroupCommand::Flash(options) => flash(options),
        GroupCommand::Watch(WatchOptions { named, patience }) => {
            let (api, group) = open(named)?;
            let json = named.output == Output::Json;
            let rollout = newest(&api, &group)?;
            watch(&api, (&group.name, &rollout), json, patience.deadline())
        }
        GroupCommand::Policy(options) => {
            let (api, group) = open(&options.named)?;
            spread::policy(&api, &group, &options.spread, options.named.output)
        }
        GroupCommand::Pause(named) => {
            let (api, group) = open(named)?;
            steer(&api, &group, named.output, ("pause", "paused"))
        }
        GroupCommand::Cancel(CancelOptions { named, consent }) => {
            let (api, group) = open(named)?;
            agree(&group, "cancel the rollout", consent)?;
            steer(&api, &group, named.output, ("cancel", "cancelled"))
        }
        GroupCommand::Resume(steered) => {
            let (api, group) = open(&steered.named)?;
            steer(&api, &group, steered.named.output, ("resume", "resumed"))?;
            follow(&api, steered, &newest(&api, &group)?)
        }
        GroupCommand::Rollback(options) => roll_back(options),
    }
}

fn roll_back(options: &RollbackOptions) -> Result<(), Failure> {
    let steered = &options.steered;
    let (api, group) = open(&steered.named)?;
    if !options.dry_run {
        agree(&group, "roll back", &options.consent)?;
    }
    let body = json!({"dry_run": options.dry_run});
    let begun = api.post(&format!("/deploymentgroups/{}/rollback", group.id), &body)?;
    match announce(&begun, &group, steered.named.output)?.rollout {
        Some(rollout) => follow(&api, steered, &rollout.to_string()),
        None => Ok(()),
    }
}

/// Says how many devices an action affects, and asks on a terminal; elsewhere it is not asked.
///
/// # Errors
/// [`Failure::Invalid`] when the answer is not yes.
fn agree(group: &GroupDto, action: &str, consent: &Consent) -> Result<(), Failure> {
    let count = match group.size() {
        1 => "1 device".to_owned(),
        count => format!("{count} devices"),
    };
    let affected = format!("this affects {count} of {}", group.name);
    if consent.yes || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        say(&affected);
        return Ok(());
    }
    insist(&format!("{affected}\n{action}? Type yes:"));
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("cannot read from the terminal")?;
    match line.trim() {
        "yes" | "y" => Ok(()),
        _ => Err(Failure::Invalid(
            "nothing was done; `--yes` does it without asking".to_owned(),
        )),
    }
}

fn open(named: &Named) -> Result<(Api, GroupDto), Failure> {
    let api = Api::open(&named.remote)?;
    let group = api.group(&named.group)?;
    Ok((api, group))
}

/// Steers the rollout of a group, and prints what was done; `how` is a word of the API with its past participle.
fn steer(api: &Api, group: &GroupDto, output: Output, (how, done): (&str, &str)) -> Result<(), Failure> {
    api.post(&format!("/deploymentgroups/{}/{how}", group.id), &json!({}))?;
    let text = match output {
        Output::Json => json!({"group": group.id, "name": group.name, "rollout": done}).to_string(),
        Output::Text => format!("{done} the rollout to {}", group.name),
    };
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write to standard output")?;
    Ok(())
}

fn follow(api: &Api, steered: &Steered, rollout: &str) -> Result<(), Failure> {
    if steered.watch {
        let json = steered.named.output == Output::Json;
        let group = steered.named.group.as_str();
        watch(api, (group, rollout), json, steered.patience.deadline())
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
    if let Some(policy) = spread::merged(&api, &group, &options.spread)? {
        body["policy"] = policy;
    }
    if !options.dry_run {
        agree(&group, "flash", &options.consent)?;
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
