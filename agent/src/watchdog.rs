//! A vital thread that hangs is noticed and ends the process, for the init system to start it again.
//!
//! Each step that may hang, such as a write to a dying disk, is announced by a guard. One thread counts how
//! long each guard has been there. It counts its own rounds and not the clock: a process that is stopped and
//! continued did not hang.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{io, process, thread};

/// Time between two looks.
const ROUND: Duration = Duration::from_secs(1);
/// Rounds after which a step counts as hanging: a minute.
const LIMIT_ROUNDS: u32 = 60;
/// How long the last line of the log may take: the log may be what hangs.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Exit code of a process that the watchdog has ended.
pub const HUNG_EXIT: i32 = 75;

static STEPS: Mutex<Steps> = Mutex::new(Steps {
    last: 0,
    open: BTreeMap::new(),
});

/// The steps that are under way; at most one for each thread that announces any.
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

    /// Counts a round; returns the step that hangs.
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

/// A step that is under way until this is dropped.
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

/// Starts the watchdog of the process, if it does not run yet.
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

/// Ends the process, because something in it hangs and cannot be ended by itself.
pub(crate) fn end(what: &'static str) -> ! {
    let words = move || {
        tracing::error!(
            step = what,
            exit = HUNG_EXIT,
            "a part of the agent hangs; ending the process"
        )
    };
    if let Ok(told) = thread::Builder::new().spawn(words) {
        let until = Instant::now() + LAST_WORDS;
        while !told.is_finished() && Instant::now() < until {
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
