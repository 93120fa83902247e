//! `iottly run`: firmware on this machine. Needs neither a cloud nor a device.

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

use crate::compiled;
use crate::exit::Failure;
use crate::listen::Stop;
use crate::say::say;
use host::Sink;
pub(crate) use host::unix_ms;
use profile::Profile;
use tape::{Recorder, Tape};
pub(crate) use target::Target;
use worker::{Input, Worker};

/// Mark at which Windows editors and shells begin a file; not part of its content.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';
/// Largest number of inputs that wait for the firmware's thread.
const INPUTS: usize = 64;
/// Longest time until the firmware stops: its longest call and its shutdown.
const STOP_DEADLINE: Duration = Duration::from_secs(4);

#[derive(Args)]
#[command(
    after_help = "The run ends with Ctrl-C, or when standard output is closed. After the end of standard input the firmware continues
without further commands."
)]
pub(crate) struct Options {
    /// Folder of a firmware, a script (.js) or a component (.wasm)
    #[arg(default_value = ".")]
    what: PathBuf,
    /// Build and load again when a source file changes
    #[arg(long)]
    watch: bool,
    /// Board of the firmware: `standard`, or a file that describes it (see the README of firmware-examples)
    #[arg(long, value_name = "PROFILE", default_value = "standard")]
    board: String,
    /// File to which the inputs are recorded, with their times
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// File of recorded inputs to replay at their times
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Content of a line on standard output
    #[arg(long, value_enum, default_value_t = Output::Payload)]
    output: Output,
}

/// Format of a printed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Payload of the message, as the firmware sent it
    Payload,
    /// Object with the time, the channel and the payload
    Json,
}

/// Loads components with the compiled code of this process.
pub(crate) struct Loader {
    runtime: Runtime,
    cache: Cache,
}

impl Loader {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            runtime: Runtime::new()?,
            cache: compiled::open(&compiled::folder())?,
        })
    }

    /// Compiles and loads a component.
    ///
    /// # Errors
    /// [`Failure::Invalid`] when the component is not firmware.
    pub(crate) fn load(&self, wasm: &[u8]) -> Result<Firmware, Failure> {
        use iottly_sandbox::LoadError::{Invalid, Manifest, NoEngine, Script, TooLarge, World};
        self.cache.load(&self.runtime, wasm).map_err(|error| match error {
            TooLarge { .. } | Invalid(_) | Manifest(_) | World(_) | Script(_) | NoEngine { .. } => {
                Failure::Invalid(error.to_string())
            }
            other => Failure::Failed(other.into()),
        })
    }
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    // Caught from here, so that Ctrl-C during the build leaves no folder behind.
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
    reader::watch(inputs.clone(), sink.clone()).context("cannot start a thread for standard output")?;
    let worker = Worker::new(firmware, board, waiting, inputs.clone(), sink);
    std::thread::Builder::new()
        .name("firmware".to_owned())
        .stack_size(iottly_sandbox::THREAD_STACK_BYTES)
        // Sending fails only when this program is about to end.
        .spawn(move || drop(ended.send(worker.run())))
        .context("cannot start a thread for the firmware")?;
    if let Some(tape) = tape {
        tape.play(inputs.clone())?;
    }
    commands::listen(inputs.clone(), recorder).context("cannot start a thread for the commands")?;
    if options.watch {
        watch::start(target, loader, inputs.clone())
            .context("cannot start a thread that watches the files")?;
        say(&format!(
            "watching {}; press Ctrl-C to stop",
            options.what.display()
        ));
    } else {
        say("running; press Ctrl-C to stop");
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
    // A full queue means that the firmware is busy; waiting for room must not block this thread.
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
