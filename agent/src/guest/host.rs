//! The agent's side of the firmware's imports: messages, log lines, settings, state. Charges everything that
//! is written to the write budget.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use iottly_boards::Board;
use iottly_protocol::{FirmwareMark, LogLine, Message, MessageKind, Record, StreamClass, limits};
use iottly_sandbox::{Fault, Host, Interface, Level, Outgoing, StateStore, Waker};
use serde_json::value::RawValue;

use super::budget::{WriteBudget, message_cost};
use super::messages;
use super::state::FileState;
use crate::access::Access;
use crate::outbox::{Outbox, OutboxError};
use crate::settings::Settings;
use crate::throttle::{LogLimit, cut};

/// Host of one firmware instance.
pub(super) struct AgentHost {
    pub(super) outbox: Outbox,
    pub(super) device: String,
    pub(super) board: Option<Arc<dyn Board>>,
    /// Parts of the board that the device's owner leaves to firmware.
    pub(super) access: Access,
    pub(super) settings: Settings,
    pub(super) state: FileState,
    /// Limit on the bytes that the firmware may make the device write.
    pub(super) budget: WriteBudget,
    pub(super) waker: Waker,
    /// Log lines dropped since the last one that the queue accepted.
    pub(super) lost_lines: u64,
    /// Mark of the developer's code that runs here; none for the installed firmware.
    pub(super) mark: Option<FirmwareMark>,
    /// Messages that the queue has accepted.
    pub(super) sent: Arc<AtomicU64>,
}

impl AgentHost {
    fn line(&self, level: Level, text: &str) -> Result<(), Fault> {
        let text = limits::clip(text, limits::MAX_TEXT_BYTES).to_owned();
        let line = Record::Log(LogLine {
            level,
            text,
            at_ms: self.outbox.now_ms(),
            firmware: self.mark,
        })
        .encode();
        self.within_budget(message_cost(line.len(), false), || {
            self.outbox
                .offer_low_priority(StreamClass::Control, line)
                .map_err(fault)
        })
    }

    /// Runs `write`, which writes `bytes`, if the budget has them; refunds them if it fails.
    fn within_budget(&self, bytes: u64, write: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        let taken = self.budget.take(bytes);
        self.report_budget();
        taken?;
        let written = write();
        if written.is_err() {
            self.budget.give_back(bytes);
        }
        written
    }

    fn stamp(&self) -> messages::Stamp {
        messages::Stamp {
            at_ms: self.outbox.now_ms(),
            firmware: self.mark,
        }
    }

    /// Reports to the operator that the firmware writes too much, if a report is due.
    fn report_budget(&self) {
        let Some(text) = self.budget.report() else { return };
        let record = messages::firmware_warning("write", "write budget used up", &text, self.stamp());
        static NOT_TAKEN: LogLimit = LogLimit::new();
        if let Err(error) = self.outbox.try_offer(StreamClass::History, record)
            && let Some(more) = NOT_TAKEN.pass()
        {
            tracing::warn!(
                error = cut(&error.to_string()),
                suppressed = more,
                "failed to queue a report; dropping it"
            );
        }
    }
}

impl Host for AgentHost {
    fn send(&mut self, message: Outgoing) -> Result<(), Fault> {
        let payload: &RawValue = serde_json::from_str(&message.payload)
            .map_err(|error| Fault::Invalid(format!("payload: {error}")))?;
        let channel = message.channel.as_deref().map(Cow::Borrowed);
        let kind = MessageKind::UserDefined;
        let at_ms = self.outbox.now_ms();
        let record = Record::Message(Message {
            kind,
            at_ms,
            at_error_ms: None,
            channel,
            payload,
            firmware: self.mark,
        })
        .encode();
        let durable = message.durable;
        let outbox = &self.outbox;
        self.within_budget(message_cost(record.len(), durable), || {
            let taken = if durable {
                outbox.offer_and_wait(StreamClass::History, record)
            } else {
                outbox.offer(StreamClass::History, record)
            };
            taken.map_err(fault)
        })?;
        self.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn log(&mut self, level: Level, text: &str) {
        if self.lost_lines > 0 {
            let note = format!(
                "{} log lines were dropped: the queue had no room",
                self.lost_lines
            );
            if self.line(Level::Warn, &note).is_err() {
                self.lost_lines += 1;
                return;
            }
            self.lost_lines = 0;
        }
        if self.line(level, text).is_err() {
            self.lost_lines += 1;
        }
    }

    fn now_ms(&mut self) -> u64 {
        self.outbox.now_ms()
    }

    fn board(&self) -> Option<Arc<dyn Board>> {
        self.board.clone()
    }

    fn grants(&self, interface: Interface, label: &str) -> bool {
        self.access.allow(interface, label)
    }

    fn setting(&self, key: &str) -> Option<String> {
        self.settings.value(key)
    }

    fn settings_version(&self) -> Option<u64> {
        self.settings.version()
    }

    fn state(&mut self) -> Option<&mut dyn StateStore> {
        self.report_budget();
        Some(&mut self.state)
    }

    fn device(&self) -> String {
        self.device.clone()
    }

    fn waker(&self) -> Option<Waker> {
        Some(Arc::clone(&self.waker))
    }
}

fn fault(error: OutboxError) -> Fault {
    match error {
        OutboxError::Full { .. } | OutboxError::TooLarge { .. } => Fault::Limit(error.to_string()),
        OutboxError::Busy { .. } => Fault::Busy,
        OutboxError::Storage(_) | OutboxError::Closed => Fault::Io(error.to_string()),
    }
}
