use std::sync::{Arc, Mutex, PoisonError};

use iottly_protocol::release::{Refusal, UpdateState};
use iottly_protocol::{DeviceId, Record, Report, StreamClass, UpdateReport};
use iottly_update::Progress;

use super::messages;
use crate::guest::agent_warning;
use crate::outbox::Outbox;
use crate::throttle::{LogLimit, cut};

/// Different words about damage that are told in one run of the agent; what repeats is told once.
const MAX_WARNINGS: usize = 16;

/// Reports and warnings of the update to the cloud.
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
                tracing::warn!(device.id = %self.device, %error, more, "a report was not taken by the queue; leaving it out");
            }
        }
    }

    pub(super) fn report(&self, report: Report) {
        self.offer(StreamClass::Control, Record::Report(report).encode());
    }

    /// Tells where an update is; how it ended is for people to find in the history as well, the steps are for
    /// who watches.
    pub(super) fn progress(&self, progress: &Progress, release_seq: Option<u64>) {
        tracing::info!(device.id = %self.device, ?progress, "update");
        self.update(messages::progress(progress, self.outbox.now_ms()), release_seq);
    }

    /// Tells what becomes of a directive that is not followed, or not yet.
    pub(super) fn not_followed(&self, document: &[u8], state: UpdateState, why: &Refusal) {
        static NOT_FOLLOWED: LogLimit = LogLimit::new();
        if let Some(more) = NOT_FOLLOWED.pass() {
            let (state, why) = (state.as_str(), format!("{why:?}"));
            tracing::warn!(device.id = %self.device, state, why = cut(&why), more, "a directive is not followed");
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

    /// Tells of damage, in the history and as a report.
    pub(super) fn warn(&self, text: &str) {
        {
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            if warned.len() >= MAX_WARNINGS || warned.iter().any(|earlier| earlier == text) {
                return;
            }
            warned.push(text.to_owned());
        }
        tracing::warn!(device.id = %self.device, "{}", cut(text));
        let now_ms = self.outbox.now_ms();
        self.offer(
            StreamClass::History,
            agent_warning("update damaged", text, now_ms),
        );
        self.report(Report::Update(messages::damage(text, now_ms)));
    }
}
