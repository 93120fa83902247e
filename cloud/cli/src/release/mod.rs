//! `iottly key …` and `iottly release …`: keys and signed releases on this machine, in a repository in a
//! folder. Never contacts a cloud.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Args, Subcommand};
use iottly_cloud::releases::{
    KeyFolder, Lifetimes, NewDirective, NewRelease, OfferedEngine, ReleaseRepository,
};
use iottly_cloud::seal_file;
use iottly_core::SealKey;
use iottly_manifest::Script;
use iottly_protocol::release::{Action, Audience, HealthRules};
use iottly_protocol::tuf::{Instant, Root, sha256_hex, sign};
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use serde_json::{Value, json};

use crate::cloud_builder::offered_engine;
use crate::exit::Failure;
use crate::passphrase::Passphrase;

/// Secret keys.
#[derive(Args)]
struct Keys {
    /// Folder of secret keys
    #[arg(long, env = "IOTTLY_KEYS", value_name = "DIR")]
    keys: PathBuf,
    /// File of the key that seals the secret keys; created if it does not exist
    #[arg(long, env = "IOTTLY_SEAL", value_name = "FILE")]
    seal: Option<PathBuf>,
    #[command(flatten)]
    passphrase: Passphrase,
}

impl Keys {
    fn seal(&self) -> anyhow::Result<Option<SealKey>> {
        let Some(file) = &self.seal else { return Ok(None) };
        let locked = seal_file::is_locked(file).with_context(|| format!("cannot read {}", file.display()))?;
        let passphrase = if locked {
            Some(self.passphrase.get(&file.display().to_string(), false)?)
        } else {
            self.passphrase.given()?
        };
        Ok(Some(seal_file::open(file, passphrase.as_ref())?))
    }

    fn open(&self) -> anyhow::Result<KeyFolder> {
        let seal = self.seal()?;
        Ok(KeyFolder::new(&self.keys, seal))
    }
}

/// A repository and the keys that sign for it.
#[derive(Args)]
pub(crate) struct Place {
    /// Folder of the repository: metadata/, targets/ and directives/
    #[arg(long, env = "IOTTLY_REPOSITORY", value_name = "DIR")]
    repository: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// Validity of a timestamp in days; the repository must be refreshed within this time
    #[arg(long, default_value_t = 1, value_name = "N")]
    timestamp_days: u64,
}

impl Place {
    pub(crate) fn keys(&self) -> anyhow::Result<KeyFolder> {
        self.keys.open()
    }

    pub(crate) fn open(&self) -> ReleaseRepository {
        let days = self.timestamp_days;
        let lifetimes = Lifetimes {
            timestamp: days,
            snapshot: days.max(7),
            ..Lifetimes::default()
        };
        ReleaseRepository::new(&self.repository, lifetimes)
    }
}

/// Arguments of `iottly key`.
#[derive(Args)]
pub(crate) struct KeyOptions {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Creates a key for a role: root, targets, snapshot, timestamp, directive or developer
    New {
        /// Role of the key
        role: String,
        #[command(flatten)]
        keys: Keys,
    },
    /// Lists the roles and ids of the keys
    List {
        #[command(flatten)]
        keys: Keys,
    },
    /// Signs the next root of a project with the root keys of this folder, and prints it
    Sign {
        /// File with the root, as `iottly signing-key propose` prints it
        file: PathBuf,
        #[command(flatten)]
        keys: Keys,
    },
    /// Creates a new version of root in which a role has exactly the keys of this folder
    Rotate {
        /// Role of the key
        role: String,
        #[command(flatten)]
        place: Place,
        /// Folder of the root keys that sign [default: --keys]
        #[arg(long, value_name = "DIR")]
        root_keys: Option<PathBuf>,
    },
}

/// Arguments of `iottly release`.
#[derive(Args)]
pub(crate) struct ReleaseOptions {
    #[command(subcommand)]
    command: ReleaseCommand,
}

#[derive(Subcommand)]
enum ReleaseCommand {
    /// Creates an empty repository, and missing keys
    Init {
        #[command(flatten)]
        place: Place,
        /// Number of root keys, and of targets keys, that must sign
        #[arg(long, default_value_t = 1, value_name = "N")]
        threshold: u64,
    },
    /// Adds a component as the next release of a branch
    Add(Box<AddOptions>),
    /// Directs a device or a group to run a release
    Direct(Box<DirectOptions>),
    /// Signs snapshot and timestamp again
    Refresh {
        #[command(flatten)]
        place: Place,
    },
    /// Lists the releases
    Show {
        /// Folder of the repository
        #[arg(long, env = "IOTTLY_REPOSITORY", value_name = "DIR")]
        repository: PathBuf,
    },
}

#[derive(Args)]
struct AddOptions {
    /// Component, as `iottly build` makes it
    firmware: PathBuf,
    #[command(flatten)]
    release: ReleaseFlags,
}

#[derive(Args)]
struct ReleaseFlags {
    #[command(flatten)]
    place: Place,
    /// Branch of the release
    #[arg(long, default_value = "main")]
    branch: String,
    /// Version that is shown to people
    #[arg(long, default_value = "")]
    version: String,
    /// Board profile that the release supports; may be given several times [default: all]
    #[arg(long = "board", value_name = "PROFILE")]
    boards: Vec<String>,
    /// Capability that the release imports; may be given several times
    #[arg(long = "capability", value_name = "NAME")]
    capabilities: Vec<String>,
    /// Number below which a device refuses releases once this one is committed
    #[arg(long, default_value_t = 0, value_name = "N")]
    security_floor: u64,
    /// Duration of the trial, in milliseconds
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    grace_ms: u64,
    /// Offer the script engine of this program beside the release, to devices that have none that fits
    #[arg(long)]
    engine: bool,
}

#[derive(Args)]
struct DirectOptions {
    /// Path of the release, as `iottly release add` prints it
    target: String,
    #[command(flatten)]
    place: Place,
    /// Id of the project
    #[arg(long, env = "IOTTLY_PROJECT", value_name = "ID")]
    project: ProjectId,
    /// Id of the device
    #[arg(
        long,
        value_name = "ID",
        conflicts_with = "group",
        required_unless_present = "group"
    )]
    device: Option<DeviceId>,
    /// Id of the group
    #[arg(long, value_name = "ID")]
    group: Option<GroupId>,
    /// Allow a release that is older than the current one
    #[arg(long)]
    downgrade: bool,
    /// Cancel the update if the device has not activated it
    #[arg(long, conflicts_with = "downgrade")]
    cancel: bool,
    /// Allow a release that the device rolled back
    #[arg(long)]
    force_retry: bool,
    /// Approve a capability of the release; may be given several times
    #[arg(long = "approve", value_name = "NAME")]
    approved: Vec<String>,
    /// Validity of the directive, in hours
    #[arg(long, default_value_t = 24, value_name = "N")]
    valid_hours: u64,
    /// Time limit of the update, in seconds
    #[arg(long, default_value_t = 3600, value_name = "S")]
    deadline: u64,
    /// Largest rate of the download, in bytes a second; 0 for no limit
    #[arg(long, default_value_t = 0, value_name = "N")]
    max_bps: u64,
}

/// Returns the time as an instant in seconds, and in milliseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "a clock before 1970 is an error here, not 1970"
)]
pub(crate) fn now() -> anyhow::Result<(Instant, u64)> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?;
    let ms = u64::try_from(since.as_millis()).context("the clock is far ahead")?;
    Ok((Instant::from_unix(since.as_secs()), ms))
}

fn print(value: &Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{value}").context("cannot write to standard output")
}

/// Runs `iottly key`.
pub(crate) fn run_key(options: &KeyOptions) -> Result<(), Failure> {
    Ok(key(options)?)
}

fn key(options: &KeyOptions) -> anyhow::Result<()> {
    match &options.command {
        KeyCommand::New { role, keys } => {
            let key = keys.open()?.make(role)?.public();
            print(&json!({"role": role, "keyid": key.id(), "public": key.keyval.public}))
        }
        KeyCommand::List { keys } => keys
            .open()?
            .list()?
            .iter()
            .try_for_each(|(role, keyid)| print(&json!({"role": role, "keyid": keyid}))),
        KeyCommand::Sign { file, keys } => {
            let named = || format!("{} is not a root", file.display());
            let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let document: Value = serde_json::from_slice(&text).with_context(named)?;
            let root: Root = serde_json::from_value(document["signed"].clone()).with_context(named)?;
            let signers = keys.open()?.of("root")?;
            let signed = sign(&root, &signers.iter().collect::<Vec<_>>()).with_context(named)?;
            print(&serde_json::from_slice(&signed)?)
        }
        KeyCommand::Rotate {
            role,
            place,
            root_keys,
        } => {
            let root = match root_keys {
                Some(path) => Keys {
                    keys: path.clone(),
                    seal: place.keys.seal.clone(),
                    passphrase: place.keys.passphrase.clone(),
                }
                .open()?,
                None => place.keys.open()?,
            };
            let version = place.open().rotate(role, &root, &place.keys.open()?, now()?.0)?;
            print(&json!({"role": role, "root_version": version}))
        }
    }
}

/// Runs `iottly release`.
pub(crate) fn run_release(options: &ReleaseOptions) -> Result<(), Failure> {
    Ok(release(options)?)
}

fn release(options: &ReleaseOptions) -> anyhow::Result<()> {
    match &options.command {
        ReleaseCommand::Init { place, threshold } => {
            let root = place.open().init(&place.keys.open()?, *threshold, now()?.0)?;
            print(&json!({"root_version": root.header.version, "expires": root.header.expires}))
        }
        ReleaseCommand::Add(options) => add(&options.firmware, &options.release),
        ReleaseCommand::Direct(options) => direct(options),
        ReleaseCommand::Refresh { place } => Ok(place.open().refresh(&place.keys.open()?, now()?.0)?),
        ReleaseCommand::Show { repository } => {
            let releases = ReleaseRepository::new(repository, Lifetimes::default()).list()?;
            releases.iter().try_for_each(|release| {
                print(
                    &json!({"path": release.path, "sha256": release.sha256, "size": release.size, "manifest": release.manifest}),
                )
            })
        }
    }
}

fn add(firmware: &Path, options: &ReleaseFlags) -> anyhow::Result<()> {
    let content = std::fs::read(firmware).with_context(|| format!("cannot read {}", firmware.display()))?;
    let engine = options.engine.then(|| engine_for(&content)).transpose()?;
    let new = NewRelease {
        branch: options.branch.clone(),
        content,
        version: options.version.clone(),
        boards: options.boards.clone(),
        security_floor: options.security_floor,
        capabilities: options.capabilities.clone(),
        health: HealthRules {
            grace_ms: options.grace_ms,
            ..HealthRules::default()
        },
        engine,
    };
    let added = options.place.open().add(&new, &options.place.keys()?, now()?.0)?;
    print(&serde_json::to_value(added)?)
}

/// Returns the script engine of this program, to be offered beside a release.
///
/// # Errors
/// The component is no script, or needs another engine.
fn engine_for(component: &[u8]) -> anyhow::Result<OfferedEngine> {
    let script = Script::extract(component)?
        .context("--engine: the component has code of its own and needs no script engine")?;
    let own = sha256_hex(iottly_engine::ENGINE);
    anyhow::ensure!(
        script.engine == iottly_engine::ABI
            && script
                .exact
                .as_ref()
                .is_none_or(|exact| exact.eq_ignore_ascii_case(&own)),
        "--engine: the script needs the engine {}{}, this program carries {} {own}",
        script.engine,
        script.exact.map(|exact| format!(" {exact}")).unwrap_or_default(),
        iottly_engine::ABI
    );
    Ok(offered_engine())
}

fn direct(options: &DirectOptions) -> anyhow::Result<()> {
    let audience = match (options.device, options.group) {
        (Some(device), _) => Audience::Device(device),
        (None, Some(group)) => Audience::Group(group),
        (None, None) => anyhow::bail!("--device or --group is missing"),
    };
    let action = match (options.cancel, options.downgrade) {
        (true, _) => Action::Cancel,
        (false, true) => Action::Downgrade,
        (false, false) => Action::Install,
    };
    let new = NewDirective {
        project: options.project,
        audience,
        action,
        target: options.target.clone(),
        valid_s: options.valid_hours.saturating_mul(3600),
        deadline_s: options.deadline,
        window: None,
        max_bps: options.max_bps,
        force_retry: options.force_retry,
        approved: options.approved.clone(),
    };
    let (now, now_ms) = now()?;
    let directive = options
        .place
        .open()
        .sign_directive(new, &options.place.keys.open()?, now, now_ms)?;
    print(
        &json!({"id": directive.id, "counter": directive.counter, "release_seq": directive.release_seq, "expires": directive.expires}),
    )
}
