//! The shell of the machine of developer orders: performs its effects. Makes no decision itself.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use iottly_protocol::release::{DeveloperReport, DeveloperState, Reason, Refusal};
use iottly_protocol::{DeviceId, Record, Report, StreamClass, limits};

use super::event::{Effect, Event, Outcome, Said};
use super::machine::Machine;
use super::memory::{Memory, MemoryFile};
use super::place::place;
use crate::guest::{Mailbox, SwapOutcome};
use crate::outbox::Outbox;
use crate::throttle::{LogLimit, cut};

/// Receiver of the outcome of an attempt to run code.
type Notify = Arc<dyn Fn(u64, SwapOutcome) + Send + Sync>;

/// Developer lease of this device.
pub(crate) struct Lease {
    device: DeviceId,
    machine: Machine,
    file: MemoryFile,
    /// Reason for which the memory cannot be read; no order is followed then.
    damaged: Option<String>,
    guest: Mailbox,
    outbox: Outbox,
    notify: Notify,
}

impl Lease {
    /// Opens the memory in the data folder. `notify` is called on the firmware's thread.
    pub(crate) fn open(
        device: DeviceId,
        data: &Path,
        guest: Mailbox,
        outbox: Outbox,
        notify: impl Fn(u64, SwapOutcome) + Send + Sync + 'static,
    ) -> Self {
        let file = MemoryFile::new(data);
        let (memory, damaged) = match file.read() {
            Ok(memory) => (memory, None),
            Err(error) => {
                tracing::warn!(device.id = %device, %error, "failed to read the file `developer` in the data folder; refusing developer orders");
                (Memory::default(), Some(error.to_string()))
            }
        };
        Self {
            device,
            machine: Machine::new(memory),
            file,
            damaged,
            guest,
            outbox,
            notify: Arc::new(notify),
        }
    }

    /// Returns the time at which a tick is due, in milliseconds of the growing clock.
    pub(crate) fn wake_at(&self) -> Option<u64> {
        self.machine.wake_at()
    }

    /// Handles an event. `installed` is the sha256 of the committed release, empty for none.
    pub(crate) fn handle(&mut self, event: Event, installed: &str, now_ms: u64) {
        let event = match (event, &self.damaged) {
            (Event::Ordered(verified, _), Some(error)) => Event::Refused {
                order: verified.order.id.clone(),
                lease: Some(verified.order.lease),
                why: Refusal {
                    reason: Reason::Invalid,
                    detail: format!(
                        "the file `developer` in the device's data folder cannot be read ({error}); the device's \
                         owner may remove it"
                    ),
                },
            },
            (event, _) => event,
        };
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = self.machine.handle(event, now_ms);
            let mut stored = true;
            for effect in effects {
                match effect {
                    Effect::Journal(memory) => stored &= self.store(&memory),
                    // A swap that cannot be reported after a power cut does not happen.
                    Effect::Swap { attempt, .. } if !stored => events.push_back(Event::Failed {
                        attempt,
                        detail: "the device cannot write to its disk".to_owned(),
                    }),
                    Effect::Swap { attempt, component } => {
                        let notify = Arc::clone(&self.notify);
                        let told = move |outcome| notify(attempt, outcome);
                        if !self.guest.swap(component, Arc::new(told)) {
                            events.push_back(Event::Failed {
                                attempt,
                                detail: "the firmware's thread does not respond".to_owned(),
                            });
                        }
                    }
                    Effect::GiveBack => {
                        if !self.guest.give_back() {
                            tracing::warn!(device.id = %self.device, "failed to end a developer's code, the firmware's thread does not respond; continuing");
                        }
                    }
                    Effect::Report(said) => self.report(said, installed),
                }
            }
        }
    }

    fn store(&self, memory: &Memory) -> bool {
        let stored = self.file.write(memory);
        if let Err(error) = &stored {
            static NOT_STORED: LogLimit = LogLimit::new();
            if let Some(more) = NOT_STORED.pass() {
                tracing::warn!(device.id = %self.device, %error, suppressed = more, "failed to store a developer order; not following it");
            }
        }
        stored.is_ok()
    }

    fn report(&self, said: Said, installed: &str) {
        let Said {
            order,
            lease,
            sha256,
            state,
        } = said;
        let (name, reason, detail, ms) = match state {
            Outcome::Running { ms } => (DeveloperState::Running, None, None, Some(ms)),
            Outcome::Failed { detail } => (DeveloperState::Failed, None, Some(detail), None),
            Outcome::Refused(why) => (DeveloperState::Refused, Some(why.reason), Some(why.detail), None),
            Outcome::Ended { detail } => (DeveloperState::Ended, None, Some(detail), None),
        };
        static REPORTED: LogLimit = LogLimit::new();
        if let Some(more) = REPORTED.pass() {
            let state = name.as_str();
            let detail = detail.as_deref().map(cut);
            tracing::info!(device.id = %self.device, developer.state = state, developer.sha256 = cut(&sha256), detail, suppressed = more, "developer order");
        }
        let sha256 = match name {
            DeveloperState::Ended => installed.to_owned(),
            _ => sha256,
        };
        let report = DeveloperReport {
            order,
            lease,
            sha256,
            state: name,
            reason,
            place: detail
                .as_deref()
                .filter(|_| name == DeveloperState::Failed)
                .and_then(place),
            detail: detail.map(|text| limits::clip(&text, limits::MAX_TEXT_BYTES).to_owned()),
            ms,
            at_ms: self.outbox.now_ms(),
        };
        let record = Record::Report(Report::Developer(Box::new(report))).encode();
        if let Err(error) = self.outbox.offer(StreamClass::Control, record) {
            static NOT_TAKEN: LogLimit = LogLimit::new();
            if let Some(more) = NOT_TAKEN.pass() {
                tracing::warn!(device.id = %self.device, %error, suppressed = more, "failed to queue a report; dropping it");
            }
        }
    }
}
