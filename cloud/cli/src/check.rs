//! `iottly check`: builds a firmware and tries its first steps in the sandbox.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Args;
use iottly_boards::{Board, VirtualBoard};
use iottly_sandbox::{Fault, Firmware, Host, Level, Limits, MemoryState, Outgoing, StateStore};

use crate::build::{self, Project};
use crate::exit::Failure;
use crate::run::{Loader, unix_ms};

/// Stack of the thread that makes the calls.
const STACK_BYTES: usize = 2 << 20;

#[derive(Args)]
pub(crate) struct Options {
    /// Folder of the firmware
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// End with 1 when there is something to warn about
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let project = Project::open(&options.dir)?;
    let path = build::write(&project)?;
    let wasm = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let firmware = Loader::new()?.load(&wasm)?;
    let warnings = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || dry_run(&firmware))
        .context("no thread for the dry run")?
        .join()
        .map_err(|_| anyhow!("the dry run panicked"))?;
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    match warnings.len() {
        0 => eprintln!("{} is fine", project.name),
        count if options.strict => return Err(anyhow!("{} has {count} warnings", project.name).into()),
        _ => {}
    }
    Ok(())
}

/// Runs `init` and one pass of the loop; answers what went wrong.
fn dry_run(firmware: &Firmware) -> Vec<String> {
    let mut instance = match firmware.start(Box::new(DryHost::default()), Limits::default()) {
        Ok(instance) => instance,
        Err(error) => return vec![error.to_string()],
    };
    let began = Instant::now();
    if let Err(error) = instance.init() {
        return vec![format!("init: {error}")];
    }
    let init = began.elapsed();
    let began = Instant::now();
    match instance.tick(unix_ms()) {
        Ok(next) => {
            let ms = |time: Duration| time.as_secs_f64() * 1000.0;
            eprintln!("init took {:.2} ms, loop {:.2} ms, next loop after {next} ms", ms(init), ms(began.elapsed()));
            Vec::new()
        }
        Err(error) => vec![format!("loop: {error}")],
    }
}

/// Shows what the firmware would do, on a virtual board.
#[derive(Default)]
struct DryHost {
    state: MemoryState,
}

impl Host for DryHost {
    fn send(&mut self, message: Outgoing) -> Result<(), Fault> {
        eprintln!("would send {}", message.payload.replace(['\n', '\r'], " "));
        Ok(())
    }

    fn log(&mut self, _: Level, text: &str) {
        eprintln!("would log {text:?}");
    }

    fn now_ms(&mut self) -> u64 {
        unix_ms()
    }
    fn board(&self) -> Option<Arc<dyn Board>> {
        Some(Arc::new(VirtualBoard::standard()))
    }

    fn state(&mut self) -> Option<&mut dyn StateStore> {
        Some(&mut self.state)
    }
}
