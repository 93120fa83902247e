//! The watchdog: ends the process if a critical thread hangs, so that the init system restarts it.
//!
//! Each step that may hang, such as a write to a dying disk, is announced by a guard. One thread counts the
//! rounds that each guard has existed. Rounds, not the clock: a process that was suspended and resumed did
//! not hang.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{io, process, thread};

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
