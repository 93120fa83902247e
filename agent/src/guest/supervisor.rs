use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use iottly_boards::Board;
use iottly_protocol::{CommandId, FirmwareReport, FirmwareState, Record, Report, StreamClass};
use iottly_sandbox::{Cache, CallError, Fault, Firmware, Instance, Limits, LoadError, Runtime};
use tokio::sync::mpsc;

use super::host::AgentHost;
use super::messages;
use super::restart::{Cause, RestartPolicy, Verdict};
use super::state::FileState;
use super::throttle::Throttle;
use crate::clock::{Monotonic, unix_ms};
use crate::inbox::{GuestEvent, GuestState, Job, Outcome};
use crate::outbox::Outbox;
use crate::status::{FirmwareStatus, StatusBoard};
use crate::threads::ended;

/// Largest component that is read, bytes.
const MAX_FIRMWARE_BYTES: u64 = 64 << 20;
/// Least time between two passes of the loop.
const MIN_TICK: Duration = Duration::from_millis(10);
/// Time to the next pass after one that failed.
const FAILED_TICK: Duration = Duration::from_secs(1);
/// Stack of the thread: the firmware's own stack lies on it.
const STACK_BYTES: usize = 2 << 20;
/// Inputs that wait for the thread: one job, one stop, one wake.
const INPUTS: usize = 4;

/// What the firmware's thread is connected to inside the agent.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) outbox: Outbox,
    pub(crate) inbox: mpsc::Sender<GuestEvent>,
    pub(crate) status: StatusBoard,
}

/// Where the firmware comes from.
pub(crate) struct FirmwareSource {
    pub(crate) wasm: PathBuf,
    pub(crate) cache: Cache,
    pub(crate) runtime: Runtime,
    /// The device's id.
    pub(crate) device: String,
    /// What the firmware sits on.
    pub(crate) board: Option<Arc<dyn Board>>,
    /// The file of its key-value state.
    pub(crate) state: PathBuf,
}

/// Where the inbox puts the handlers to call, and the board its wake-ups.
#[derive(Clone)]
pub(crate) struct Jobs {
    inputs: SyncSender<Input>,
    /// Whether a wake-up lies in the channel; one is enough, and more would leave no room for jobs.
    woken: Arc<AtomicBool>,
}

impl Jobs {
    /// Hands a job over without waiting; false when there is no thread to take it.
    pub(crate) fn put(&self, job: Job) -> bool {
        self.inputs.try_send(Input::Job(job)).is_ok()
    }

    fn wake(&self) {
        // A full channel wakes the thread as well.
        if !self.woken.swap(true, Ordering::AcqRel) && self.inputs.try_send(Input::Wake).is_err() {
            self.woken.store(false, Ordering::Release);
        }
    }
}

/// The firmware thread's end of [`Jobs`].
pub(crate) struct Inputs(Receiver<Input>);

enum Input {
    Job(Job),
    Wake,
    Stop,
}

/// Makes the channel between the inbox and the firmware's thread.
pub(crate) fn channel() -> (Jobs, Inputs) {
    let (tx, rx) = sync_channel(INPUTS);
    (Jobs { inputs: tx, woken: Arc::default() }, Inputs(rx))
}

/// A handle on the firmware's thread.
pub(crate) struct Guest {
    jobs: Jobs,
    thread: thread::JoinHandle<()>,
}

impl Guest {
    /// Starts the thread; `jobs` and `inputs` are the two ends of one channel.
    pub(crate) fn start(source: FirmwareSource, ports: Ports, jobs: Jobs, inputs: Inputs, name: &str) -> io::Result<Self> {
        let supervisor = Supervisor {
            source,
            ports,
            jobs: jobs.clone(),
            inputs: inputs.0,
            clock: Monotonic::start(),
            policy: RestartPolicy::default(),
            faults: Throttle::default(),
            digest: String::new(),
        };
        let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(move || supervisor.run())?;
        Ok(Self { jobs, thread })
    }

    /// Lets the firmware shut down; waits at most `deadline`. Answers whether the thread has ended.
    pub(crate) async fn stop(self, deadline: Duration) -> bool {
        // A full channel cannot be: one job at a time and this. Without a receiver the thread is gone.
        let _ = self.jobs.inputs.try_send(Input::Stop);
        ended(&self.thread, deadline).await
    }
}

struct Supervisor {
    source: FirmwareSource,
    ports: Ports,
    jobs: Jobs,
    inputs: Receiver<Input>,
    clock: Monotonic,
    policy: RestartPolicy,
    faults: Throttle,
    digest: String,
}

/// What ended a firmware.
struct Failure {
    cause: Cause,
    function: &'static str,
    error: String,
    description: String,
}

/// How an instance's service ended.
enum End {
    Stopped,
    Failed(Failure),
}

impl Supervisor {
    fn run(mut self) {
        loop {
            self.ports.status.firmware(FirmwareStatus::Starting);
            let failure = match self.serve() {
                End::Stopped => break,
                End::Failed(failure) => failure,
            };
            if !self.recover(&failure) {
                break;
            }
        }
        while let Ok(input) = self.inputs.try_recv() {
            let Input::Job(job) = input else { continue };
            self.finished(job.id, Outcome::Failed("the agent stopped before the handler was called".to_owned()));
        }
        self.ports.status.firmware(FirmwareStatus::Stopped);
        self.report(FirmwareState::Stopped, None);
    }

    /// Loads, starts and serves one instance until it ends.
    fn serve(&mut self) -> End {
        let started = self.load().and_then(|firmware| self.start(&firmware));
        let mut instance = match started {
            Ok(instance) => instance,
            Err(failure) => return End::Failed(failure),
        };
        let now_ms = unix_ms();
        self.policy.started(self.clock.now_ms());
        self.offer(StreamClass::History, messages::firmware_started(now_ms));
        self.report(FirmwareState::Running, None);
        self.ports.status.firmware(FirmwareStatus::Running);
        self.tell(GuestEvent::State(GuestState::Ready));
        self.calls(&mut instance)
    }

    fn load(&mut self) -> Result<Firmware, Failure> {
        let fail =
            |cause, error: &str, description: String| Failure { cause, function: "load", error: error.to_owned(), description };
        let path = &self.source.wasm;
        let read = |source: io::Error| fail(Cause::Device, "firmware file", format!("{}: {source}", path.display()));
        let len = fs::metadata(path).map_err(read)?.len();
        if len > MAX_FIRMWARE_BYTES {
            return Err(fail(
                Cause::Firmware,
                "firmware file",
                format!("{len} bytes are over the limit of {MAX_FIRMWARE_BYTES}"),
            ));
        }
        let wasm = fs::read(path).map_err(read)?;
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
        let (device, board) = (source.device.clone(), source.board.clone());
        let host = AgentHost::new(self.ports.outbox.clone(), device, board, self.state()?, Arc::new(move || jobs.wake()));
        let start = firmware.start(Box::new(host), Limits::default());
        let mut instance = start.map_err(|error| Failure {
            cause: Cause::Firmware,
            function: "start",
            error: "trap".to_owned(),
            description: error.to_string(),
        })?;
        instance.init().map_err(|error| failure("init", &error))?;
        Ok(instance)
    }

    fn state(&self) -> Result<FileState, Failure> {
        let path = &self.source.state;
        let opened = FileState::open(path.clone()).map_err(|error| Failure {
            cause: Cause::Device,
            function: "start",
            error: "state".to_owned(),
            description: format!("{}: {error}", path.display()),
        });
        let (state, aside) = opened?;
        if let Some(aside) = aside {
            let name = aside.file_name().unwrap_or_default().to_string_lossy();
            let description = format!("the firmware's state was damaged; it is kept as {name} and begins empty");
            self.offer(StreamClass::History, messages::agent_warning("state replaced", &description, unix_ms()));
        }
        Ok(state)
    }

    /// Makes the firmware's calls, one after another.
    fn calls(&mut self, instance: &mut Instance) -> End {
        let mut jobs = VecDeque::new();
        let mut tick_at = Instant::now();
        // The firmware's share of the processor; what waits for the firmware waits for this as well.
        let mut not_before = tick_at;
        loop {
            let event_at = instance.next_event_at();
            let due = event_at.map_or(tick_at, |at| at.min(tick_at));
            let due = if jobs.is_empty() { due.max(not_before) } else { not_before };
            let ended = match self.inputs.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Input::Job(job)) => {
                    jobs.push_back(job);
                    continue;
                }
                Ok(Input::Wake) => {
                    self.jobs.woken.store(false, Ordering::Release);
                    continue;
                }
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.stop(instance, jobs);
                    return End::Stopped;
                }
                Err(RecvTimeoutError::Timeout) => match jobs.pop_front() {
                    Some(job) => self.handle(instance, job),
                    None if event_at.is_some_and(|at| at <= tick_at) => self.event(instance),
                    None => self.tick(instance, &mut tick_at),
                },
            };
            if let Err(failure) = ended {
                for job in jobs {
                    self.finished(job.id, Outcome::Failed("the firmware is not running".to_owned()));
                }
                return End::Failed(failure);
            }
            not_before = Instant::now() + instance.pause();
        }
    }

    fn stop(&mut self, instance: &mut Instance, jobs: VecDeque<Job>) {
        if let Err(error) = instance.shutdown("the agent stops") {
            self.complain("shutdown", &error);
        }
        for job in jobs {
            self.finished(job.id, Outcome::Failed("the agent stopped before the handler was called".to_owned()));
        }
    }

    fn event(&mut self, instance: &mut Instance) -> Result<(), Failure> {
        match instance.deliver() {
            Ok(_) => Ok(()),
            Err(error @ CallError::Fault(_)) => {
                self.complain("event", &error);
                Ok(())
            }
            Err(trap) => Err(failure("event", &trap)),
        }
    }

    fn tick(&mut self, instance: &mut Instance, tick_at: &mut Instant) -> Result<(), Failure> {
        let began = Instant::now();
        let pause = match instance.tick(unix_ms()) {
            Ok(next_ms) => Duration::from_millis(next_ms.into()).max(MIN_TICK),
            Err(error @ CallError::Fault(_)) => {
                self.complain("tick", &error);
                FAILED_TICK
            }
            Err(trap) => return Err(failure("tick", &trap)),
        };
        *tick_at = began + pause;
        Ok(())
    }

    fn handle(&mut self, instance: &mut Instance, job: Job) -> Result<(), Failure> {
        let (outcome, ended) = match instance.handle(&job.cmd_type, job.values.get()) {
            Ok(()) => (Outcome::Done, Ok(())),
            Err(CallError::Fault(Fault::Unsupported(_))) => {
                self.offer(StreamClass::History, messages::no_handler(&job.cmd_type, &job.values, unix_ms()));
                (Outcome::Failed(format!("no handler for {:?}", job.cmd_type)), Ok(()))
            }
            Err(error @ CallError::Fault(_)) => {
                self.complain(&job.cmd_type, &error);
                (Outcome::Failed(error.to_string()), Ok(()))
            }
            Err(trap) => (Outcome::Failed(trap.to_string()), Err(failure("handle", &trap))),
        };
        if ended.is_err() {
            // Before the result: what comes after it must not be started on an instance that is over.
            self.tell(GuestEvent::State(GuestState::Pending));
        }
        self.finished(job.id, outcome);
        ended
    }

    /// Reports a failure and waits for the restart; false when the agent stops.
    fn recover(&mut self, failure: &Failure) -> bool {
        let Failure { cause, function, error, description } = failure;
        tracing::warn!(function, error, description, "the firmware failed");
        self.offer(StreamClass::History, messages::firmware_error(function, error, description, unix_ms()));
        let detail = Some(format!("{function}: {error}: {description}"));
        match self.policy.failed(*cause, self.clock.now_ms()) {
            Verdict::Restart { after_ms } => {
                self.tell(GuestEvent::State(GuestState::Pending));
                self.ports.status.firmware(FirmwareStatus::Restarting);
                self.report(FirmwareState::Restarting, detail);
                self.idle(Some(self.clock.now_ms().saturating_add(after_ms)))
            }
            Verdict::Quarantine => {
                self.tell(GuestEvent::State(GuestState::Absent("no firmware runs: it failed too often".to_owned())));
                self.ports.status.firmware(FirmwareStatus::Quarantined);
                self.report(FirmwareState::Quarantined, detail);
                self.idle(None)
            }
        }
    }

    /// Waits without a firmware, until a time or for ever; false when the agent stops.
    fn idle(&self, until_ms: Option<u64>) -> bool {
        loop {
            let input = match until_ms {
                Some(until) => {
                    let wait = Duration::from_millis(until.saturating_sub(self.clock.now_ms()));
                    match self.inputs.recv_timeout(wait) {
                        Err(RecvTimeoutError::Timeout) => return true,
                        other => other.ok(),
                    }
                }
                None => self.inputs.recv().ok(),
            };
            match input {
                // It was on its way when the firmware failed.
                Some(Input::Job(job)) => self.finished(job.id, Outcome::Failed("the firmware is not running".to_owned())),
                Some(Input::Wake) => self.jobs.woken.store(false, Ordering::Release),
                Some(Input::Stop) | None => return false,
            }
        }
    }

    /// Tells the owner about a fault that the firmware survives, at most every ten seconds.
    fn complain(&mut self, function: &str, error: &CallError) {
        let Some(suppressed) = self.faults.pass(self.clock.now_ms()) else { return };
        let text = error.to_string();
        let description = if suppressed > 0 { format!("and {suppressed} faults before it") } else { String::new() };
        self.offer(StreamClass::History, messages::firmware_error(function, &text, &description, unix_ms()));
    }

    fn report(&self, state: FirmwareState, detail: Option<String>) {
        let report = FirmwareReport { state, digest: self.digest.clone(), detail, at_ms: unix_ms() };
        self.offer(StreamClass::Control, Record::Report(Report::Firmware(report)).encode());
    }

    fn finished(&self, id: CommandId, outcome: Outcome) {
        self.tell(GuestEvent::Finished(id, outcome));
    }

    fn tell(&self, event: GuestEvent) {
        // Without an inbox the agent is stopping; its journal reports the command at the next start.
        let _ = self.ports.inbox.blocking_send(event);
    }

    fn offer(&self, class: StreamClass, record: Vec<u8>) {
        if let Err(error) = self.ports.outbox.offer(class, record) {
            tracing::warn!(%error, ?class, "an agent message was not taken by the queue");
        }
    }
}

fn cause(error: &LoadError) -> Cause {
    match error {
        LoadError::TooLarge { .. } | LoadError::Invalid(_) | LoadError::World(_) | LoadError::Manifest(_) => Cause::Firmware,
        LoadError::Compile(_) | LoadError::Cache { .. } => Cause::Device,
    }
}

fn failure(function: &'static str, error: &CallError) -> Failure {
    match error {
        CallError::Trap(report) => {
            let mut description = report.message.clone();
            if !report.functions.is_empty() {
                description = format!("{description} (in {})", report.functions.join(" < "));
            }
            Failure { cause: Cause::Firmware, function: report.export, error: format!("trap {}", report.code), description }
        }
        CallError::Fault(_) | CallError::Dead(_) => {
            Failure { cause: Cause::Firmware, function, error: "fault".to_owned(), description: error.to_string() }
        }
    }
}
