//! Reports and warnings of the update to the cloud, through the queue. Never decides what to report.

use std::sync::{Arc, Mutex, PoisonError};

use iottly_protocol::release::{Refusal, UpdateState};
use iottly_protocol::{DeviceId, Record, Report, StreamClass, UpdateReport};
use iottly_update::Progress;

use super::messages;
use crate::guest::agent_warning;
use crate::outbox::Outbox;
use crate::throttle::{LogLimit, cut};

/// Maximum number of different warnings about damage per run of the agent; each is sent once.
const MAX_WARNINGS: usize = 16;

/// Sender of the update's reports and warnings; cheap to clone.
#[derive(Clone)]
pub(super) struct Reporter {
    device: DeviceId,
    outbox: Outbox,
    warned: Arc<Mutex<Vec<String>>>,
}

impl Reporter {
    pub(super) fn new(device: DeviceId, outbox: Outbox) -> Self {
        Self {
            device,
            outbox,
            warned: Arc::default(),
        }
    }

    fn offer(&self, class: StreamClass, record: Vec<u8>) {
        if let Err(error) = self.outbox.offer(class, record) {
            static NOT_TAKEN: LogLimit = LogLimit::new();
            if let Some(more) = NOT_TAKEN.pass() {
                tracing::warn!(device.id = %self.device, %error, suppressed = more, "failed to queue a report; dropping it");
            }
        }
    }

    pub(super) fn report(&self, report: Report) {
        self.offer(StreamClass::Control, Record::Report(report).encode());
    }

    /// Reports the state of an update. Endings also go to the history; intermediate states only to the
    /// control stream.
    pub(super) fn progress(&self, progress: &Progress, release_seq: Option<u64>) {
        static PROGRESS: LogLimit = LogLimit::new();
        // An ending is always logged; a device has few of them.
        if let Some(more) = PROGRESS
            .pass()
            .or_else(|| progress.state.is_ending().then_some(0))
        {
            let progress = format!("{progress:?}");
            tracing::info!(device.id = %self.device, update.progress = cut(&progress), suppressed = more, "update progress");
        }
        self.update(messages::progress(progress, self.outbox.now_ms()), release_seq);
    }

    /// Reports a directive that is not followed, or not yet.
    pub(super) fn not_followed(&self, document: &[u8], state: UpdateState, why: &Refusal) {
        static NOT_FOLLOWED: LogLimit = LogLimit::new();
        if let Some(more) = NOT_FOLLOWED.pass() {
            let state = state.as_str();
            let why = format!("{why:?}");
            tracing::warn!(device.id = %self.device, update.state = state, error = cut(&why), suppressed = more, "not following a directive; reporting it");
        }
        self.update(
            messages::not_followed(document, state, why, self.outbox.now_ms()),
            None,
        );
    }

    fn update(&self, report: UpdateReport, release_seq: Option<u64>) {
        if report.state.is_ending() {
            self.offer(StreamClass::History, messages::entry(&report, release_seq));
        }
        self.report(Report::Update(report));
    }

    /// Reports damage in the history and in the control stream. A repeated text is ignored.
    pub(super) fn warn(&self, text: &str) {
        {
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            if warned.len() >= MAX_WARNINGS || warned.iter().any(|earlier| earlier == text) {
                return;
            }
            warned.push(text.to_owned());
        }
        tracing::warn!(device.id = %self.device, error = cut(text), "failed to use files of updates; reporting it");
        let now_ms = self.outbox.now_ms();
        self.offer(
            StreamClass::History,
            agent_warning("update damaged", text, now_ms),
        );
        self.report(Report::Update(messages::damage(text, now_ms)));
    }
}
