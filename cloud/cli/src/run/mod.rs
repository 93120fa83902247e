//! `iottly run`: a firmware on this machine, no cloud and no device needed.

mod board;
mod commands;
mod host;
mod profile;
mod reader;
mod state;
mod tape;
mod target;
mod watch;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use iottly_sandbox::{Cache, Firmware, Runtime};
use tokio::sync::oneshot;

use crate::children;
use crate::exit::Failure;
use crate::listen::Stop;
use crate::say::say;
use crate::scratch;
use host::Sink;
pub(crate) use host::unix_ms;
use profile::Profile;
use tape::{Recorder, Tape};
pub(crate) use target::Target;
use worker::{Input, Worker};

/// What editors and shells of Windows begin a file with; no part of what it says.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';
/// Commands and reloads that wait for the firmware.
const INPUTS: usize = 64;
/// How long the firmware may take to stop: its longest call and its shutdown.
const STOP_DEADLINE: Duration = Duration::from_secs(4);

#[derive(Args)]
#[command(
    after_help = "The run ends with Ctrl-C, or when nobody reads standard output any more. The end of standard input ends no run: the
firmware goes on without further commands."
)]
pub(crate) struct Options {
    /// Folder of a firmware, a script (.js) or a component (.wasm)
    #[arg(default_value = ".")]
    what: PathBuf,
    /// Build and load again whenever a source file changes
    #[arg(long)]
    watch: bool,
    /// What the firmware sits on: `standard`, or a file that says what is on the board (see the README of
    /// firmware-examples)
    #[arg(long, value_name = "PROFILE", default_value = "standard")]
    board: String,
    /// Keep what is typed, with its times, in this file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Type what this file kept, at its times
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// What a line on standard output holds
    #[arg(long, value_enum, default_value_t = Output::Payload)]
    output: Output,
}

/// What is printed for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// The message's payload, as the firmware sent it
    Payload,
    /// An object with the time, the channel and the payload
    Json,
}

/// Turns components into something that runs; keeps compiled code in a folder of its own until it is dropped.
pub(crate) struct Loader {
    runtime: Runtime,
    cache: Cache,
    _dir: tempfile::TempDir,
}

impl Loader {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let dir = scratch::dir("iottly-run-")?;
        let cache = Cache::open(dir.path().join("compiled"), children::compiler()?)?;
        Ok(Self {
            runtime: Runtime::new()?,
            cache,
            _dir: dir,
        })
    }

    /// # Errors
    /// [`Failure::Invalid`] when the component is no firmware.
    pub(crate) fn load(&self, wasm: &[u8]) -> Result<Firmware, Failure> {
        use iottly_sandbox::LoadError::{Invalid, Manifest, TooLarge, World};
        self.cache.load(&self.runtime, wasm).map_err(|error| match error {
            TooLarge { .. } | Invalid(_) | Manifest(_) | World(_) => Failure::Invalid(error.to_string()),
            other => Failure::Failed(other.into()),
        })
    }
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    // From here on Ctrl-C is ours, so that one during the build leaves no folder behind.
    let mut stop = Stop::new()?;
    let target = Target::open(&options.what)?;
    let board = Profile::from(options.board.as_str()).board()?;
    let tape = options.replay.as_deref().map(Tape::read).transpose()?;
    let recorder = options.record.as_deref().map(Recorder::create).transpose()?;
    let prepare = tokio::task::spawn_blocking(move || prepare(target));
    let (loader, target, firmware) = tokio::select! {
        prepared = prepare => prepared.context("the build stopped")??,
        () = stop.requested() => return Ok(()),
    };
    let (inputs, waiting) = sync_channel(INPUTS);
    let sink = Sink::new(options.output);
    let (ended, end) = oneshot::channel();
    reader::watch(inputs.clone(), sink.clone()).context("no thread that watches standard output")?;
    let worker = Worker::new(firmware, board, waiting, inputs.clone(), sink);
    std::thread::Builder::new()
        .name("firmware".to_owned())
        .stack_size(iottly_sandbox::THREAD_STACK_BYTES)
        // Nobody listens any more only when this program is about to end.
        .spawn(move || drop(ended.send(worker.run())))
        .context("no thread for the firmware")?;
    if let Some(tape) = tape {
        tape.play(inputs.clone())?;
    }
    commands::listen(inputs.clone(), recorder).context("no thread for the commands")?;
    if options.watch {
        watch::start(target, loader, inputs.clone()).context("no thread that watches the files")?;
        say(&format!("watching {}, Ctrl-C ends", options.what.display()));
    } else {
        say("running, Ctrl-C ends");
    }
    finish(&mut stop, inputs, end).await
}

/// Waits for Ctrl-C or for the end of the firmware's thread, whichever comes first.
async fn finish(
    stop: &mut Stop,
    inputs: SyncSender<Input>,
    mut end: oneshot::Receiver<anyhow::Result<()>>,
) -> Result<(), Failure> {
    let lost = |_| anyhow!("the firmware's thread ended without a reason");
    tokio::select! {
        result = &mut end => return Ok(result.map_err(lost)??),
        () = stop.requested() => {}
    }
    // A full queue means that the firmware is busy: waiting for room must not block this thread.
    let asked = tokio::task::spawn_blocking(move || inputs.send(Input::Stop));
    match tokio::time::timeout(STOP_DEADLINE, &mut end).await {
        Ok(result) => result.map_err(lost)??,
        Err(_) => say(&format!("the firmware did not stop within {STOP_DEADLINE:?}")),
    }
    asked.abort();
    Ok(())
}

fn prepare(target: Target) -> Result<(Loader, Target, Firmware), Failure> {
    let loader = Loader::new()?;
    let firmware = loader.load(&target.component()?)?;
    Ok((loader, target, firmware))
}

fn is_wasm(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "wasm")
}
