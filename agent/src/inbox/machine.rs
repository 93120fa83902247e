//! The life of commands as decisions: which entries to journal, which handler to call, which results to
//! report. Does no I/O and reads no clock.

use std::collections::{HashMap, VecDeque};

use iottly_protocol::limits::MAX_VALUES_BYTES;
use iottly_protocol::{Command, CommandId, CommandResult, CommandState};

use super::journal::{Accepted, Entry, Finished, seen_entries};
use super::seen::Seen;
use crate::work::{GuestState, Job, Outcome};

/// Maximum number of commands that wait for their start.
const MAX_WAITING: usize = 256;
/// Maximum size of the parameters of all waiting commands, in bytes.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// Number of results waiting for room in the queue at which no new command is accepted.
const MAX_UNREPORTED: usize = 1024;

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Uptime of the system, in milliseconds.
    pub(super) uptime_ms: u64,
    /// Date in unix milliseconds.
    pub(super) unix_ms: u64,
}

/// Event that the machine handles.
#[derive(Debug)]
pub(super) enum Event {
    /// The cloud sent a command.
    Arrived(Command),
    /// The cloud withdrew a command.
    Cancel(CommandId),
    /// The firmware's availability has changed.
    Guest(GuestState),
    /// A handler has returned.
    Finished(CommandId, Outcome),
    /// The result of a command is in the queue.
    Reported(CommandId),
    /// The time of [`Machine::deadline_ms`] has come.
    Timer,
}

/// Action for the actor, strictly in order.
#[derive(Debug)]
pub(super) enum Effect {
    /// Make these entries durable before the next effect.
    Journal(Vec<Entry>),
    /// Append this entry without a sync; losing it costs a repeated report.
    Note(Entry),
    /// Acknowledge the message that the event came with.
    Confirm,
    /// Call the handler.
    Run(Job),
    /// Put the result into the queue; final ones are confirmed with [`Event::Reported`].
    Report(CommandResult),
}

/// The inbox's state machine.
#[derive(Debug)]
pub(super) struct Machine {
    system_boot: String,
    guest: GuestState,
    running: Option<CommandId>,
    waiting: VecDeque<Accepted>,
    waiting_bytes: usize,
    unreported: HashMap<CommandId, Finished>,
    seen: Seen,
}

impl Machine {
    /// Continues from a journal. Started commands are interrupted. The others keep waiting, unless the time
    /// that has passed is unknown.
    pub(super) fn restore(entries: Vec<Entry>, system_boot: String, now: Now) -> (Self, Vec<Effect>) {
        let mut machine = Self {
            system_boot,
            guest: GuestState::Pending,
            running: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            unreported: HashMap::new(),
            seen: Seen::default(),
        };
        let mut started = Vec::new();
        for entry in entries {
            machine.replay(entry, &mut started);
        }
        let mut journal = Vec::new();
        for id in started {
            let detail = Some("the device stopped while the handler ran".to_owned());
            journal.push(machine.finish(id, CommandState::Interrupted, detail, now));
        }
        journal.extend(machine.expire(now));
        let mut effects = Vec::new();
        if !journal.is_empty() {
            effects.push(Effect::Journal(journal));
        }
        effects.extend(
            machine
                .unreported
                .values()
                .map(|finished| Effect::Report(result(finished))),
        );
        (machine, effects)
    }

    fn replay(&mut self, entry: Entry, started: &mut Vec<CommandId>) {
        match entry {
            Entry::Accepted(accepted) => {
                self.waiting_bytes += accepted.values.get().len();
                self.waiting.push_back(accepted);
            }
            Entry::Started(id) => {
                self.take_waiting(id);
                started.push(id);
            }
            Entry::Finished(finished) => {
                self.take_waiting(finished.id);
                started.retain(|id| *id != finished.id);
                self.unreported.insert(finished.id, finished);
            }
            Entry::Reported(id) => {
                self.unreported.remove(&id);
                self.seen.insert(id);
            }
            Entry::Seen(ids) => ids.into_iter().for_each(|id| self.seen.insert(id)),
        }
    }

    /// Returns the entries of a rewritten journal.
    pub(super) fn snapshot(&self) -> Vec<Entry> {
        let mut entries = seen_entries(self.seen.iter());
        entries.extend(self.unreported.values().cloned().map(Entry::Finished));
        entries.extend(self.running.map(Entry::Started));
        entries.extend(self.waiting.iter().cloned().map(Entry::Accepted));
        entries
    }

    /// Returns the uptime at which [`Event::Timer`] is due.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.waiting.iter().map(|accepted| accepted.deadline_ms).min()
    }

    /// Handles an event and returns the effects.
    pub(super) fn handle(&mut self, event: Event, now: Now) -> Vec<Effect> {
        match event {
            Event::Arrived(command) => self.arrived(command, now),
            Event::Cancel(id) => {
                let mut effects = Vec::new();
                if self.take_waiting(id).is_some() {
                    let entry = self.finish(id, CommandState::Cancelled, None, now);
                    self.close(vec![entry], &mut effects);
                }
                effects.push(Effect::Confirm);
                effects
            }
            Event::Guest(state) => {
                self.guest = state;
                self.advance(Vec::new(), now)
            }
            Event::Finished(id, outcome) if self.running == Some(id) => {
                self.running = None;
                let (state, detail) = match outcome {
                    Outcome::Done => (CommandState::Done, None),
                    Outcome::Failed(detail) => (CommandState::Failed, Some(detail)),
                };
                let entry = self.finish(id, state, detail, now);
                self.advance(vec![entry], now)
            }
            Event::Finished(..) => Vec::new(),
            Event::Reported(id) => {
                self.unreported.remove(&id);
                self.seen.insert(id);
                vec![Effect::Note(Entry::Reported(id))]
            }
            Event::Timer => self.advance(Vec::new(), now),
        }
    }

    fn arrived(&mut self, command: Command, now: Now) -> Vec<Effect> {
        let id = command.id;
        if self.knows(id) {
            return vec![Effect::Confirm];
        }
        // Not stored: the cloud sends it again. Confirmed nevertheless: an unconfirmed message occupies one
        // of the broker's slots for messages in flight, which the acknowledgements that make room need.
        if self.unreported.len() >= MAX_UNREPORTED {
            return vec![Effect::Confirm];
        }
        let bytes = command.values.get().len();
        if let Some(reason) = self.refusal(bytes) {
            let entry = self.finish(id, CommandState::Failed, Some(reason), now);
            let mut effects = Vec::new();
            self.close(vec![entry], &mut effects);
            effects.push(Effect::Confirm);
            return effects;
        }
        let accepted = Accepted {
            id,
            cmd_type: command.cmd_type,
            values: command.values,
            system_boot: self.system_boot.clone(),
            deadline_ms: now.uptime_ms.saturating_add(command.ttl_ms),
        };
        self.waiting_bytes += bytes;
        self.waiting.push_back(accepted.clone());
        let mut effects = self.advance(vec![Entry::Accepted(accepted)], now);
        let place = effects
            .iter()
            .position(|effect| matches!(effect, Effect::Journal(_)))
            .map_or(0, |at| at + 1);
        effects.insert(place, Effect::Confirm);
        // A command that starts at once is reported once, with its result.
        if self.waiting.iter().any(|accepted| accepted.id == id) {
            let at_ms = now.unix_ms;
            effects.push(Effect::Report(CommandResult {
                id,
                state: CommandState::Delivered,
                detail: None,
                at_ms,
            }));
        }
        effects
    }

    fn refusal(&self, bytes: usize) -> Option<String> {
        if bytes > MAX_VALUES_BYTES {
            return Some(format!(
                "values: {bytes} bytes are over the limit of {MAX_VALUES_BYTES}"
            ));
        }
        if self.waiting.len() >= MAX_WAITING || self.waiting_bytes + bytes > MAX_WAITING_BYTES {
            return Some(format!(
                "the device is busy: {} commands wait",
                self.waiting.len()
            ));
        }
        None
    }

    fn knows(&self, id: CommandId) -> bool {
        self.running == Some(id)
            || self.unreported.contains_key(&id)
            || self.seen.contains(id)
            || self.waiting.iter().any(|accepted| accepted.id == id)
    }

    /// Expires due commands and starts the next one if possible; their entries follow those of `journal` in
    /// one write.
    fn advance(&mut self, mut journal: Vec<Entry>, now: Now) -> Vec<Effect> {
        journal.extend(self.expire(now));
        let mut job = None;
        match &self.guest {
            GuestState::Ready if self.running.is_none() => {
                if let Some(next) = self.waiting.pop_front() {
                    self.waiting_bytes -= next.values.get().len();
                    self.running = Some(next.id);
                    journal.push(Entry::Started(next.id));
                    job = Some(Job {
                        id: next.id,
                        cmd_type: next.cmd_type,
                        values: next.values,
                    });
                }
            }
            GuestState::Absent(reason) => {
                let reason = reason.clone();
                while let Some(next) = self.waiting.pop_front() {
                    journal.push(self.finish(next.id, CommandState::Failed, Some(reason.clone()), now));
                }
                self.waiting_bytes = 0;
            }
            GuestState::Ready | GuestState::Pending => {}
        }
        let mut effects = Vec::new();
        if !journal.is_empty() {
            self.close(journal, &mut effects);
        }
        effects.extend(job.map(Effect::Run));
        effects
    }

    /// Appends the effects that journal these entries and then report ended commands.
    fn close(&self, journal: Vec<Entry>, effects: &mut Vec<Effect>) {
        let over = journal.iter().filter_map(|entry| match entry {
            Entry::Finished(finished) => Some(Effect::Report(result(finished))),
            _ => None,
        });
        let over: Vec<_> = over.collect();
        effects.push(Effect::Journal(journal));
        effects.extend(over);
    }

    /// Ends the commands whose time is over. Commands from before a restart of the system have waited for an
    /// unknown time and end as well.
    fn expire(&mut self, now: Now) -> Vec<Entry> {
        let boot = &self.system_boot;
        let over =
            |accepted: &Accepted| accepted.system_boot != *boot || accepted.deadline_ms <= now.uptime_ms;
        let ids: Vec<_> = self
            .waiting
            .iter()
            .filter(|accepted| over(accepted))
            .map(|accepted| accepted.id)
            .collect();
        let mut entries = Vec::new();
        for id in ids {
            self.take_waiting(id);
            entries.push(self.finish(id, CommandState::Expired, None, now));
        }
        entries
    }

    fn finish(&mut self, id: CommandId, state: CommandState, detail: Option<String>, now: Now) -> Entry {
        let finished = Finished {
            id,
            state,
            detail,
            at_ms: now.unix_ms,
        };
        self.unreported.insert(id, finished.clone());
        Entry::Finished(finished)
    }

    fn take_waiting(&mut self, id: CommandId) -> Option<Accepted> {
        let at = self.waiting.iter().position(|accepted| accepted.id == id)?;
        let accepted = self.waiting.remove(at)?;
        self.waiting_bytes -= accepted.values.get().len();
        Some(accepted)
    }
}

fn result(finished: &Finished) -> CommandResult {
    CommandResult {
        id: finished.id,
        state: finished.state,
        detail: finished.detail.clone(),
        at_ms: finished.at_ms,
    }
}

#[cfg(test)]
#[path = "clock_step_tests.rs"]
mod clock_step_tests;
#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
