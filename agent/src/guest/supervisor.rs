//! The firmware's thread: loads and starts an instance, reports how it ended, restarts it by the sandbox's
//! policy. Never decides which firmware is installed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use iottly_protocol::{CommandId, FirmwareReport, FirmwareState, Record, Report, StreamClass};
use iottly_sandbox::{
    CallError, Cause, Firmware, Instance, Limits, RestartPolicy, RestartRules, RestartVerdict, StartError,
    TrapCode,
};

use super::failure::{Failure, cause, failure};
use super::host::AgentHost;
use super::mailbox::{GuestRequest, LoadRequest, Mailbox, MailboxReceiver, TrialEvent, TrialObserver};
use super::messages;
use super::silence::Silence;
use super::source::{FirmwareSource, Installed, Ports};
use super::state::FileState;
use super::swap::{Borrowed, Swap, SwapOutcome, SwapRequest};
use crate::clock::Monotonic;
use crate::status::FirmwareStatus;
use crate::throttle::{LogLimit, Throttle, cut};
use crate::watchdog::{COMPILING_ROUNDS, IDLE};
use crate::work::{GuestEvent, GuestState, Outcome};

/// State of the firmware's thread.
pub(super) struct Supervisor {
    pub(super) source: FirmwareSource,
    pub(super) ports: Ports,
    pub(super) mailbox: Mailbox,
    pub(super) requests: Receiver<GuestRequest>,
    pub(super) clock: Monotonic,
    policy: RestartPolicy,
    faults: Throttle,
    digest: String,
    /// Code from memory that runs instead of the installed firmware.
    pub(super) borrowed: Borrowed,
    /// Observer, while the firmware is on trial.
    pub(super) observer: Option<TrialObserver>,
    /// The operator was warned that the trial has proven nothing yet.
    doubted: bool,
    /// Messages sent by the firmware since it was loaded.
    sent: Arc<AtomicU64>,
    pub(super) silence: Silence,
}

/// End of an instance.
pub(super) enum End {
    Stopped,
    /// Another firmware is to be run.
    Replaced(LoadRequest),
    /// Code from memory is to be run.
    Swapped(Box<Swap>),
    /// The installed firmware is to be run instead of code from memory.
    GivenBack,
    Failed(Failure),
}

impl Supervisor {
    pub(super) fn new(
        source: FirmwareSource,
        ports: Ports,
        mailbox: Mailbox,
        requests: MailboxReceiver,
    ) -> Self {
        Self {
            source,
            ports,
            mailbox,
            requests: requests.0,
            clock: Monotonic::start(),
            policy: RestartPolicy::new(RestartRules::DEVICE),
            faults: Throttle::default(),
            digest: String::new(),
            borrowed: Borrowed::default(),
            observer: None,
            doubted: false,
            sent: Arc::default(),
            silence: Silence::default(),
        }
    }

    /// Runs until the agent stops.
    pub(super) fn run(mut self) {
        loop {
            let runs =
                matches!(self.source.installed, Installed::File(_)) || self.borrowed.current().is_some();
            if !runs {
                self.nothing_to_run();
                if !self.idle(None) {
                    break;
                }
                continue;
            }
            self.ports.status.firmware(FirmwareStatus::Starting);
            let end = self.serve();
            self.ports.meter.ended();
            let failure = match end {
                End::Stopped => break,
                End::Replaced(request) => {
                    self.take(request);
                    continue;
                }
                End::Swapped(swap) => {
                    self.begin(*swap);
                    continue;
                }
                End::GivenBack => {
                    self.give_back();
                    continue;
                }
                End::Failed(failure) if self.borrowed.failed(&failure) => continue,
                End::Failed(failure) => failure,
            };
            if !self.recover(&failure) {
                break;
            }
        }
        while let Ok(input) = self.requests.try_recv() {
            let GuestRequest::Job(job) = input else { continue };
            self.finished(
                job.id,
                Outcome::Failed("the agent stopped before the handler was called".to_owned()),
            );
        }
        self.ports.status.firmware(FirmwareStatus::Stopped);
        self.report(FirmwareState::Stopped, None);
    }

    /// Reports that nothing runs. While the update has not decided what does, commands wait: a decision follows.
    fn nothing_to_run(&self) {
        if self.source.installed == Installed::Nothing {
            let reason = "no firmware is installed".to_owned();
            self.notify(GuestEvent::State(GuestState::Absent(reason)));
            self.ports.meter.nothing_runs();
            self.ports.status.firmware(FirmwareStatus::Absent);
        } else {
            self.ports.status.firmware(FirmwareStatus::Starting);
        }
    }

    /// Switches to the requested firmware; the old one has ended.
    fn take(&mut self, request: LoadRequest) {
        self.notify(GuestEvent::State(GuestState::Pending));
        self.source.installed = request.installed;
        self.source.engine = request.engine;
        self.borrowed.forget();
        self.observer = request.observer;
        self.doubted = false;
        // An update stops one firmware before it starts the next: the pause between them counts for neither.
        if matches!(self.source.installed, Installed::File(_)) {
            self.silence = self
                .silence
                .replaced(self.sent.swap(0, Ordering::Relaxed), self.clock.now());
        }
        self.policy = RestartPolicy::new(RestartRules::DEVICE);
        // The requester may have timed out; ignore a closed channel.
        let _ = request.done.try_send(());
    }

    /// Loads code from memory; what runs continues. Returns `None` after a failure, which is notified.
    pub(super) fn prepare(&self, request: SwapRequest) -> Option<Swap> {
        // The requester may have timed out; ignore a closed channel.
        let _ = request.taken.try_send(());
        let _compiling = self.source.part.long(COMPILING_ROUNDS);
        match self.source.cache.load(&self.source.runtime, &request.component) {
            Ok(firmware) => Some(Swap::new(firmware, request.notify)),
            Err(error) => {
                (request.notify)(SwapOutcome::Failed(error.to_string()));
                None
            }
        }
    }

    /// Switches to code from memory; what ran before has ended.
    fn begin(&mut self, swap: Swap) {
        self.notify(GuestEvent::State(GuestState::Pending));
        self.observer = None;
        self.policy = RestartPolicy::new(RestartRules::DEVICE);
        self.borrowed.begin(swap);
    }

    /// Switches from code from memory to the installed firmware; the code has ended.
    fn give_back(&mut self) {
        if self.borrowed.forget() {
            self.notify(GuestEvent::State(GuestState::Pending));
            self.policy = RestartPolicy::new(RestartRules::DEVICE);
        }
    }

    /// Returns the number of messages sent by the firmware since it was loaded.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Warns the operator of something that a trial has not proven, once per trial and kind.
    pub(super) fn doubt(&mut self, warning: &str, reason: &str) {
        if warning == "not working" && std::mem::replace(&mut self.doubted, true) {
            return;
        }
        tracing::warn!(
            warning,
            reason,
            "the firmware is not proven in its trial; the trial continues"
        );
        self.offer(
            StreamClass::History,
            messages::firmware_warning("trial", warning, reason, self.stamp()),
        );
    }

    pub(super) fn notify_observer(&self, event: TrialEvent) {
        if let Some(observer) = &self.observer {
            (observer.notify)(event);
        }
    }

    /// Loads and starts one instance, and calls it until it ends.
    fn serve(&mut self) -> End {
        if self.policy.failures() > 0 {
            self.ports.meter.restarted();
        }
        let firmware = match (self.borrowed.current().cloned(), &self.source.installed) {
            (Some(firmware), _) => Ok(firmware),
            (None, Installed::File(wasm)) => self.load(wasm),
            (None, Installed::Nothing | Installed::Undecided) => return End::GivenBack,
        };
        let started = firmware.and_then(|firmware| {
            firmware.digest().clone_into(&mut self.digest);
            self.ports.meter.starts(&self.digest);
            self.start(&firmware)
        });
        let mut instance = match started {
            Ok(instance) => instance,
            Err(failure) => return End::Failed(failure),
        };
        self.borrowed.started();
        self.ports.meter.runs();
        self.policy.started(self.clock.now());
        self.offer(StreamClass::History, messages::firmware_started(self.stamp()));
        self.report(FirmwareState::Running, None);
        self.ports.status.firmware(FirmwareStatus::Running);
        self.notify(GuestEvent::State(GuestState::Ready));
        self.run_calls(&mut instance)
    }

    fn load(&self, path: &Path) -> Result<Firmware, Failure> {
        let fail = |cause, error: &str, description: String| Failure {
            cause,
            function: "load",
            error: error.to_owned(),
            description,
            trapped: false,
        };
        let wasm = iottly_update::read_file(path, MAX_COMPONENT_BYTES as u64).map_err(|source| {
            // Too large or not a regular file: a retry cannot succeed.
            let cause = if source.kind() == io::ErrorKind::InvalidData {
                Cause::Firmware
            } else {
                Cause::Device
            };
            fail(cause, "firmware file", format!("{}: {source}", path.display()))
        })?;
        let _compiling = self.source.part.long(COMPILING_ROUNDS);
        let loaded = self
            .source
            .cache
            .load_on(&self.source.runtime, &wasm, self.source.engine.as_deref());
        loaded.map_err(|error| fail(cause(&error), "firmware", error.to_string()))
    }

    fn start(&mut self, firmware: &Firmware) -> Result<Instance, Failure> {
        let mailbox = self.mailbox.clone();
        let source = &self.source;
        let host = AgentHost {
            outbox: self.ports.outbox.clone(),
            device: source.device.clone(),
            board: source.board.clone(),
            access: source.access.clone(),
            settings: source.settings.clone(),
            state: self.state()?,
            budget: source.budget.clone(),
            waker: Arc::new(move || mailbox.wake()),
            lost_lines: 0,
            mark: self.borrowed.mark(),
            sent: Arc::clone(&self.sent),
        };
        let start = firmware.start(Box::new(host), Limits::default());
        let mut instance = start.map_err(|StartError::Trap(report)| Failure {
            cause: if report.code == TrapCode::Device {
                Cause::Device
            } else {
                Cause::Firmware
            },
            function: "start",
            error: "trap".to_owned(),
            description: report.to_string(),
            trapped: true,
        })?;
        let init = instance.init();
        self.ports.meter.used(instance.take_usage());
        match init {
            Ok(()) => Ok(instance),
            Err(error) => Err(failure("init", &error, &mut instance)),
        }
    }

    fn state(&self) -> Result<FileState, Failure> {
        let path = &self.source.state;
        let opened = FileState::open(path.clone(), self.source.budget.clone()).map_err(|error| Failure {
            cause: Cause::Device,
            function: "start",
            error: "state".to_owned(),
            description: format!("{}: {error}", path.display()),
            trapped: false,
        });
        let (state, aside) = opened?;
        if let Some(aside) = aside {
            let name = aside.file_name().unwrap_or_default().to_string_lossy();
            let description =
                format!("the firmware's state was damaged; it is kept as {name} and begins empty");
            self.offer(
                StreamClass::History,
                messages::agent_warning("state replaced", &description, self.now_ms()),
            );
        }
        Ok(state)
    }

    /// Reports a failure and waits for the restart. Returns `false` if the agent stops.
    fn recover(&mut self, failure: &Failure) -> bool {
        let Failure {
            cause,
            function,
            error,
            description,
            trapped,
        } = failure;
        if *trapped {
            self.ports.meter.trapped();
        }
        static FAILED: LogLimit = LogLimit::new();
        if let Some(more) = FAILED.pass() {
            let error = cut(error);
            let description = cut(description);
            tracing::warn!(
                firmware.function = function,
                error,
                description,
                suppressed = more,
                "failed to run the firmware; restarting it after a pause"
            );
        }
        let now = self.clock.now();
        let uptime_ms = u64::try_from(self.policy.served(now).as_millis()).unwrap_or(u64::MAX);
        let life = messages::Life {
            uptime_ms,
            restarts: self.policy.failures(),
            digest: &self.digest,
        };
        // The pauses between restarts bound the number of these messages.
        self.offer(
            StreamClass::History,
            messages::firmware_ended(function, error, description, &life, self.stamp()),
        );
        let detail = format!("{function}: {error}: {description}");
        let (pause, state, status, report) = match self.policy.failed(*cause, now) {
            RestartVerdict::Restart(pause) => (
                pause,
                GuestState::Pending,
                FirmwareStatus::Restarting,
                FirmwareState::Restarting,
            ),
            RestartVerdict::Quarantine(pause) => {
                let why = "no firmware runs: it failed too often".to_owned();
                (
                    pause,
                    GuestState::Absent(why),
                    FirmwareStatus::Quarantined,
                    FirmwareState::Quarantined,
                )
            }
        };
        self.notify(GuestEvent::State(state));
        self.ports.status.firmware(status);
        // Before the observer is notified: the report of a stop precedes the report of the rollback that it
        // causes, which ends the trial for the cloud.
        self.report(report, Some(detail.clone()));
        if *cause == Cause::Firmware {
            self.notify_observer(TrialEvent::Failed(detail));
        }
        self.idle(Some(self.clock.now().saturating_add(pause)))
    }

    /// Waits without a firmware until a time or a load request; without a time, forever. Returns `false` if
    /// the agent stops.
    fn idle(&mut self, until: Option<Duration>) -> bool {
        loop {
            self.source.part.turn();
            let left = until.map(|until| until.saturating_sub(self.clock.now()));
            let input = match self.requests.recv_timeout(left.unwrap_or(IDLE).min(IDLE)) {
                Err(RecvTimeoutError::Timeout) if left.is_some_and(|left| left <= IDLE) => return true,
                Err(RecvTimeoutError::Timeout) => continue,
                other => other.ok(),
            };
            match input {
                // Sent before the inbox knew of the failure.
                Some(GuestRequest::Job(job)) => {
                    self.finished(job.id, Outcome::Failed("the firmware is not running".to_owned()))
                }
                Some(GuestRequest::Wake) => self.mailbox.woken(),
                Some(GuestRequest::Load(request)) => {
                    self.take(request);
                    return true;
                }
                Some(GuestRequest::Swap(request)) => {
                    if let Some(swap) = self.prepare(request) {
                        self.begin(swap);
                        return true;
                    }
                }
                Some(GuestRequest::GiveBack(taken)) => {
                    // The requester may have timed out; ignore a closed channel.
                    let _ = taken.try_send(());
                    if self.borrowed.current().is_some() {
                        self.give_back();
                        return true;
                    }
                }
                Some(GuestRequest::Stop) | None => return false,
            }
        }
    }

    /// Reports a fault that the firmware survives, at most one every ten seconds.
    pub(super) fn complain(&mut self, function: &str, error: &CallError) {
        let Some(suppressed) = self.faults.pass(self.clock.now_ms()) else {
            return;
        };
        let text = error.to_string();
        let description = if suppressed > 0 {
            format!("and {suppressed} faults before it")
        } else {
            String::new()
        };
        self.offer(
            StreamClass::History,
            messages::firmware_error(function, &text, &description, self.stamp()),
        );
    }

    fn report(&self, state: FirmwareState, detail: Option<String>) {
        let report = FirmwareReport {
            state,
            digest: self.digest.clone(),
            detail,
            at_ms: self.now_ms(),
        };
        self.offer(
            StreamClass::Control,
            Record::Report(Report::Firmware(report)).encode(),
        );
    }

    /// Returns the time and the mark for a message about what runs.
    pub(super) fn stamp(&self) -> messages::Stamp {
        messages::Stamp {
            at_ms: self.now_ms(),
            firmware: self.borrowed.mark(),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.ports.outbox.now_ms()
    }

    pub(super) fn finished(&self, id: CommandId, outcome: Outcome) {
        self.notify(GuestEvent::Finished(id, outcome));
    }

    pub(super) fn notify(&self, event: GuestEvent) {
        // Without an inbox the agent is stopping; the journal reports the command at the next start.
        let _ = self.ports.inbox.blocking_send(event);
    }

    pub(super) fn offer(&self, class: StreamClass, record: Vec<u8>) {
        if let Err(error) = self.ports.outbox.offer(class, record) {
            static NOT_TAKEN: LogLimit = LogLimit::new();
            if let Some(more) = NOT_TAKEN.pass() {
                tracing::warn!(
                    error = cut(&error.to_string()),
                    stream.class = ?class,
                    suppressed = more,
                    "failed to queue an agent message; dropping it"
                );
            }
        }
    }
}
