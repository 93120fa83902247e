//! The channel into the firmware's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::inbox::Job;

/// Inputs that wait for the thread: one job, one stop, one wake.
const INPUTS: usize = 4;

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

    /// Asks the thread to end. A full channel cannot be: one job at a time and this. Without a receiver the thread is gone.
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
    /// The agent stops.
    Stop,
}

/// Makes the channel between the inbox and the firmware's thread.
pub(crate) fn channel() -> (Jobs, Inputs) {
    let (tx, rx) = sync_channel(INPUTS);
    (Jobs { inputs: tx, woken: Arc::default() }, Inputs(rx))
}
