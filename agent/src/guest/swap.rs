//! Code from memory in place of the installed firmware: how it is requested, and what becomes of it. Decides
//! nothing about who may request it.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use iottly_protocol::FirmwareMark;
use iottly_sandbox::Firmware;

use super::failure::Failure;

/// Request to run code in place of what runs now.
pub(crate) struct SwapRequest {
    /// Component with the code.
    pub(crate) component: Vec<u8>,
    /// Callback for the outcome; called once.
    pub(crate) notify: Arc<dyn Fn(SwapOutcome) + Send + Sync>,
    /// Notified when the firmware's thread has taken the request.
    pub(super) taken: SyncSender<()>,
}

/// Outcome of a request to run other code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SwapOutcome {
    /// The first call of the new code has returned.
    Running {
        /// Time between the last call of the old code and the first return of the new, in milliseconds.
        gap_ms: u64,
    },
    /// The code cannot be loaded, or its first call failed; what ran before runs again.
    Failed(String),
}

/// Code from memory, in order of its start: what runs now, and what it has replaced.
#[derive(Default)]
pub(super) struct Borrowed {
    /// Code that runs instead of the installed firmware.
    current: Option<Firmware>,
    /// Swap whose first call has not returned yet.
    swap: Option<Swap>,
}

/// Loaded code whose start is due.
pub(super) struct Swap {
    firmware: Firmware,
    notify: Arc<dyn Fn(SwapOutcome) + Send + Sync>,
    /// Code from memory that ran before; none if the installed firmware did.
    previous: Option<Firmware>,
    /// Time since which nothing runs.
    since: Instant,
}

impl Swap {
    pub(super) fn new(firmware: Firmware, notify: Arc<dyn Fn(SwapOutcome) + Send + Sync>) -> Self {
        Self {
            firmware,
            notify,
            previous: None,
            since: Instant::now(),
        }
    }
}

impl Borrowed {
    /// Returns the code that runs instead of the installed firmware.
    pub(super) fn current(&self) -> Option<&Firmware> {
        self.current.as_ref()
    }

    /// Returns the mark of the code that runs instead of the installed firmware.
    pub(super) fn mark(&self) -> Option<FirmwareMark> {
        self.current()
            .and_then(|firmware| FirmwareMark::of(firmware.digest()))
    }

    /// Makes the loaded code the current one; what ran before has ended.
    pub(super) fn begin(&mut self, mut swap: Swap) {
        swap.since = Instant::now();
        swap.previous = self.current.replace(swap.firmware.clone());
        self.swap = Some(swap);
    }

    /// Notes that the first call of the current code has returned.
    pub(super) fn started(&mut self) {
        if let Some(swap) = self.swap.take() {
            (swap.notify)(SwapOutcome::Running {
                gap_ms: millis(swap.since.elapsed()),
            });
        }
    }

    /// Notes that the current code has ended by a failure. Returns `true` if that was its start: then what ran
    /// before is the current one again.
    pub(super) fn failed(&mut self, failure: &Failure) -> bool {
        let Some(swap) = self.swap.take() else {
            return false;
        };
        self.current = swap.previous;
        (swap.notify)(SwapOutcome::Failed(failure.to_string()));
        true
    }

    /// Forgets the code from memory. Returns `true` if there was some.
    pub(super) fn forget(&mut self) -> bool {
        self.swap = None;
        self.current.take().is_some()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
