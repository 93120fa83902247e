//! `iottly check`: builds firmware and decides as a device's trial of it would. Never contacts a cloud.

use std::path::PathBuf;
use std::sync::Arc;
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

/// Passes of the loop, and events, after which the check ends.
const PASSES: u32 = 3;
/// Largest number of calls of one check.
const MAX_CALLS: u32 = 32;
/// Longest wait for timers and events of the board. Pauses of the loop are skipped.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Args)]
#[command(
    after_help = "Exit code 0 when a device would keep this firmware after its trial, 1 when it would return to the previous one:
init or the loop fails, timers and events fail each time, or health() reports a failure. The board is virtual."
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

/// Runs the first steps of firmware. Returns warnings, and the verdict of a trial.
fn try_out(firmware: &Firmware) -> (Vec<String>, Result<(), String>) {
    let mut instance = match firmware.start(Box::new(DryHost::default()), Limits::default()) {
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
        events: 0,
        skipped: Duration::ZERO,
    };
    let verdict = trial.run();
    (trial.warnings, verdict)
}

/// Firmware in its first steps.
struct Trial {
    instance: Instance,
    proof: Proof,
    warnings: Vec<String>,
    passes: u32,
    events: u32,
    /// Skipped pauses of the loop.
    skipped: Duration,
}

impl Trial {
    fn run(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut schedule = Schedule::new(Instant::now(), HEALTH_EVERY);
        for _ in 0..MAX_CALLS {
            let Some(call) = self.next(&schedule, deadline) else {
                break;
            };
            let began = Instant::now() + self.skipped;
            let done = self.call(call)?;
            schedule.done(done, began, Instant::now() + self.skipped, self.instance.pause());
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

    /// Returns the next call; none when the check ends.
    fn next(&mut self, schedule: &Schedule, deadline: Instant) -> Option<Call> {
        loop {
            let event_at = self
                .instance
                .next_event_at()
                .filter(|at| self.events < PASSES && *at <= deadline);
            if self.passes >= PASSES && event_at.is_none() {
                return None;
            }
            let (now, skipped) = (Instant::now(), self.skipped);
            let view = View {
                command: false,
                event_at: event_at.map(|at| at + skipped),
            };
            match schedule.next(now + skipped, view) {
                Call::Wait(until) => match event_at {
                    // Timers and events need real time; the next pass of the loop does not.
                    Some(at) if at > now && at + skipped <= until => std::thread::sleep(at - now),
                    _ => self.skipped += until.saturating_duration_since(now + skipped),
                },
                Call::Tick if self.passes >= PASSES => {
                    return event_at.map(|at| {
                        std::thread::sleep(at.saturating_duration_since(now));
                        Call::Event
                    });
                }
                call => return Some(call),
            }
        }
    }

    /// Makes one call.
    ///
    /// # Errors
    /// The reason for which the firmware was stopped.
    fn call(&mut self, call: Call) -> Result<Done, String> {
        match call {
            Call::Tick => self.tick(),
            Call::Event => {
                self.events += 1;
                match self.instance.deliver() {
                    Ok(true) => self.proof.returned(Kind::Event),
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
        match self.instance.tick(unix_ms()) {
            Ok(next) => {
                self.proof.ticked(next);
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

    fn failed(&mut self, kind: Kind, what: &str, error: &CallError) -> Result<(), String> {
        let CallError::Fault(fault) = error else {
            return Err(format!("{what}: {error}"));
        };
        self.proof.failed(kind, &fault.to_string());
        self.warn(format!("{what}: {fault}"));
        Ok(())
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// A host with a virtual board that prints what the firmware would do.
#[derive(Default)]
struct DryHost {
    state: MemoryState,
}

impl Host for DryHost {
    fn send(&mut self, message: Outgoing) -> Result<(), Fault> {
        say(&format!(
            "would send {}",
            message.payload.replace(['\n', '\r'], " ")
        ));
        Ok(())
    }

    fn log(&mut self, _: Level, text: &str) {
        say(&format!("would log {text:?}"));
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
