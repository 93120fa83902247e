//! The thread that owns the update's state machine: feeds it with directives, answers of the repository and
//! events of a trial. Never waits for the repository.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::{io, thread};

use iottly_protocol::DeviceId;
use iottly_protocol::release::{Directive, Reason, Refusal};
use iottly_protocol::tuf::Vouched;
use iottly_protocol::{Report, Secret};
use iottly_sandbox::{Cache, Runtime};
use iottly_update::{Event, MetaError, Offer, Repository, SystemDisk, TrustFolder, Updater, read_file};
use tokio::sync::watch;

use super::admission::{Admission, Verdict};
use super::cloud_login::cloud_login;
use super::directive_schedule::{DirectiveSchedule, Next};
use super::directives::Directives;
use super::fetch::{self, Questions};
use super::firmware_slot::FirmwareSlot;
use super::host::DeviceHost;
use super::mailbox::{UpdateInput, UpdateMailbox};
use super::orders::Orders;
use super::question::{Answer, Question};
use super::release_source::{Outstanding, ReleaseSource};
use super::reporter::Reporter;
use super::roots::Roots;
use crate::clock::Monotonic;
use crate::config::{BrokerAddress, UpdateConfig};
use crate::developer::Lease;
use crate::guest::{Mailbox, TrialEvent};
use crate::outbox::Outbox;
use crate::threads::ended;
use crate::threads::thread_name;
use crate::throttle::{LogLimit, cut};
use crate::time::BoardClock;
use crate::watchdog::{IDLE, Part};

/// Pause before an update that failed on the disk is resumed.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Arguments of [`UpdateThread::start`].
pub(crate) struct UpdateParts {
    pub(crate) device: DeviceId,
    pub(crate) config: UpdateConfig,
    /// Permission for developers to run scripts here.
    pub(crate) developer: bool,
    pub(crate) data: PathBuf,
    pub(crate) factory: Option<PathBuf>,
    pub(crate) abi: &'static str,
    pub(crate) cache: Arc<Cache>,
    pub(crate) runtime: Runtime,
    pub(crate) guest: Mailbox,
    pub(crate) outbox: Outbox,
    pub(crate) clock: BoardClock,
    /// Address of the broker: the repository of the same cloud gets the device's login.
    pub(crate) broker: BrokerAddress,
    /// Secret of the device's login.
    pub(crate) secret: watch::Receiver<Secret>,
    /// Reports the progress of the thread.
    pub(crate) part: Part,
}

/// Handle of the thread. Dropping it asks the thread to end.
pub(crate) struct UpdateThread {
    mailbox: UpdateMailbox,
    repository: Repository,
    directives: Directives,
    thread: thread::JoinHandle<()>,
}

impl UpdateThread {
    /// Starts the thread, and with it the firmware that the journal names.
    ///
    /// # Errors
    /// If the configured root cannot be read at the first start, the configured certificates cannot be read,
    /// or the system cannot create a thread.
    pub(crate) fn start(parts: UpdateParts, name: &str) -> io::Result<Self> {
        let trust = parts.data.join("trust");
        if !trust.join("root.json").exists() {
            let named =
                |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", parts.config.root.display()));
            read_file(&parts.config.root, iottly_protocol::tuf::limits::ROOT_BYTES).map_err(named)?;
        }
        let repository = match &parts.config.ca {
            Some(ca) => Repository::with_ca(&parts.config.repository, ca)?,
            None => Repository::at(&parts.config.repository),
        };
        let login = cloud_login(&parts.config, &parts.broker, parts.device, parts.secret);
        let repository = match login {
            Some(login) => repository.with_login(login),
            None => repository,
        };
        let mailbox = UpdateMailbox::default();
        let reporter = Reporter::new(parts.device, parts.outbox.clone());
        let admission = Admission {
            device: parts.device,
            config: parts.config.clone(),
            trust: TrustFolder::new(&trust),
            data: parts.data.clone(),
            abi: parts.abi,
            cache: Arc::clone(&parts.cache),
            clock: parts.clock.clone(),
            reporter: reporter.clone(),
        };
        let fetcher = thread_name("fetch", parts.device);
        let questions = fetch::start(repository.clone(), admission.clone(), mailbox.clone(), &fetcher)?;
        let directives = Directives::new(mailbox.clone());
        let replaced = Arc::new(AtomicBool::new(false));
        let clock = Monotonic::start();
        let told = mailbox.clone();
        let lease = Lease::open(
            parts.device,
            &parts.data,
            parts.guest.clone(),
            parts.outbox,
            move |attempt, outcome| told.swapped(attempt, outcome),
        );
        let orders = Orders {
            admission: admission.clone(),
            questions: questions.clone(),
            lease,
            cache: Arc::clone(&parts.cache),
            data: parts.data.clone(),
            factory: parts.factory.clone(),
            allowed: parts.developer,
            replaced: Arc::clone(&replaced),
            clock,
            installed: String::new(),
        };
        let slot = FirmwareSlot {
            device: parts.device,
            data: parts.data,
            factory: parts.factory,
            cache: parts.cache,
            runtime: parts.runtime,
            guest: parts.guest,
            mailbox: mailbox.clone(),
            replaced,
            part: parts.part,
        };
        let actor = Actor {
            device: parts.device,
            poll_ms: parts.config.poll_seconds.max(1).saturating_mul(1000),
            admission,
            questions,
            slot,
            reporter,
            orders,
            mailbox: mailbox.clone(),
            directives: directives.clone(),
            clock,
            schedule: DirectiveSchedule::default(),
            roots: Roots::default(),
            unreachable: false,
            blocked_by: None,
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || actor.run())?;
        Ok(Self {
            mailbox,
            repository,
            directives,
            thread,
        })
    }

    /// Returns the queue for directives from the cloud.
    pub(crate) fn directives(&self) -> Directives {
        self.directives.clone()
    }

    /// Asks the thread to end, and waits at most `deadline`. Returns `true` if it has ended. An update under
    /// way resumes at the next start; a fetch under way is not awaited.
    pub(crate) async fn stop(self, deadline: Duration) -> bool {
        self.mailbox.stop();
        self.repository.stop();
        ended(&self.thread, deadline).await
    }
}

impl Drop for UpdateThread {
    fn drop(&mut self) {
        self.mailbox.stop();
        self.repository.stop();
    }
}

/// State of the update's thread.
struct Actor {
    device: DeviceId,
    /// Time between two polls of the repository, in milliseconds.
    poll_ms: u64,
    admission: Admission,
    questions: Questions,
    slot: FirmwareSlot,
    reporter: Reporter,
    orders: Orders,
    mailbox: UpdateMailbox,
    directives: Directives,
    clock: Monotonic,
    schedule: DirectiveSchedule,
    roots: Roots,
    /// The latest poll of the repository failed.
    unreachable: bool,
    /// Error that stopped the update, as last reported.
    blocked_by: Option<String>,
}

type DeviceUpdater = Updater<SystemDisk, DeviceHost>;

impl Actor {
    fn run(mut self) {
        self.orders.boot();
        loop {
            let failed = match self.serve() {
                Ok(()) => return,
                Err(error) => error.to_string(),
            };
            tracing::warn!(device.id = %self.device, error = %failed, "failed to read or write the files of the update; retrying in 60 s");
            if self.blocked_by.as_ref() != Some(&failed) {
                self.reporter
                    .warn(&format!("updates are blocked by an error: {failed}"));
                self.blocked_by = Some(failed);
            }
            if self.pause() {
                return;
            }
        }
    }

    /// Waits after a failure. Returns `true` if the agent stops.
    fn pause(&mut self) -> bool {
        let until_ms = self
            .clock
            .now_ms()
            .saturating_add(u64::try_from(AFTER_FAILURE.as_millis()).unwrap_or(u64::MAX));
        loop {
            self.slot.part.turn();
            let now_ms = self.clock.now_ms();
            match self
                .mailbox
                .take(Duration::from_millis(until_ms.saturating_sub(now_ms)).min(IDLE))
            {
                Some(UpdateInput::Stop) => return true,
                Some(UpdateInput::Directive(document)) => self.schedule.sent(document, now_ms),
                Some(UpdateInput::Answer(Answer::Considered { document, .. })) => {
                    let sent = self.schedule.answered();
                    self.schedule.unreachable(document, sent, now_ms);
                }
                Some(UpdateInput::Answer(Answer::NoDirective | Answer::Unreachable(_))) => {
                    _ = self.schedule.answered()
                }
                Some(UpdateInput::Order(received)) => {
                    self.orders.refuse(
                        &received,
                        Reason::Unreachable,
                        "updates are blocked by an error of the disk",
                    );
                }
                Some(UpdateInput::Answer(Answer::Ordered { received, .. })) => {
                    self.orders.refuse(
                        &received,
                        Reason::Unreachable,
                        "updates are blocked by an error of the disk",
                    );
                }
                Some(UpdateInput::Swapped(attempt, outcome)) => self.orders.swapped(attempt, outcome),
                Some(UpdateInput::Root(version)) => _ = self.root_announced(version),
                Some(UpdateInput::Answer(Answer::Refreshed(_))) => {
                    self.roots.answered(self.admission.root_version(), now_ms);
                }
                // The resumed update has new questions and a new trial.
                Some(UpdateInput::Answer(_) | UpdateInput::Trial(_)) => {}
                Some(UpdateInput::TimeRevised) | None => {}
            }
            self.orders.tick();
            if now_ms >= until_ms {
                return false;
            }
        }
    }

    fn host(&self) -> DeviceHost {
        DeviceHost {
            source: ReleaseSource::new(self.admission.clone(), self.questions.clone()),
            slot: self.slot.clone(),
            reporter: self.reporter.clone(),
            release_seq: None,
            clock: self.clock,
        }
    }

    /// Boots the state machine and feeds it until the agent stops.
    fn serve(&mut self) -> io::Result<()> {
        if let Err(error) = self.admission.trust.tidy() {
            tracing::warn!(device.id = %self.device, %error, "failed to tidy the folder of trusted metadata; continuing");
        }
        let disk = SystemDisk::open(&self.slot.data)?;
        let mut updater = Updater::boot(disk, self.host())?;
        self.facts(&mut updater);
        loop {
            self.slot.part.turn();
            if updater.memory().last.is_some() {
                // The report is stored in the queue.
                updater.handle(Event::Reported)?;
                self.schedule.update_ended(self.clock.now_ms());
                self.facts(&mut updater);
                self.blocked_by = None;
            }
            self.orders.follow(updater.memory());
            self.ask(&updater);
            let now_ms = self.clock.now_ms();
            let due_ms = [
                updater.wake_at(),
                self.schedule.due_ms(),
                self.orders.wake_at(),
                self.roots.due_ms(),
            ]
            .into_iter()
            .flatten()
            .min();
            let wait_ms = due_ms.map_or(u64::from(u32::MAX), |at| at.saturating_sub(now_ms));
            match self.mailbox.take(Duration::from_millis(wait_ms).min(IDLE)) {
                Some(UpdateInput::Stop) => return Ok(()),
                Some(UpdateInput::Trial(TrialEvent::Healthy)) => updater.handle(Event::Healthy)?,
                Some(UpdateInput::Trial(TrialEvent::Failed(why))) => updater.handle(Event::Trapped(why))?,
                Some(UpdateInput::Answer(answer)) => self.answered(&mut updater, answer)?,
                Some(UpdateInput::Directive(document)) => self.schedule.sent(document, self.clock.now_ms()),
                Some(UpdateInput::Order(received)) => self.orders.received(received, updater.memory()),
                Some(UpdateInput::Swapped(attempt, outcome)) => self.orders.swapped(attempt, outcome),
                Some(UpdateInput::Root(version)) => {
                    if self.root_announced(version) {
                        self.report_facts(updater.memory());
                    }
                }
                // The next question takes the new time into account.
                Some(UpdateInput::TimeRevised) | None => {}
            }
            self.orders.tick();
            if updater.wake_at().is_some_and(|at| at <= self.clock.now_ms()) {
                updater.handle(Event::Tick)?;
            }
        }
    }

    /// Asks the question about directives that is due.
    fn ask(&mut self, updater: &DeviceUpdater) {
        let now_ms = self.clock.now_ms();
        if self
            .schedule
            .time_revised(self.admission.clock.reading().revision, now_ms)
        {
            self.report_facts(updater.memory());
        }
        if self.roots.is_due(now_ms) {
            let memory = Box::new(updater.memory().clone());
            let asked = self.questions.ask(Question::Refresh { memory });
            self.roots.asked(asked, now_ms);
        }
        let Some(next) = self.schedule.next(now_ms, self.poll_ms) else {
            return;
        };
        let memory = Box::new(updater.memory().clone());
        let asked = match next {
            Next::Poll => self.questions.ask(Question::Poll {
                seen: self.schedule.seen().to_vec(),
                memory,
            }),
            Next::Admit(document) => {
                let again = document.clone();
                let asked = self.questions.ask(Question::Admit { document, memory });
                if !asked {
                    self.schedule.answered();
                    self.schedule.unreachable(again, true, now_ms);
                }
                return;
            }
        };
        if !asked {
            self.schedule.answered();
        }
    }

    fn answered(&mut self, updater: &mut DeviceUpdater, answer: Answer) -> io::Result<()> {
        match answer {
            Answer::NoDirective => {
                self.schedule.answered();
                self.unreachable = false;
            }
            Answer::Unreachable(error) => {
                self.schedule.answered();
                if !self.unreachable {
                    static NOT_FETCHED: LogLimit = LogLimit::new();
                    if let Some(more) = NOT_FETCHED.pass() {
                        let error = cut(&error);
                        tracing::warn!(device.id = %self.device, error, suppressed = more, "failed to fetch directives; retrying with each poll");
                    }
                }
                self.unreachable = true;
            }
            Answer::Considered { document, verdict } => self.considered(updater, document, *verdict)?,
            Answer::Refreshed(verdict) => {
                vouched(updater, verdict.vouched)?;
                self.roots
                    .answered(self.admission.root_version(), self.clock.now_ms());
                if let Err(error) = verdict.result {
                    tracing::warn!(device.id = %self.device, ?error, "failed to take up a new root of releases; retrying later");
                    return Ok(());
                }
                self.report_facts(updater.memory());
            }
            Answer::Ordered { received, verdict } => {
                vouched(updater, verdict.vouched)?;
                self.orders
                    .considered(&received, verdict.result, updater.memory());
            }
            Answer::Planned { counter, verdict } => {
                if updater.host().source.accepts(&Outstanding::Plan(counter)) {
                    vouched(updater, verdict.vouched)?;
                    if let Ok(planned) = &verdict.result {
                        updater.host().release_seq = Some(planned.release_seq);
                    }
                    updater.planned(counter, verdict.result)?;
                }
            }
            Answer::List { sha256, result } => {
                if updater.host().source.accepts(&Outstanding::List(sha256.clone())) {
                    updater.chunk_list(&sha256, result)?;
                }
            }
            Answer::Part { sha256, from, result } => {
                if updater
                    .host()
                    .source
                    .accepts(&Outstanding::Part(sha256.clone(), from))
                {
                    updater.part(&sha256, from, result)?;
                }
            }
        }
        Ok(())
    }

    /// Follows a directive, or reports the reason for not following it.
    fn considered(
        &mut self,
        updater: &mut DeviceUpdater,
        document: Vec<u8>,
        verdict: Verdict<Option<Directive>>,
    ) -> io::Result<()> {
        let sent = self.schedule.answered();
        vouched(updater, verdict.vouched)?;
        let now_ms = self.clock.now_ms();
        let reported = document.clone();
        let report = match verdict.result {
            // Followed earlier; the repository serves it until the next one is published.
            Ok(None) => {
                self.schedule.followed(document);
                None
            }
            Ok(Some(directive)) => {
                let text = String::from_utf8_lossy(&document).into_owned();
                let counter = directive.counter;
                updater.handle(Event::Offer(offer(directive, text)))?;
                if updater.memory().counter >= counter {
                    self.schedule.followed(document);
                } else {
                    // In its last steps an update accepts no new directive.
                    self.schedule.hold(document);
                }
                None
            }
            Err(MetaError::Unreachable(detail)) => {
                let state = self.schedule.unreachable(document, sent, now_ms);
                state.map(|state| {
                    (
                        state,
                        Refusal {
                            reason: Reason::Unreachable,
                            detail,
                        },
                    )
                })
            }
            // Considered again with each poll: it may become valid, or the repository may be updated.
            Err(MetaError::Refused(why)) => self
                .schedule
                .refused(document, &why, now_ms)
                .map(|state| (state, why)),
        };
        if let Some((state, why)) = report {
            self.reporter.not_followed(&reported, state, &why);
        }
        self.directives.accepted(updater.memory().counter);
        Ok(())
    }

    /// Publishes the accepted counter and reports the facts that the cloud's preflight needs.
    fn facts(&self, updater: &mut DeviceUpdater) {
        self.directives.accepted(updater.memory().counter);
        self.report_facts(updater.memory());
    }

    /// Notes an announced root. Returns `true` if the device trusts it already.
    fn root_announced(&mut self, version: u64) -> bool {
        self.roots
            .announced(version, self.admission.root_version(), self.clock.now_ms())
    }

    fn report_facts(&self, memory: &iottly_update::Memory) {
        self.reporter.report(Report::Facts(Box::new(
            self.admission.facts(memory, memory.counter),
        )));
    }
}

fn vouched(updater: &mut DeviceUpdater, vouched: Option<Vouched>) -> io::Result<()> {
    match vouched {
        Some(vouched) if updater.memory().vouched != Some(vouched) => updater.handle(Event::Vouched(vouched)),
        _ => Ok(()),
    }
}

fn offer(directive: Directive, document: String) -> Offer {
    Offer {
        id: directive.id,
        document,
        counter: directive.counter,
        action: directive.action,
        sha256: directive.sha256.to_ascii_lowercase(),
        deadline_s: directive.deadline_s,
        window: directive.window,
        max_bps: directive.max_bps,
    }
}
