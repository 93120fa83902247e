//! `iottly dev`: the firmware of a folder on devices, seconds after each save, under a developer lease.

mod cloud;
mod folder;
mod line;
mod session;

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use iottly_manifest::Lang;
use serde_json::Value;

use crate::build::Project;
use crate::exit::Failure;
use crate::listen::Stop;
use crate::remote::{Api, Remote};
use crate::run::Target;
use cloud::{Feed, Lease};
use session::Session;

/// Largest number of inputs that wait for the session.
const INPUTS: usize = 256;

#[derive(Args)]
#[command(
    after_help = "Each save is built, signed and sent to the devices, which run it at once in place of their release; its key-value state is kept.
Code that does not start leaves what ran before. Ctrl-C, the end of the lease, a new release and a restart of the
device bring the release back. A device whose agent.toml says `developer = false` takes no code."
)]
pub(crate) struct Options {
    /// Names or ids of devices, at most 16; may be left out in a project with one device
    #[arg(env = "IOTTLY_DEVICE", value_name = "DEVICE", value_delimiter = ',')]
    devices: Vec<String>,
    /// Folder of the firmware
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    /// Length of the lease in hours, after which the devices return to their release
    #[arg(long, value_name = "HOURS", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=8))]
    hours: u8,
    /// Capabilities that the committed release of the devices does not have, for example `gpio,i2c`
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    approve: Vec<String>,
    /// End other leases on these devices first
    #[arg(long)]
    take: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Input of the session.
enum Input {
    /// A file was saved; the time at which that was seen.
    Saved(Instant),
    /// Event of the live feed: its kind and its content.
    Feed(String, Value),
    /// The feed has ended; it is opened again.
    FeedLost,
    /// The feed is open again.
    FeedBack,
    /// The cloud refuses the feed.
    Refused(Failure),
    /// The user ends the session.
    Stop,
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    let (inputs, waiting) = sync_channel(INPUTS);
    let ending = inputs.clone();
    tokio::spawn(async move {
        stop.requested().await;
        // A full queue is emptied by the session.
        let _ = tokio::task::spawn_blocking(move || ending.send(Input::Stop)).await;
        stop.requested().await;
        // The second signal does not wait for the devices.
        std::process::exit(130);
    });
    let session = move || -> Result<(), Failure> {
        let project = Project::open(&options.dir)?;
        if project.language != Lang::Js {
            return Err(Failure::Invalid(
                "`iottly dev` runs scripts; `iottly push` and `iottly group flash` bring a Rust firmware to devices"
                    .to_owned(),
            ));
        }
        let api = Api::open(&options.remote)?;
        let devices = cloud::choose(&api, &options.devices)?;
        let lease = Lease::open(&api, &devices, options.hours, &options.approve, options.take)?;
        let mut session = Session::new(project, api, devices, lease, options.json);
        let feed = Feed::open(session.api(), session.lease(), inputs.clone());
        let watched = feed.and_then(|()| {
            folder::watch(Target::open(&options.dir)?, inputs)
                .context("cannot start a thread that watches the files")?;
            Ok(())
        });
        match watched {
            Ok(()) => session.run(&waiting),
            Err(failure) => {
                session.give_back(&waiting);
                Err(failure)
            }
        }
    };
    tokio::task::spawn_blocking(session)
        .await
        .context("the session stopped")?
}
