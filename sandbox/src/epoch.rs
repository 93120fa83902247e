//! The clock that interrupts running firmware. Decides nothing about a call's budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// Time between two epochs.
pub(crate) const EPOCH: Duration = Duration::from_millis(10);
/// Number of epochs without a running firmware after which the thread sleeps; short enough to save power,
/// long enough that calls in quick succession need no wake-up.
const IDLE_EPOCHS: u32 = 20;

/// Thread that advances the engine's epoch while firmware runs.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
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
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let worker = Arc::clone(&shared);
        let handle = thread::Builder::new()
            .name("epoch".to_owned())
            .spawn(move || tick(&engine, &worker))?;
        Ok(Self {
            shared,
            thread: handle.thread().clone(),
        })
    }

    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, SeqCst);
        if self.shared.asleep.swap(false, SeqCst) {
            self.thread.unpark();
        }
        Running(&self.shared)
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
        self.thread.unpark();
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
