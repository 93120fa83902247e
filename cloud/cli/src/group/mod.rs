//! `iottly group …`: what a deployment group runs.

mod flash;
mod remote;

use std::io::Write;

use anyhow::Context;
use clap::{Args, Subcommand};
use iottly_cloud::rollout::{Policy, Wave};
use iottly_protocol::release::Release;

use crate::exit::Failure;
use crate::release::Place;
use flash::{End, Flash};
use remote::{Api, Remote};

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Subcommand)]
enum GroupCommand {
    /// Brings a release to a group's devices: canary first, then the rest; stops itself at failures
    Flash(Box<FlashOptions>),
}

#[derive(Args)]
struct FlashOptions {
    /// Name or id of the group
    group: String,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    place: Place,
    /// The branch whose newest release it is
    #[arg(long, default_value = "main")]
    branch: String,
    /// The release's path, instead of the branch's newest
    #[arg(long, value_name = "PATH")]
    target: Option<String>,
    /// How many devices get it first
    #[arg(long, default_value_t = 1, value_name = "N")]
    canary: u32,
    /// Where a wave ends, in percent of the group; may be given several times
    #[arg(long = "wave", value_name = "PERCENT")]
    waves: Vec<u8>,
    /// How many devices may be under way at once; 0 for no limit
    #[arg(long, default_value_t = 0, value_name = "N")]
    concurrency: u32,
    /// How many of a hundred finished devices may fail
    #[arg(long, default_value_t = 0, value_name = "N")]
    failure_percent: u8,
    /// How often a device that failed is told again
    #[arg(long, default_value_t = 0, value_name = "N")]
    retries: u32,
    /// How long an update may take, seconds
    #[arg(long, default_value_t = 3600, value_name = "S")]
    deadline: u64,
    /// Show what the release would reach, and tell nobody
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let GroupCommand::Flash(options) = &options.command;
    let api = Api::new(&options.remote);
    let group = api.group(&options.group)?;
    let group = group.ok_or_else(|| Failure::NotFound(format!("there is no deployment group {:?}", options.group)))?;
    let repository = options.place.open();
    let release = choose(options, repository.list().map_err(anyhow::Error::from)?)?;
    let mut out = std::io::stdout().lock();
    let line = format!("release {} ({}) for {} devices", release.manifest.release_seq, release.path, group.boards.len());
    writeln!(out, "{line}").context("cannot write to standard output")?;
    drop(out);
    if options.dry_run {
        return Ok(());
    }
    let policy = policy(options);
    policy.check().map_err(|e| Failure::Invalid(e.to_string()))?;
    let keys = options.place.keys()?;
    let flash = Flash {
        api: &api,
        repository: &repository,
        keys: &keys,
        project: options.remote.project,
        release: &release,
        policy: &policy,
        deadline_s: options.deadline,
    };
    match flash.run(&group)? {
        End::Deployed => Ok(writeln!(std::io::stdout().lock(), "deployed").context("cannot write to standard output")?),
        End::Halted(evidence) => {
            let mut text = format!("halted: {}", evidence.detail);
            for (device, reason) in evidence.failures {
                text = format!("{text}\n  {device}: {reason}");
            }
            Err(Failure::Failed(anyhow::anyhow!(text)))
        }
    }
}

fn choose(options: &FlashOptions, releases: Vec<Release>) -> Result<Release, Failure> {
    let prefix = format!("app/{}/", options.branch);
    let wanted = |release: &&Release| match &options.target {
        Some(path) => release.path == *path,
        None => release.path.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/')),
    };
    let newest = releases.iter().filter(wanted).max_by_key(|release| release.manifest.release_seq).cloned();
    newest.ok_or_else(|| {
        Failure::NotFound(options.target.clone().unwrap_or_else(|| format!("branch {:?} has no release", options.branch)))
    })
}

fn policy(options: &FlashOptions) -> Policy {
    Policy {
        canary: options.canary,
        waves: options.waves.iter().copied().map(Wave::Percent).collect(),
        concurrency: options.concurrency,
        failure_percent: options.failure_percent,
        sample: 1,
        retries: options.retries,
        silence_s: options.deadline,
        ..Policy::default()
    }
}
