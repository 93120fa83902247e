//! The task that performs the effects of the inbox's state machine: writes the journal, hands jobs to the
//! firmware's thread, queues results. Makes no decisions about commands.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use iottly_protocol::{CommandResult, Record, StreamClass, limits};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::journal::{Entry, Journal, JournalError};
use super::machine::{Effect, Event, Machine, Now};
use crate::clock::{Monotonic, SystemBoot};
use crate::guest::Mailbox;
use crate::link::{Delivery, Receipt, Skipped};
use crate::outbox::Outbox;
use crate::throttle::{LogLimit, cut};
use crate::watchdog::{self, IDLE, Part};
use crate::work::GuestEvent;

/// Pause between attempts while the journal cannot be written or the queue has no room.
const RETRY: Duration = Duration::from_secs(1);
/// Number of attempts to write the journal during a stop, and the pause between them.
const STOP_ATTEMPTS: u32 = 3;
const STOP_RETRY: Duration = Duration::from_millis(100);
/// Maximum number of results whose storage is awaited.
const REPORTS: usize = 64;

/// Event sources of the inbox.
pub(crate) struct Inputs {
    pub(crate) deliveries: mpsc::Receiver<Delivery>,
    pub(crate) guest: mpsc::Receiver<GuestEvent>,
    /// Becomes true when the agent stops.
    pub(crate) stop: watch::Receiver<bool>,
    /// Reports the progress of the task.
    pub(crate) part: Part,
}

/// State of the inbox's task.
pub(crate) struct Actor {
    machine: Machine,
    /// `None` only while a blocking thread writes it.
    journal: Option<Journal>,
    outbox: Outbox,
    mailbox: Mailbox,
    boot: SystemBoot,
    clock: Monotonic,
    /// Results that the queue had no room for; the machine bounds their number.
    unsent: VecDeque<CommandResult>,
    /// Results handed to the queue, with `true` once stored and `false` if storing failed.
    reported_tx: mpsc::Sender<(CommandResult, bool)>,
    reported: mpsc::Receiver<(CommandResult, bool)>,
    /// Number of results expected through `reported`.
    reporting: usize,
    todo: Vec<Effect>,
    /// Becomes true when the agent stops; `None` before the start.
    stop: Option<watch::Receiver<bool>>,
    /// Reports the progress of the task; `None` before the start.
    part: Option<Part>,
    /// Commands from the link; closed before the start.
    deliveries: mpsc::Receiver<Delivery>,
    /// Connection on which commands were skipped while the journal could not be written.
    skipped: Option<Skipped>,
    /// A step could not be journaled and the agent stops: no further effect may be performed.
    halted: bool,
}

impl Actor {
    /// Opens the journal and continues from it.
    pub(crate) fn open(path: &Path, outbox: Outbox, mailbox: Mailbox) -> Result<Self, JournalError> {
        let boot = SystemBoot::read();
        let clock = Monotonic::start();
        let (mut journal, entries, damaged) = Journal::open(path)?;
        if damaged > 0 {
            tracing::warn!(journal.path = %path.display(), journal.damaged_lines = damaged, "failed to read lines of the command journal; skipping them");
        }
        let now = Now {
            uptime_ms: boot.at(0),
            unix_ms: outbox.now_ms(),
        };
        let (machine, todo) = Machine::restore(entries, boot.id.clone(), now);
        // On a full disk the journal stays as it is; new entries are appended when there is room.
        if let Err(error) = journal.compact(&machine.snapshot()) {
            tracing::warn!(%error, "failed to compact the command journal; continuing with it as it is");
        }
        let (reported_tx, reported) = mpsc::channel(REPORTS);
        Ok(Self {
            machine,
            journal: Some(journal),
            outbox,
            mailbox,
            boot,
            clock,
            unsent: VecDeque::new(),
            reported_tx,
            reported,
            reporting: 0,
            todo,
            stop: None,
            part: None,
            deliveries: mpsc::channel(1).1,
            skipped: None,
            halted: false,
        })
    }

    /// Runs until the agent stops.
    pub(crate) async fn run(mut self, inputs: Inputs) {
        let Inputs {
            deliveries,
            mut guest,
            mut stop,
            part,
        } = inputs;
        self.part = Some(part);
        self.deliveries = deliveries;
        self.stop = Some(stop.clone());
        let todo = std::mem::take(&mut self.todo);
        self.perform(todo, None).await;
        loop {
            self.turn();
            let now_ms = self.now().uptime_ms;
            let expiry = self
                .machine
                .deadline_ms()
                .map(|at| Duration::from_millis(at.saturating_sub(now_ms)));
            let retry = (!self.unsent.is_empty()).then_some(RETRY);
            let wait = [expiry, retry].into_iter().flatten().min();
            let (event, receipt) = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(event) = guest.recv() => (guest_event(event), None),
                Some((result, stored)) = self.reported.recv() => match self.reported(result, stored) {
                    Some(event) => (event, None),
                    None => continue,
                },
                Some(delivery) = self.deliveries.recv() => match delivery {
                    Delivery::Command(command, receipt) => (Event::Arrived(command), Some(receipt)),
                    Delivery::Cancel(id, receipt) => (Event::Cancel(id), Some(receipt)),
                },
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {
                    self.send_unsent();
                    (Event::Timer, None)
                }
                () = sleep(IDLE) => continue,
            };
            let effects = self.machine.handle(event, self.now());
            self.perform(effects, receipt).await;
        }
        self.finish(&mut guest).await;
    }

    /// Journals the last events, so that the next start neither reports these commands as interrupted nor
    /// repeats their results.
    async fn finish(&mut self, guest: &mut mpsc::Receiver<GuestEvent>) {
        while let Ok(event) = guest.try_recv() {
            if let GuestEvent::Finished(id, outcome) = event {
                let effects = self.machine.handle(Event::Finished(id, outcome), self.now());
                let kept = effects
                    .into_iter()
                    .filter(|effect| !matches!(effect, Effect::Run(_)))
                    .collect();
                self.perform(kept, None).await;
            }
        }
        while self.reporting > 0
            && let Ok(Some((result, stored))) = timeout(RETRY, self.reported.recv()).await
        {
            if let Some(event) = self.reported(result, stored) {
                let effects = self.machine.handle(event, self.now());
                self.perform(effects, None).await;
            }
        }
    }

    /// Reports that the task makes progress.
    fn turn(&self) {
        if let Some(part) = &self.part {
            part.turn();
        }
    }

    fn reported(&mut self, result: CommandResult, stored: bool) -> Option<Event> {
        self.reporting -= 1;
        let event = (stored && result.state.is_final()).then_some(Event::Reported(result.id));
        if !stored {
            self.unsent.push_back(result);
        }
        event
    }

    fn now(&self) -> Now {
        Now {
            uptime_ms: self.boot.at(self.clock.now_ms()),
            unix_ms: self.outbox.now_ms(),
        }
    }

    async fn perform(&mut self, effects: Vec<Effect>, mut receipt: Option<Receipt>) {
        for effect in effects {
            match effect {
                // Journal before act: an effect whose entry cannot be written is not performed in this run.
                Effect::Journal(entries) => {
                    if !self.append(entries, true).await {
                        return;
                    }
                }
                Effect::Note(entry) => {
                    if !self.append(vec![entry], false).await {
                        return;
                    }
                }
                Effect::Confirm => {
                    if let Some(receipt) = receipt.take() {
                        receipt.confirm();
                    }
                }
                Effect::Run(job) => {
                    // One handler runs at a time, so the channel has room; without a thread the agent is
                    // stopping.
                    if !self.mailbox.put(job) {
                        tracing::debug!(
                            "failed to start a command, the firmware's thread has ended; the next start reports it"
                        );
                    }
                }
                Effect::Report(result) => {
                    self.unsent.push_back(result);
                    self.send_unsent();
                }
            }
        }
    }

    /// Writes to the journal, retrying until it succeeds: no command may continue without its entry. Returns
    /// `false` if the agent stops before the entries are written.
    async fn append(&mut self, entries: Vec<Entry>, sync: bool) -> bool {
        let mut last_attempts = 0;
        while !self.halted {
            // A disk that stays full is not a part that has stopped.
            self.turn();
            let Some(mut journal) = self.journal.take() else {
                return false;
            };
            let lines = entries.clone();
            let snapshot = journal.is_long().then(|| self.machine.snapshot());
            let write = move || {
                let _step = watchdog::step("writing the command journal");
                let written = match snapshot {
                    // The snapshot already holds the new entries.
                    Some(snapshot) => journal.compact(&snapshot),
                    None => journal.append(&lines, sync),
                };
                (journal, written)
            };
            let Ok((journal, written)) = spawn_blocking(write).await else {
                return false;
            };
            self.journal = Some(journal);
            let Err(error) = written else {
                // After a hello the cloud sends the skipped commands again.
                if let Some(skipped) = self.skipped.take() {
                    skipped.request_again();
                }
                return true;
            };
            self.skip_deliveries();
            static FAILED: LogLimit = LogLimit::new();
            if let Some(more) = FAILED.pass() {
                tracing::error!(
                    error = cut(&error.to_string()),
                    suppressed = more,
                    "failed to write the command journal; commands wait, retrying"
                );
            }
            if self.pause().await {
                last_attempts += 1;
                self.halted = last_attempts >= STOP_ATTEMPTS;
            }
        }
        false
    }

    /// Skips commands that arrive while the journal cannot be written: they must not occupy the broker's
    /// slots for messages in flight, which acknowledgements of records need.
    fn skip_deliveries(&mut self) {
        while let Ok(Delivery::Command(_, receipt) | Delivery::Cancel(_, receipt)) =
            self.deliveries.try_recv()
        {
            self.skipped = Some(receipt.skip());
        }
    }

    /// Waits for the next attempt. Returns `true` if the agent is stopping.
    async fn pause(&mut self) -> bool {
        let Some(stop) = &mut self.stop else {
            sleep(RETRY).await;
            return false;
        };
        if *stop.borrow() {
            sleep(STOP_RETRY).await;
            return true;
        }
        // A stop and a timeout both lead to the next attempt.
        if !matches!(
            timeout(RETRY, stop.wait_for(|stop| *stop)).await,
            Ok(Ok(_)) | Err(_)
        ) {
            sleep(RETRY).await;
        }
        false
    }

    fn send_unsent(&mut self) {
        while let Some(result) = self.unsent.front() {
            let record = Record::Result(clipped(result)).encode();
            let committed = match self.outbox.try_offer_durable(StreamClass::Control, record) {
                Ok(committed) => committed,
                Err(error) => {
                    static WAITS: LogLimit = LogLimit::new();
                    if let Some(more) = WAITS.pass() {
                        tracing::warn!(
                            error = cut(&error.to_string()),
                            suppressed = more,
                            "failed to queue the result of a command; retrying"
                        );
                    }
                    return;
                }
            };
            let Some(result) = self.unsent.pop_front() else {
                return;
            };
            let reported = self.reported_tx.clone();
            self.reporting += 1;
            tokio::spawn(async move {
                let stored = matches!(committed.await, Ok(Ok(())));
                // Without an inbox the agent is stopping: the result is still in the journal and the next
                // start reports it.
                let _ = reported.send((result, stored)).await;
            });
        }
    }
}

fn guest_event(event: GuestEvent) -> Event {
    match event {
        GuestEvent::State(state) => Event::Guest(state),
        GuestEvent::Finished(id, outcome) => Event::Finished(id, outcome),
    }
}

fn clipped(result: &CommandResult) -> CommandResult {
    let detail = result
        .detail
        .as_deref()
        .map(|text| limits::clip(text, limits::MAX_TEXT_BYTES).to_owned());
    CommandResult {
        detail,
        ..result.clone()
    }
}
