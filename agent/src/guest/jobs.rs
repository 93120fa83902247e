//! The channel into the firmware's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use std::path::PathBuf;

use crate::work::Job;

/// Inputs that wait for the thread: one job, one stop, one wake, one order.
const INPUTS: usize = 5;
/// How long a firmware may take to end: a call runs out of its budget long before.
const LONGEST_CALL: Duration = Duration::from_secs(30);

/// Where the inbox puts the handlers to call, and the board its wake-ups.
#[derive(Clone)]
pub(crate) struct Jobs {
    inputs: SyncSender<Input>,
    /// Whether a wake-up lies in the channel; one is enough, and more would leave no room for jobs.
    woken: Arc<AtomicBool>,
}

impl Jobs {
    /// Hands a job over without waiting; false when there is no thread to take it.
    pub(crate) fn put(&self, job: Job) -> bool {
        self.inputs.try_send(Input::Job(job)).is_ok()
    }

    /// Says that an event waits for the firmware.
    pub(super) fn wake(&self) {
        // A full channel wakes the thread as well.
        if !self.woken.swap(true, Ordering::AcqRel) && self.inputs.try_send(Input::Wake).is_err() {
            self.woken.store(false, Ordering::Release);
        }
    }

    /// The thread has taken the wake-up; the next one goes into the channel again.
    pub(super) fn woken(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// Replaces the firmware; returns once the old one has ended. False when there is no thread, or it does
    /// not answer.
    pub(crate) fn load(&self, wasm: Option<PathBuf>, watch: Option<Watch>) -> bool {
        let (done, ended) = sync_channel(1);
        self.inputs.send(Input::Load(Order { wasm, watch, done })).is_ok()
            && ended.recv_timeout(LONGEST_CALL).is_ok()
    }

    /// Asks the thread to end. A full channel cannot be: one job at a time and this. Without a receiver the
    /// thread is gone.
    pub(super) fn stop(&self) {
        let _ = self.inputs.try_send(Input::Stop);
    }
}

/// The firmware thread's end of [`Jobs`].
pub(crate) struct Inputs(pub(super) Receiver<Input>);

/// What reaches the firmware's thread.
pub(super) enum Input {
    /// A handler to call.
    Job(Job),
    /// An event waits.
    Wake,
    /// Another firmware is to run, or none.
    Load(Order),
    /// The agent stops.
    Stop,
}

/// Which firmware is to run.
pub(super) struct Order {
    /// Its file; none for no firmware at all.
    pub(super) wasm: Option<PathBuf>,
    /// Who watches its trial.
    pub(super) watch: Option<Watch>,
    /// Told when the old one has ended.
    pub(super) done: SyncSender<()>,
}

/// Who watches a trial.
#[derive(Clone)]
pub(crate) struct Watch {
    /// Time between two questions about its health.
    pub(crate) every: Duration,
    /// Told what becomes of it.
    pub(crate) tell: Arc<dyn Fn(News) + Send + Sync>,
}

/// What becomes of a firmware in its trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// It says that it is well.
    Healthy,
    /// It ended, and why.
    Failed(String),
}

/// Makes the channel between the inbox and the firmware's thread.
pub(crate) fn channel() -> (Jobs, Inputs) {
    let (tx, rx) = sync_channel(INPUTS);
    (
        Jobs {
            inputs: tx,
            woken: Arc::default(),
        },
        Inputs(rx),
    )
}
