//! The channel into the firmware's thread. Bounded; senders other than an update never wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::source::Installed;
use super::swap::{SwapOutcome, SwapRequest};
use crate::work::Job;

/// Capacity of the channel: one job, one stop, one wake-up and one request of the update, and one to spare.
const CAPACITY: usize = 5;
/// Maximum time for a firmware to end; a call runs out of its time budget long before.
const LONGEST_CALL: Duration = Duration::from_secs(30);

/// Sender of requests to the firmware's thread; cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailbox {
    requests: SyncSender<GuestRequest>,
    /// A wake-up is in the channel; one is enough, and more would leave no room for jobs.
    woken: Arc<AtomicBool>,
}

impl Mailbox {
    /// Hands a job over without waiting. Returns `false` if the thread has ended.
    pub(crate) fn put(&self, job: Job) -> bool {
        self.requests.try_send(GuestRequest::Job(job)).is_ok()
    }

    /// Wakes the thread because an event waits for the firmware.
    pub(super) fn wake(&self) {
        // A full channel wakes the thread as well.
        if !self.woken.swap(true, Ordering::AcqRel) && self.requests.try_send(GuestRequest::Wake).is_err() {
            self.woken.store(false, Ordering::Release);
        }
    }

    /// Notes that the thread has received the wake-up.
    pub(super) fn woken(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// Replaces the firmware and waits until the old one has ended. `engine` is the digest of the engine that a script
    /// is to run on. Returns `false` if the thread has ended or does not respond within 30 s.
    pub(crate) fn load(
        &self,
        installed: Installed,
        engine: Option<String>,
        observer: Option<TrialObserver>,
    ) -> bool {
        let (done, ended) = sync_channel(1);
        self.requests
            .send(GuestRequest::Load(LoadRequest {
                installed,
                engine,
                observer,
                done,
            }))
            .is_ok()
            && ended.recv_timeout(LONGEST_CALL).is_ok()
    }

    /// Runs code from memory in place of what runs now, and waits until the request is taken; `notify` is called
    /// with the outcome. Returns `false` if the thread has ended or does not respond within 30 s.
    pub(crate) fn swap(&self, component: Vec<u8>, notify: Arc<dyn Fn(SwapOutcome) + Send + Sync>) -> bool {
        let (taken, accepted) = sync_channel(1);
        self.requests
            .send(GuestRequest::Swap(SwapRequest {
                component,
                notify,
                taken,
            }))
            .is_ok()
            && accepted.recv_timeout(LONGEST_CALL).is_ok()
    }

    /// Runs the installed firmware again instead of code from memory, and waits until the request is taken.
    /// Returns `false` if the thread has ended or does not respond within 30 s.
    pub(crate) fn give_back(&self) -> bool {
        let (taken, accepted) = sync_channel(1);
        self.requests.send(GuestRequest::GiveBack(taken)).is_ok()
            && accepted.recv_timeout(LONGEST_CALL).is_ok()
    }

    /// Asks the thread to end. The channel cannot be full: see [`CAPACITY`]. Without a receiver the thread
    /// has ended already.
    pub(super) fn stop(&self) {
        let _ = self.requests.try_send(GuestRequest::Stop);
    }
}

/// Receiving end of a [`Mailbox`], for the firmware's thread.
pub(crate) struct MailboxReceiver(pub(super) Receiver<GuestRequest>);

/// Request to the firmware's thread.
pub(super) enum GuestRequest {
    /// A handler to call.
    Job(Job),
    /// An event waits for the firmware.
    Wake,
    /// Run another firmware, or none.
    Load(LoadRequest),
    /// Run code from memory.
    Swap(SwapRequest),
    /// Run the installed firmware instead of code from memory; the sender is notified when it is taken.
    GiveBack(SyncSender<()>),
    /// The agent stops.
    Stop,
}

/// Request to run another firmware.
pub(super) struct LoadRequest {
    /// The firmware to run.
    pub(super) installed: Installed,
    /// sha256 of the engine that a script is to run on; the device's own choice if there is none.
    pub(super) engine: Option<String>,
    /// Observer, if the firmware is on trial.
    pub(super) observer: Option<TrialObserver>,
    /// Notified when the old firmware has ended.
    pub(super) done: SyncSender<()>,
}

/// Observer of a trial.
#[derive(Clone)]
pub(crate) struct TrialObserver {
    /// Time between two health checks.
    pub(crate) every: Duration,
    /// Callback for the events of the trial.
    pub(crate) notify: Arc<dyn Fn(TrialEvent) + Send + Sync>,
}

/// Event of a firmware on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TrialEvent {
    /// A health check was positive.
    Healthy,
    /// The firmware ended, with the reason.
    Failed(String),
}

/// Creates the channel into the firmware's thread.
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
