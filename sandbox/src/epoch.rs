//! The clock that interrupts running firmware. Decides nothing about a call's budget.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// Time between two epochs.
pub(crate) const EPOCH: Duration = Duration::from_millis(10);
/// Number of epochs without a running firmware after which the thread sleeps; short enough to save power,
/// long enough that calls in quick succession need no wake-up.
const IDLE_EPOCHS: u32 = 20;

/// Thread that advances the engine's epoch while firmware runs. Starts with the first firmware, so that a process can
/// load code, then confine itself with all its threads, and then run the code.
pub(crate) struct Ticker {
    engine: Engine,
    shared: Arc<Shared>,
    thread: OnceLock<Thread>,
    starting: Mutex<()>,
}

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// Mark of a call in progress; the epoch advances at least until it is dropped.
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            shared: Arc::default(),
            thread: OnceLock::new(),
            starting: Mutex::default(),
        }
    }

    /// Keeps the epoch advancing until the result is dropped.
    ///
    /// # Errors
    /// The system has no thread for the clock.
    pub(crate) fn running(&self) -> io::Result<Running<'_>> {
        let thread = match self.thread.get() {
            Some(thread) => thread,
            None => self.start()?,
        };
        self.shared.running.fetch_add(1, SeqCst);
        if self.shared.asleep.swap(false, SeqCst) {
            thread.unpark();
        }
        Ok(Running(&self.shared))
    }

    fn start(&self) -> io::Result<&Thread> {
        let _one = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = self.thread.get() {
            return Ok(thread);
        }
        let (engine, worker) = (self.engine.clone(), Arc::clone(&self.shared));
        let handle = thread::Builder::new()
            .name("epoch".to_owned())
            .spawn(move || tick(&engine, &worker))?;
        Ok(self.thread.get_or_init(|| handle.thread().clone()))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

fn tick(engine: &Engine, shared: &Shared) {
    let mut idle = 0;
    while !shared.stop.load(SeqCst) {
        thread::sleep(EPOCH);
        engine.increment_epoch();
        idle = if shared.running.load(SeqCst) == 0 {
            idle + 1
        } else {
            0
        };
        if idle >= IDLE_EPOCHS {
            sleep_until_needed(shared);
            idle = 0;
        }
    }
}

/// Sleeps until a call is in progress. A caller first counts itself in and then reads `asleep`; here the
/// order is reversed, so one of both sees the other.
fn sleep_until_needed(shared: &Shared) {
    shared.asleep.store(true, SeqCst);
    while shared.running.load(SeqCst) == 0 && shared.asleep.load(SeqCst) && !shared.stop.load(SeqCst) {
        thread::park();
    }
    shared.asleep.store(false, SeqCst);
}
