use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use std::{io, thread};

use iottly_boards::Board;
use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use iottly_protocol::{CommandId, FirmwareReport, FirmwareState, Record, Report, StreamClass};
use iottly_sandbox::{
    Cache, CallError, Cause, Firmware, Instance, Limits, LoadError, RestartPolicy, RestartRules,
    RestartVerdict, Runtime, StartError, TrapCode,
};
use tokio::sync::mpsc;

use super::budget::WriteBudget;
use super::host::AgentHost;
use super::jobs::{Input, Inputs, Jobs, News, Order, Watch};
use super::messages;
use super::silence::Silence;
use super::state::FileState;
use crate::clock::Monotonic;
use crate::grants::Grants;
use crate::inbox::{GuestEvent, GuestState, Outcome};
use crate::outbox::Outbox;
use crate::settings::Settings;
use crate::status::{FirmwareStatus, StatusBoard};
use crate::threads::ended;
use crate::throttle::{LogLimit, Throttle, cut};

/// What the firmware's thread is connected to inside the agent.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) outbox: Outbox,
    pub(crate) inbox: mpsc::Sender<GuestEvent>,
    pub(crate) status: StatusBoard,
}

/// Where the firmware comes from.
pub(crate) struct FirmwareSource {
    /// Its file; none until an update brings one.
    pub(crate) wasm: Option<PathBuf>,
    pub(crate) cache: Cache,
    pub(crate) runtime: Runtime,
    /// The device's id.
    pub(crate) device: String,
    /// What the firmware sits on.
    pub(crate) board: Option<Arc<dyn Board>>,
    /// What of the board the device lets firmware have.
    pub(crate) grants: Option<Grants>,
    /// What the cloud has set for it.
    pub(crate) settings: Settings,
    /// The file of its key-value state.
    pub(crate) state: PathBuf,
    /// What it may make the device write.
    pub(crate) budget: WriteBudget,
}

/// A handle on the firmware's thread.
pub(crate) struct Guest {
    jobs: Jobs,
    thread: thread::JoinHandle<()>,
}

impl Guest {
    /// Starts the thread; `jobs` and `inputs` are the two ends of one channel.
    pub(crate) fn start(
        source: FirmwareSource,
        ports: Ports,
        jobs: Jobs,
        inputs: Inputs,
        name: &str,
    ) -> io::Result<Self> {
        let supervisor = Supervisor {
            source,
            ports,
            jobs: jobs.clone(),
            inputs: inputs.0,
            clock: Monotonic::start(),
            policy: RestartPolicy::new(RestartRules::DEVICE),
            faults: Throttle::default(),
            digest: String::new(),
            watch: None,
            doubted: false,
            sent: Arc::default(),
            silence: Silence::default(),
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .stack_size(iottly_sandbox::THREAD_STACK_BYTES)
            .spawn(move || supervisor.run())?;
        Ok(Self { jobs, thread })
    }

    /// Lets the firmware shut down; waits at most `deadline`. Answers whether the thread has ended.
    pub(crate) async fn stop(self, deadline: Duration) -> bool {
        self.jobs.stop();
        ended(&self.thread, deadline).await
    }
}

pub(super) struct Supervisor {
    source: FirmwareSource,
    ports: Ports,
    pub(super) jobs: Jobs,
    pub(super) inputs: Receiver<Input>,
    pub(super) clock: Monotonic,
    policy: RestartPolicy,
    faults: Throttle,
    digest: String,
    /// Who watches, while the firmware is on trial.
    pub(super) watch: Option<Watch>,
    /// Whether the owner knows that the trial has shown nothing yet.
    doubted: bool,
    /// Messages of the firmware since it was loaded.
    sent: Arc<AtomicU64>,
    pub(super) silence: Silence,
}

/// What ended a firmware.
pub(super) struct Failure {
    cause: Cause,
    function: &'static str,
    error: String,
    description: String,
}

impl Failure {
    /// One that lies in the firmware itself.
    pub(super) fn of_firmware(function: &'static str, error: impl Into<String>, description: String) -> Self {
        Self {
            cause: Cause::Firmware,
            function,
            error: error.into(),
            description,
        }
    }
}

/// How an instance's service ended.
pub(super) enum End {
    Stopped,
    /// Another firmware is to run.
    Replaced(Order),
    Failed(Failure),
}

impl Supervisor {
    fn run(mut self) {
        loop {
            let Some(wasm) = self.source.wasm.clone() else {
                self.tell(GuestEvent::State(GuestState::Absent(
                    "no firmware is installed".to_owned(),
                )));
                self.ports.status.firmware(FirmwareStatus::Absent);
                if !self.idle(None) {
                    break;
                }
                continue;
            };
            self.ports.status.firmware(FirmwareStatus::Starting);
            let failure = match self.serve(&wasm) {
                End::Stopped => break,
                End::Replaced(order) => {
                    self.take(order);
                    continue;
                }
                End::Failed(failure) => failure,
            };
            if !self.recover(&failure) {
                break;
            }
        }
        while let Ok(input) = self.inputs.try_recv() {
            let Input::Job(job) = input else { continue };
            self.finished(
                job.id,
                Outcome::Failed("the agent stopped before the handler was called".to_owned()),
            );
        }
        self.ports.status.firmware(FirmwareStatus::Stopped);
        self.report(FirmwareState::Stopped, None);
    }

    /// Follows an order: the old firmware has ended.
    fn take(&mut self, order: Order) {
        self.tell(GuestEvent::State(GuestState::Pending));
        self.source.wasm = order.wasm;
        self.watch = order.watch;
        self.doubted = false;
        // An update stops one firmware before it starts the next: the pause between them is nobody's silence.
        if self.source.wasm.is_some() {
            self.silence = self
                .silence
                .replaced(self.sent.swap(0, Ordering::Relaxed), self.clock.now());
        }
        self.policy = RestartPolicy::new(RestartRules::DEVICE);
        // Who gave the order may have given up.
        let _ = order.done.try_send(());
    }

    /// Messages of the firmware since it was loaded.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Tells the owner what a trial has not shown, once for each trial and kind.
    pub(super) fn doubt(&mut self, warning: &str, reason: &str) {
        if warning == "not working" && std::mem::replace(&mut self.doubted, true) {
            return;
        }
        tracing::warn!(warning, reason, "the firmware is not proven in its trial");
        self.offer(
            StreamClass::History,
            messages::firmware_warning("trial", warning, reason, self.now_ms()),
        );
    }

    pub(super) fn tell_watch(&self, news: News) {
        if let Some(watch) = &self.watch {
            (watch.tell)(news);
        }
    }

    /// Loads, starts and serves one instance until it ends.
    fn serve(&mut self, wasm: &Path) -> End {
        let started = self.load(wasm).and_then(|firmware| self.start(&firmware));
        let mut instance = match started {
            Ok(instance) => instance,
            Err(failure) => return End::Failed(failure),
        };
        let now_ms = self.now_ms();
        self.policy.started(self.clock.now());
        self.offer(StreamClass::History, messages::firmware_started(now_ms));
        self.report(FirmwareState::Running, None);
        self.ports.status.firmware(FirmwareStatus::Running);
        self.tell(GuestEvent::State(GuestState::Ready));
        self.calls(&mut instance)
    }

    fn load(&mut self, path: &Path) -> Result<Firmware, Failure> {
        let fail = |cause, error: &str, description: String| Failure {
            cause,
            function: "load",
            error: error.to_owned(),
            description,
        };
        let wasm = iottly_update::read_file(path, MAX_COMPONENT_BYTES as u64).map_err(|source| {
            // Too long, or no file at all: it will not get better.
            let cause = if source.kind() == io::ErrorKind::InvalidData {
                Cause::Firmware
            } else {
                Cause::Device
            };
            fail(cause, "firmware file", format!("{}: {source}", path.display()))
        })?;
        let firmware = self
            .source
            .cache
            .load(&self.source.runtime, &wasm)
            .map_err(|error| fail(cause(&error), "firmware", error.to_string()))?;
        firmware.digest().clone_into(&mut self.digest);
        Ok(firmware)
    }

    fn start(&mut self, firmware: &Firmware) -> Result<Instance, Failure> {
        let jobs = self.jobs.clone();
        let source = &self.source;
        let host = AgentHost {
            outbox: self.ports.outbox.clone(),
            device: source.device.clone(),
            board: source.board.clone(),
            grants: source.grants.clone(),
            settings: source.settings.clone(),
            state: self.state()?,
            budget: source.budget.clone(),
            waker: Arc::new(move || jobs.wake()),
            lost_lines: 0,
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
        })?;
        match instance.init() {
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

    /// Reports a failure and waits for the restart; false when the agent stops.
    fn recover(&mut self, failure: &Failure) -> bool {
        let Failure {
            cause,
            function,
            error,
            description,
        } = failure;
        static FAILED: LogLimit = LogLimit::new();
        if let Some(more) = FAILED.pass() {
            let (error, description) = (cut(error), cut(description));
            tracing::warn!(
                function,
                error,
                description,
                more,
                "the firmware failed; starting it again or leaving it"
            );
        }
        let now = self.clock.now();
        let uptime_ms = u64::try_from(self.policy.served(now).as_millis()).unwrap_or(u64::MAX);
        let life = messages::Life {
            uptime_ms,
            restarts: self.policy.failures(),
            digest: &self.digest,
        };
        // The pauses between restarts bound how many of these there are.
        self.offer(
            StreamClass::History,
            messages::firmware_ended(function, error, description, &life, self.now_ms()),
        );
        let detail = Some(format!("{function}: {error}: {description}"));
        if *cause == Cause::Firmware {
            self.tell_watch(News::Failed(format!("{function}: {error}: {description}")));
        }
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
        self.tell(GuestEvent::State(state));
        self.ports.status.firmware(status);
        self.report(report, detail);
        self.idle(Some(self.clock.now().saturating_add(pause)))
    }

    /// Waits without a firmware, until a time, an order or for ever; false when the agent stops.
    fn idle(&mut self, until: Option<Duration>) -> bool {
        loop {
            let input = match until {
                Some(until) => {
                    let wait = until.saturating_sub(self.clock.now());
                    match self.inputs.recv_timeout(wait) {
                        Err(RecvTimeoutError::Timeout) => return true,
                        other => other.ok(),
                    }
                }
                None => self.inputs.recv().ok(),
            };
            match input {
                // It was on its way when the firmware failed.
                Some(Input::Job(job)) => {
                    self.finished(job.id, Outcome::Failed("the firmware is not running".to_owned()))
                }
                Some(Input::Wake) => self.jobs.woken(),
                Some(Input::Load(order)) => {
                    self.take(order);
                    return true;
                }
                Some(Input::Stop) | None => return false,
            }
        }
    }

    /// Tells the owner about a fault that the firmware survives, at most every ten seconds.
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
            messages::firmware_error(function, &text, &description, self.now_ms()),
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

    pub(super) fn now_ms(&self) -> u64 {
        self.ports.outbox.now_ms()
    }

    pub(super) fn finished(&self, id: CommandId, outcome: Outcome) {
        self.tell(GuestEvent::Finished(id, outcome));
    }

    pub(super) fn tell(&self, event: GuestEvent) {
        // Without an inbox the agent is stopping; its journal reports the command at the next start.
        let _ = self.ports.inbox.blocking_send(event);
    }

    pub(super) fn offer(&self, class: StreamClass, record: Vec<u8>) {
        if let Err(error) = self.ports.outbox.offer(class, record) {
            static NOT_TAKEN: LogLimit = LogLimit::new();
            if let Some(more) = NOT_TAKEN.pass() {
                tracing::warn!(
                    error = cut(&error.to_string()),
                    ?class,
                    more,
                    "an agent message was not taken by the queue; leaving it out"
                );
            }
        }
    }
}

fn cause(error: &LoadError) -> Cause {
    match error {
        LoadError::TooLarge { .. } | LoadError::Invalid(_) | LoadError::World(_) | LoadError::Manifest(_) => {
            Cause::Firmware
        }
        LoadError::Compile(_) | LoadError::Cache { .. } => Cause::Device,
    }
}

/// Why a call ended the instance.
pub(super) fn failure(function: &'static str, error: &CallError, instance: &mut Instance) -> Failure {
    let lacking = instance.device_failure();
    let mut failure = match error {
        CallError::Trap(report) => {
            let mut description = report.message.clone();
            if !report.functions.is_empty() {
                description = format!("{description} (in {})", report.functions.join(" < "));
            }
            let mut failure =
                Failure::of_firmware(report.export, format!("trap {}", report.code), description);
            if report.code == TrapCode::Device {
                failure.cause = Cause::Device;
            }
            failure
        }
        CallError::Fault(_) | CallError::Dead(_) => {
            Failure::of_firmware(function, "fault", error.to_string())
        }
    };
    if let Some(lacking) = lacking {
        failure.cause = Cause::Device;
        failure.description = format!("{lacking}; {}", failure.description);
    }
    failure
}
