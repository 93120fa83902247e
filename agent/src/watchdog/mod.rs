//! The watchdog: ends the process if a critical thread hangs, so that the init system restarts it.
//!
//! Each step that may hang, such as a write to a dying disk, is announced by a guard. One thread counts the
//! rounds that each guard has existed. Rounds, not the clock: a process that was suspended and resumed did
//! not hang.
//!
//! The same thread sends signs of life to the service manager, while every part of the agent makes progress.

mod beat;
mod manager;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{io, process, thread};

use self::beat::{Beat, Parts};
use self::manager::Manager;
use crate::throttle::LogLimit;

pub(crate) use self::beat::Part;

/// Longest wait of a part's loop for work, so that it turns between two signs of life.
pub(crate) const IDLE: Duration = Duration::from_secs(5);
/// Rounds that a part may spend on compiling firmware or waiting for another compilation: the compiler is killed after
/// two minutes, and at most one compilation is ahead.
pub(crate) const COMPILING_ROUNDS: u32 = 300;
/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Rounds after which a step counts as hanging: a minute.
const LIMIT_ROUNDS: u32 = 60;
/// Maximum time to write the last line of the log, which may hang as well.
const LAST_LINE: Duration = Duration::from_secs(2);

/// Exit code of a process that the watchdog has ended.
pub const HUNG_EXIT: i32 = 75;

static STEPS: Mutex<Steps> = Mutex::new(Steps {
    last: 0,
    open: BTreeMap::new(),
});

/// Steps under way; at most one per thread that announces steps.
#[derive(Debug)]
struct Steps {
    last: u64,
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    what: &'static str,
    rounds: u32,
}

impl Steps {
    fn begin(&mut self, what: &'static str) -> u64 {
        self.last += 1;
        self.open.insert(self.last, Open { what, rounds: 0 });
        self.last
    }

    /// Counts a round. Returns a step that hangs.
    fn round(&mut self) -> Option<&'static str> {
        for open in self.open.values_mut() {
            open.rounds += 1;
        }
        self.open
            .values()
            .find(|open| open.rounds > LIMIT_ROUNDS)
            .map(|open| open.what)
    }
}

fn steps() -> MutexGuard<'static, Steps> {
    STEPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Guard of a step, which is under way until the guard is dropped.
#[derive(Debug)]
pub(crate) struct Step(u64);

/// Announces a step that must not take longer than a minute.
pub(crate) fn step(what: &'static str) -> Step {
    Step(steps().begin(what))
}

impl Drop for Step {
    fn drop(&mut self) {
        steps().open.remove(&self.0);
    }
}

/// Parts of one agent, whose progress is watched until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Watched(Vec<u64>);

impl Watched {
    /// Adds a part. From now on its loop has to turn.
    pub(crate) fn part(&mut self, name: &'static str) -> Part {
        let (number, part) = parts().add(name);
        self.0.push(number);
        part
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut parts = parts();
        for number in &self.0 {
            parts.remove(*number);
        }
    }
}

static PARTS: Mutex<Parts> = Mutex::new(Parts::new());

fn parts() -> MutexGuard<'static, Parts> {
    PARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The service manager that this process reports to, if it does.
static MANAGER: OnceLock<Manager> = OnceLock::new();

/// Reports to the service manager of the environment, if there is one: that the agent is up, then a sign of life for as
/// long as every part of it makes progress.
///
/// # Errors
/// The environment names a socket that cannot be used.
pub fn report_ready() -> io::Result<()> {
    // An agent that has got a key starts again in the same process.
    if MANAGER.get().is_none()
        && let Some(manager) = Manager::of_environment()?
    {
        manager.tell("READY=1")?;
        // Set by one thread only: the one that starts the agent.
        let _ = MANAGER.set(manager);
    }
    Ok(())
}

/// Reports to the service manager that the agent stops.
pub fn report_stopping() {
    tell("STOPPING=1");
}

fn tell(notice: &str) {
    static FAILED: LogLimit = LogLimit::new();
    if let Some(Err(error)) = MANAGER.get().map(|manager| manager.tell(notice))
        && let Some(more) = FAILED.pass()
    {
        tracing::warn!(%error, notice, suppressed = more, "failed to notify the service manager; it may restart the agent");
    }
}

/// Sends a sign of life if every part has made progress.
fn beat() {
    let beat = parts().round();
    match beat {
        Beat::Send => tell("WATCHDOG=1"),
        Beat::Wait => {}
        Beat::Name(part) => tracing::error!(
            part.name = part,
            "a part of the agent makes no progress; the service manager, if there is one, will restart it"
        ),
    }
}

/// Starts the watchdog of the process, unless it runs already.
pub(crate) fn start() -> io::Result<()> {
    static STARTED: OnceLock<()> = OnceLock::new();
    if STARTED.set(()).is_ok() {
        let watch = || loop {
            thread::sleep(ROUND);
            let hung = steps().round();
            if let Some(what) = hung {
                end(what);
            }
            beat();
        };
        thread::Builder::new()
            .name("watchdog".to_owned())
            .stack_size(128 << 10)
            .spawn(watch)?;
    }
    Ok(())
}

/// Ends the process because a part of it hangs and cannot be ended separately.
pub(crate) fn end(what: &'static str) -> ! {
    let line = move || {
        tracing::error!(
            step.name = what,
            exit.code = HUNG_EXIT,
            "a part of the agent hangs; ending the process"
        )
    };
    if let Ok(written) = thread::Builder::new().spawn(line) {
        let until = Instant::now() + LAST_LINE;
        while !written.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
    }
    process::exit(HUNG_EXIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_step_that_stays_a_minute_hangs() {
        let mut steps = Steps {
            last: 0,
            open: BTreeMap::new(),
        };
        for _ in 0..10 {
            let short = steps.begin("short");
            for _ in 0..LIMIT_ROUNDS {
                assert_eq!(steps.round(), None);
            }
            steps.open.remove(&short);
        }
        let stuck = steps.begin("stuck");
        for _ in 0..LIMIT_ROUNDS {
            let other = steps.begin("other");
            assert_eq!(steps.round(), None);
            steps.open.remove(&other);
        }
        assert_eq!(steps.round(), Some("stuck"));
        steps.open.remove(&stuck);
        assert!(steps.open.is_empty());
    }
}
