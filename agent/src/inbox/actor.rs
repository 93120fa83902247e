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
use crate::link::{Delivery, LeftOut, Receipt};
use crate::outbox::Outbox;
use crate::throttle::{LogLimit, cut};
use crate::watchdog;
use crate::work::GuestEvent;

/// Pause between attempts while the journal cannot be written or the queue has no room.
const RETRY: Duration = Duration::from_secs(1);
/// How often a stop goes on trying a journal that cannot be written, and the pause between these attempts.
const STOP_ATTEMPTS: u32 = 3;
const STOP_RETRY: Duration = Duration::from_millis(100);
/// Results on their way into the queue.
const REPORTS: usize = 64;

/// Where the inbox hears from.
pub(crate) struct Inputs {
    pub(crate) deliveries: mpsc::Receiver<Delivery>,
    pub(crate) guest: mpsc::Receiver<GuestEvent>,
    /// Turns true when the agent stops.
    pub(crate) stop: watch::Receiver<bool>,
}

/// The task that performs what the machine decides.
pub(crate) struct Actor {
    machine: Machine,
    /// Not there only while a blocking thread has it.
    journal: Option<Journal>,
    outbox: Outbox,
    mailbox: Mailbox,
    boot: SystemBoot,
    clock: Monotonic,
    /// Results that found no room in the queue; the machine bounds their number.
    unsent: VecDeque<CommandResult>,
    /// Results handed to the queue, and whether it has stored them.
    reported_tx: mpsc::Sender<(CommandResult, bool)>,
    reported: mpsc::Receiver<(CommandResult, bool)>,
    /// Results whose answer is still to come through `reported`.
    reporting: usize,
    todo: Vec<Effect>,
    /// Turns true when the agent stops; none before the start.
    stop: Option<watch::Receiver<bool>>,
    /// Where commands come from; closed before the start.
    deliveries: mpsc::Receiver<Delivery>,
    /// Commands were left out while the journal could not be written.
    left_out: Option<LeftOut>,
    /// A step could not be journaled and the agent stops: nothing more may happen.
    given_up: bool,
}

impl Actor {
    /// Opens the journal and continues from it.
    pub(crate) fn open(path: &Path, outbox: Outbox, mailbox: Mailbox) -> Result<Self, JournalError> {
        let (boot, clock) = (SystemBoot::read(), Monotonic::start());
        let (mut journal, entries, damaged) = Journal::open(path)?;
        if damaged > 0 {
            tracing::warn!(journal.path = %path.display(), damaged, "lines of the command journal were unreadable");
        }
        let now = Now {
            uptime_ms: boot.at(0),
            unix_ms: outbox.now_ms(),
        };
        let (machine, todo) = Machine::restore(entries, boot.id.clone(), now);
        // On a full disk it stays as it is; what is new is appended when there is room.
        if let Err(error) = journal.compact(&machine.snapshot()) {
            tracing::warn!(%error, "the command journal cannot be shortened; going on with it as it is");
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
            deliveries: mpsc::channel(1).1,
            left_out: None,
            given_up: false,
        })
    }

    /// Runs until the agent stops.
    pub(crate) async fn run(mut self, inputs: Inputs) {
        let Inputs {
            deliveries,
            mut guest,
            mut stop,
        } = inputs;
        self.deliveries = deliveries;
        self.stop = Some(stop.clone());
        let todo = std::mem::take(&mut self.todo);
        self.perform(todo, None).await;
        loop {
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
            };
            let effects = self.machine.handle(event, self.now());
            self.perform(effects, receipt).await;
        }
        self.finish(&mut guest).await;
    }

    /// Writes down what happened last, so that the next start neither takes it for interrupted nor reports it
    /// again.
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
                // Journal before act: what cannot be written down does not happen in this run any more.
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
                        tracing::debug!("a command was not started, the firmware's thread is gone");
                    }
                }
                Effect::Report(result) => {
                    self.unsent.push_back(result);
                    self.send_unsent();
                }
            }
        }
    }

    /// Writes to the journal, as often as it takes: without it no command may go on. Answers false when the
    /// agent stops before it could be written.
    async fn append(&mut self, entries: Vec<Entry>, sync: bool) -> bool {
        let mut last_attempts = 0;
        while !self.given_up {
            let Some(mut journal) = self.journal.take() else {
                return false;
            };
            let (lines, snapshot) = (
                entries.clone(),
                journal.is_long().then(|| self.machine.snapshot()),
            );
            let write = move || {
                let _step = watchdog::step("writing the command journal");
                let written = match snapshot {
                    // The machine has taken the step already, so its snapshot holds the new entries.
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
                // What was left out meanwhile is offered again after a hello.
                if let Some(left_out) = self.left_out.take() {
                    left_out.ask_again();
                }
                return true;
            };
            self.leave_out();
            static FAILED: LogLimit = LogLimit::new();
            if let Some(more) = FAILED.pass() {
                tracing::error!(
                    error = cut(&error.to_string()),
                    more,
                    "the command journal cannot be written; commands wait, trying again"
                );
            }
            if self.pause().await {
                last_attempts += 1;
                self.given_up = last_attempts >= STOP_ATTEMPTS;
            }
        }
        false
    }

    /// Lets go of commands that came while the journal cannot be written: they must not take the broker's
    /// places for messages in flight, which acknowledgements of records need.
    fn leave_out(&mut self) {
        while let Ok(Delivery::Command(_, receipt) | Delivery::Cancel(_, receipt)) =
            self.deliveries.try_recv()
        {
            self.left_out = Some(receipt.leave_out());
        }
    }

    /// Waits for the next attempt; answers whether the agent stops.
    async fn pause(&mut self) -> bool {
        let Some(stop) = &mut self.stop else {
            sleep(RETRY).await;
            return false;
        };
        if *stop.borrow() {
            sleep(STOP_RETRY).await;
            return true;
        }
        // Both ends mean the next attempt.
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
                            more,
                            "a command's result is not taken by the queue; trying again"
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
                // Without an inbox the agent is stopping: the journal still has the result and the next start
                // reports it.
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
