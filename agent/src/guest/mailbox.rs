//! The channel into the firmware's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use std::path::PathBuf;

use crate::work::Job;

/// Requests that wait for the thread: one job, one stop, one wake, one order.
const CAPACITY: usize = 5;
/// How long a firmware may take to end: a call runs out of its budget long before.
const LONGEST_CALL: Duration = Duration::from_secs(30);

/// Where the inbox puts the handlers to call, and the board its wake-ups.
#[derive(Clone)]
pub(crate) struct Mailbox {
    requests: SyncSender<GuestRequest>,
    /// Whether a wake-up lies in the channel; one is enough, and more would leave no room for jobs.
    woken: Arc<AtomicBool>,
}

impl Mailbox {
    /// Hands a job over without waiting; false when there is no thread to take it.
    pub(crate) fn put(&self, job: Job) -> bool {
        self.requests.try_send(GuestRequest::Job(job)).is_ok()
    }

    /// Says that an event waits for the firmware.
    pub(super) fn wake(&self) {
        // A full channel wakes the thread as well.
        if !self.woken.swap(true, Ordering::AcqRel) && self.requests.try_send(GuestRequest::Wake).is_err() {
            self.woken.store(false, Ordering::Release);
        }
    }

    /// The thread has taken the wake-up; the next one goes into the channel again.
    pub(super) fn woken(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// Replaces the firmware; returns once the old one has ended. False when there is no thread, or it does
    /// not answer.
    pub(crate) fn load(&self, wasm: Option<PathBuf>, observer: Option<TrialObserver>) -> bool {
        let (done, ended) = sync_channel(1);
        self.requests
            .send(GuestRequest::Load(LoadRequest { wasm, observer, done }))
            .is_ok()
            && ended.recv_timeout(LONGEST_CALL).is_ok()
    }

    /// Asks the thread to end. A full channel cannot be: one job at a time and this. Without a receiver the
    /// thread is gone.
    pub(super) fn stop(&self) {
        let _ = self.requests.try_send(GuestRequest::Stop);
    }
}

/// The firmware thread's end of [`Mailbox`].
pub(crate) struct MailboxReceiver(pub(super) Receiver<GuestRequest>);

/// What reaches the firmware's thread.
pub(super) enum GuestRequest {
    /// A handler to call.
    Job(Job),
    /// An event waits.
    Wake,
    /// Another firmware is to run, or none.
    Load(LoadRequest),
    /// The agent stops.
    Stop,
}

/// Which firmware is to run.
pub(super) struct LoadRequest {
    /// Its file; none for no firmware at all.
    pub(super) wasm: Option<PathBuf>,
    /// Who watches its trial.
    pub(super) observer: Option<TrialObserver>,
    /// Told when the old one has ended.
    pub(super) done: SyncSender<()>,
}

/// Who watches a trial.
#[derive(Clone)]
pub(crate) struct TrialObserver {
    /// Time between two questions about its health.
    pub(crate) every: Duration,
    /// Told what becomes of it.
    pub(crate) notify: Arc<dyn Fn(TrialEvent) + Send + Sync>,
}

/// What becomes of a firmware in its trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TrialEvent {
    /// It says that it is well.
    Healthy,
    /// It ended, and why.
    Failed(String),
}

/// Makes the channel between the inbox and the firmware's thread.
pub(crate) fn mailbox() -> (Mailbox, MailboxReceiver) {
    let (tx, rx) = sync_channel(CAPACITY);
    (
        Mailbox {
            requests: tx,
            woken: Arc::default(),
        },
        MailboxReceiver(rx),
    )
}
