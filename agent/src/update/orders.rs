//! Developer orders between the link, the repository's thread and the machine of the lease. Decides nothing: the
//! machine does.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use iottly_protocol::release::{DeveloperOrder, OrderAction, Reason, Refusal};
use iottly_protocol::tuf::Instant;
use iottly_protocol::{SignedOrder, limits};
use iottly_sandbox::{Cache, requested_hardware};
use iottly_update::{Memory, MetaError, Running, files, read_file};
use serde_json::Value;

use super::admission::Admission;
use super::fetch::Questions;
use super::question::Question;
use crate::clock::Monotonic;
use crate::developer::{Event, Lease, Site, Verified, offered};
use crate::guest::SwapOutcome;

/// Maximum size of an id that is copied from an unverified document, in bytes.
const MAX_CLAIM: usize = 64;

/// Order as the link has received it.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) order: SignedOrder,
    /// Time of its arrival.
    pub(super) at: std::time::Instant,
}

impl Received {
    fn document(&self) -> &[u8] {
        self.order.document.get().as_bytes()
    }
}

/// The device's side of developer orders.
pub(super) struct Orders {
    pub(super) admission: Admission,
    pub(super) questions: Questions,
    pub(super) lease: Lease,
    pub(super) cache: Arc<Cache>,
    /// The data folder.
    pub(super) data: PathBuf,
    /// Firmware that the device was set up with.
    pub(super) factory: Option<PathBuf>,
    /// False if the device's owner has switched developer leases off.
    pub(super) allowed: bool,
    /// Set when the update has started or stopped a firmware.
    pub(super) replaced: Arc<AtomicBool>,
    pub(super) clock: Monotonic,
    /// sha256 of the committed release, hex; empty for none.
    pub(super) installed: String,
}

impl Orders {
    /// Returns the time at which [`Orders::tick`] is due, in milliseconds of the growing clock.
    pub(super) fn wake_at(&self) -> Option<u64> {
        self.lease.wake_at()
    }

    /// Notes what the update has done since the last call.
    pub(super) fn follow(&mut self, memory: &Memory) {
        let committed = memory.committed.as_ref();
        self.installed = committed
            .map(|release| release.sha256.clone())
            .unwrap_or_default();
        if self.replaced.swap(false, Ordering::AcqRel) {
            self.handle(Event::Released);
        }
    }

    /// Notes that the agent has started.
    pub(super) fn boot(&mut self) {
        self.handle(Event::Boot);
    }

    /// Ends the lease whose time is over.
    pub(super) fn tick(&mut self) {
        self.handle(Event::Tick);
    }

    /// Notes the outcome of an attempt to run a developer's code.
    pub(super) fn swapped(&mut self, attempt: u64, outcome: SwapOutcome) {
        self.handle(match outcome {
            SwapOutcome::Running { gap_ms } => {
                tracing::info!(device.id = %self.admission.device, developer.gap_ms = gap_ms, "a developer's code runs");
                Event::Started { attempt }
            }
            SwapOutcome::Failed(detail) => Event::Failed { attempt, detail },
        });
    }

    /// Takes an order. An order to end the lease is verified by the trusted root on this device, so that it acts
    /// whatever the repository does; one to run code after a refresh of the metadata.
    pub(super) fn received(&mut self, received: Received, memory: &Memory) {
        if let Ok(order) = self.admission.order_here(received.document())
            && order.action == OrderAction::End
        {
            self.verified(&received, order, self.date(), memory);
            return;
        }
        let question = Question::Order {
            received: received.clone(),
            memory: Box::new(memory.clone()),
        };
        if !self.questions.ask(question) {
            self.refuse(
                &received,
                Reason::Unreachable,
                "the device is busy with the repository",
            );
        }
    }

    /// Takes the result of the verification of an order.
    pub(super) fn considered(
        &mut self,
        received: &Received,
        result: Result<(DeveloperOrder, Instant), MetaError>,
        memory: &Memory,
    ) {
        match result {
            Ok((order, date)) => self.verified(received, order, date, memory),
            Err(MetaError::Refused(why)) => self.refuse(received, why.reason, &why.detail),
            Err(MetaError::Unreachable(detail)) => self.refuse(received, Reason::Unreachable, &detail),
        }
    }

    /// Reports that an order is not followed.
    pub(super) fn refuse(&mut self, received: &Received, reason: Reason, detail: &str) {
        let document: Value = serde_json::from_slice(received.document()).unwrap_or_default();
        let claim = |name: &str| document["signed"][name].as_str().unwrap_or_default();
        let (order, lease) = (claim("id"), claim("lease"));
        let plain: String = order.chars().filter(|char| !char.is_control()).collect();
        self.handle(Event::Refused {
            order: limits::clip(&plain, MAX_CLAIM).to_owned(),
            lease: lease.parse().ok(),
            why: Refusal {
                reason,
                detail: detail.to_owned(),
            },
        });
    }

    fn verified(&mut self, received: &Received, order: DeveloperOrder, date: Instant, memory: &Memory) {
        let script = match order.action {
            OrderAction::Run => offered(received.order.script()),
            OrderAction::End => offered(Ok(None)),
        };
        let age_ms = u64::try_from(received.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let verified = Verified {
            order,
            script,
            date,
            received_ms: self.clock.now_ms().saturating_sub(age_ms),
        };
        let site = self.site(memory);
        self.handle(Event::Ordered(Box::new(verified), site));
    }

    fn site(&self, memory: &Memory) -> Site {
        let config = &self.admission.config;
        Site {
            device: self.admission.device,
            project: config.project,
            allowed: self.allowed,
            capabilities: self.capabilities(memory),
            engines: self
                .cache
                .engines()
                .iter()
                .map(|engine| engine.abi().to_owned())
                .collect(),
            exact: self
                .cache
                .engines()
                .iter()
                .map(|engine| engine.digest().to_owned())
                .collect(),
            clock_trusted: self.admission.clock.reading().trusted,
            on_trial: memory
                .attempt
                .as_ref()
                .is_some_and(|attempt| !attempt.state.is_cancellable()),
        }
    }

    /// Returns the interfaces of the board that the installed firmware's manifest names; without a committed
    /// release also those that releases may use without approval.
    fn capabilities(&self, memory: &Memory) -> Vec<String> {
        let (file, more) = match memory.home() {
            Running::Factory => (self.factory.clone(), &self.admission.config.capabilities[..]),
            Running::Slot(slot) => (Some(self.data.join(files::slot_file(slot))), &[][..]),
        };
        let wasm = file.and_then(|file| read_file(&file, MAX_COMPONENT_BYTES as u64).ok());
        // What cannot be read names nothing, which is the narrower answer.
        let named = wasm
            .and_then(|wasm| requested_hardware(&wasm).ok())
            .unwrap_or_default();
        named
            .iter()
            .map(ToString::to_string)
            .chain(more.iter().cloned())
            .collect()
    }

    fn date(&self) -> Instant {
        Instant::from_unix(self.admission.clock.reading().unix)
    }

    fn handle(&mut self, event: Event) {
        self.lease.handle(event, &self.installed, self.clock.now_ms());
    }
}
