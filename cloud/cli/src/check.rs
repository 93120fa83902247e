//! `iottly check`: builds firmware, runs a minute of it on a virtual board, and decides as a device's trial would. Never
//! contacts a cloud.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Args;
use iottly_boards::{Board, VirtualBoard};
use iottly_sandbox::{
    Call, CallError, Done, Fault, Firmware, HEALTH_EVERY, Host, Instance, Kind, Level, Limits, MemoryState,
    Outgoing, Proof, Schedule, StateStore, View,
};

use crate::build::{self, Project};
use crate::exit::Failure;
use crate::run::{Loader, unix_ms};
use crate::say::say;

/// Time on the board that is checked. Its pauses are skipped.
const BOARD_TIME: Duration = Duration::from_secs(60);
/// Failures in a row of one kind of call after which the check ends.
const STREAK: u32 = 3;
/// Maximum number of calls of one check.
const MAX_CALLS: u32 = 10_000;
/// Maximum time of one check on this machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Number of messages and log lines that are shown.
const SHOWN: u64 = 10;

#[derive(Args)]
#[command(
    after_help = "Exit code 0 when a device would keep this firmware after its trial, 1 when it would return to the previous one:
init or the loop fails, timers and events fail each time, or health() reports a failure. The board is virtual, and a
minute of its time takes a moment. shutdown() is called at the end."
)]
pub(crate) struct Options {
    /// Folder of the firmware
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Exit with code 1 when there are warnings
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let project = Project::open(&options.dir)?;
    let path = build::write(&project)?;
    let wasm = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let firmware = Loader::new()?.load(&wasm)?;
    let (warnings, verdict) = std::thread::Builder::new()
        .stack_size(iottly_sandbox::THREAD_STACK_BYTES)
        .spawn(move || try_out(&firmware))
        .context("cannot start a thread for the trial")?
        .join()
        .map_err(|_| anyhow!("the trial panicked"))?;
    for warning in &warnings {
        say(&format!("warning: {warning}"));
    }
    if let Err(reason) = verdict {
        return Err(anyhow!("a device would not keep {}: {reason}", project.name).into());
    }
    match warnings.len() {
        0 => say(&format!("{} is fine", project.name)),
        count if options.strict => return Err(anyhow!("{} has {count} warnings", project.name).into()),
        _ => {}
    }
    Ok(())
}

/// Runs a minute of firmware. Returns warnings, and the verdict of a trial.
fn try_out(firmware: &Firmware) -> (Vec<String>, Result<(), String>) {
    let host = DryHost::new();
    let (output, skipped_ms) = (Arc::clone(&host.output), Arc::clone(&host.skipped_ms));
    let mut instance = match firmware.start(Box::new(host), Limits::default()) {
        Ok(instance) => instance,
        Err(error) => return (Vec::new(), Err(error.to_string())),
    };
    let began = Instant::now();
    if let Err(error) = instance.init() {
        return (Vec::new(), Err(format!("init: {error}")));
    }
    say(&format!(
        "init took {:.2} ms",
        began.elapsed().as_secs_f64() * 1000.0
    ));
    let mut trial = Trial {
        instance,
        proof: Proof::default(),
        warnings: Vec::new(),
        passes: 0,
        failed_in_a_row: [0; 2],
        skipped: Duration::ZERO,
        skipped_ms,
    };
    let verdict = trial.run();
    if let Some(more) = output.lock().unwrap_or_else(PoisonError::into_inner).hidden() {
        say(&more);
    }
    (trial.warnings, verdict)
}

/// Firmware in its first minute.
struct Trial {
    instance: Instance,
    proof: Proof,
    warnings: Vec<String>,
    passes: u32,
    /// Failures in a row of the loop, and of events.
    failed_in_a_row: [u32; 2],
    /// Time of the board that was skipped.
    skipped: Duration,
    /// The same for the host's date.
    skipped_ms: Arc<AtomicU64>,
}

impl Trial {
    fn run(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let mut schedule = Schedule::new(began, HEALTH_EVERY);
        for _ in 0..MAX_CALLS {
            let now = Instant::now() + self.skipped;
            let left = BOARD_TIME.saturating_sub(now - began);
            if left.is_zero() || began.elapsed() > PATIENCE || self.failed_in_a_row.contains(&STREAK) {
                break;
            }
            let view = View {
                command: false,
                event_at: self.instance.next_event_at().map(|at| at + self.skipped),
            };
            match schedule.next(now, view) {
                Call::Wait(until) => self.skip(until.saturating_duration_since(now).min(left)),
                call => {
                    let done = self.call(call)?;
                    schedule.done(done, now, Instant::now() + self.skipped, self.instance.pause());
                }
            }
        }
        self.proof.verdict()?;
        self.instance
            .health()
            .map_err(|error| format!("health: {error}"))?;
        if let Err(error) = self.instance.shutdown("the check ends") {
            self.warn(format!("shutdown: {error}"));
        }
        Ok(())
    }

    /// Lets time pass on the board.
    fn skip(&mut self, time: Duration) {
        self.instance.advance(time);
        self.skipped += time;
        let ms = u64::try_from(self.skipped.as_millis()).unwrap_or(u64::MAX);
        self.skipped_ms.store(ms, Relaxed);
    }

    /// Makes one call.
    ///
    /// # Errors
    /// The reason for which the firmware was stopped.
    fn call(&mut self, call: Call) -> Result<Done, String> {
        match call {
            Call::Tick => self.tick(),
            Call::Event => {
                match self.instance.deliver() {
                    Ok(true) => self.returned(Kind::Event),
                    Ok(false) => {}
                    Err(error) => self.failed(Kind::Event, "event", &error)?,
                }
                Ok(Done::Other)
            }
            Call::Health => {
                self.instance
                    .health()
                    .map_err(|error| format!("health: {error}"))?;
                Ok(Done::Health)
            }
            Call::Handle | Call::Wait(_) => Ok(Done::Other),
        }
    }

    fn tick(&mut self) -> Result<Done, String> {
        self.passes += 1;
        let began = Instant::now();
        match self.instance.tick(unix_ms() + self.skipped_ms.load(Relaxed)) {
            Ok(next) => {
                self.proof.ticked(next);
                self.failed_in_a_row[row(Kind::Tick)] = 0;
                if self.passes == 1 {
                    say(&format!(
                        "loop took {:.2} ms, next loop after {next} ms",
                        began.elapsed().as_secs_f64() * 1000.0
                    ));
                }
                Ok(Done::Tick(next))
            }
            Err(error) => self.failed(Kind::Tick, "loop", &error).map(|()| Done::FailedTick),
        }
    }

    fn returned(&mut self, kind: Kind) {
        self.proof.returned(kind);
        self.failed_in_a_row[row(kind)] = 0;
    }

    fn failed(&mut self, kind: Kind, what: &str, error: &CallError) -> Result<(), String> {
        let CallError::Fault(fault) = error else {
            return Err(format!("{what}: {error}"));
        };
        self.proof.failed(kind, &fault.to_string());
        self.failed_in_a_row[row(kind)] += 1;
        self.warn(format!("{what}: {fault}"));
        Ok(())
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// Returns the place of a kind of call in `failed_in_a_row`.
fn row(kind: Kind) -> usize {
    usize::from(kind == Kind::Event)
}

/// A host with a virtual board that prints what the firmware would do.
struct DryHost {
    board: VirtualBoard,
    state: MemoryState,
    output: Arc<Mutex<Shown>>,
    skipped_ms: Arc<AtomicU64>,
}

/// Number of lines that a firmware has made.
#[derive(Default)]
struct Shown {
    lines: u64,
}

impl Shown {
    fn show(&mut self, line: &str) {
        self.lines += 1;
        if self.lines <= SHOWN {
            say(line);
        }
    }

    fn hidden(&self) -> Option<String> {
        let more = self.lines.checked_sub(SHOWN).filter(|more| *more > 0)?;
        Some(format!("and {more} more messages and log lines"))
    }
}

impl DryHost {
    fn new() -> Self {
        Self {
            board: VirtualBoard::standard(),
            state: MemoryState::default(),
            output: Arc::default(),
            skipped_ms: Arc::default(),
        }
    }

    fn show(&self, line: &str) {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .show(line);
    }
}

impl Host for DryHost {
    fn send(&mut self, message: Outgoing) -> Result<(), Fault> {
        self.show(&format!(
            "would send {}",
            message.payload.replace(['\n', '\r'], " ")
        ));
        Ok(())
    }

    fn log(&mut self, _: Level, text: &str) {
        self.show(&format!("would log {text:?}"));
    }

    fn now_ms(&mut self) -> u64 {
        unix_ms() + self.skipped_ms.load(Relaxed)
    }

    fn board(&self) -> Option<Arc<dyn Board>> {
        Some(Arc::new(self.board.clone()))
    }

    fn state(&mut self) -> Option<&mut dyn StateStore> {
        Some(&mut self.state)
    }
}
