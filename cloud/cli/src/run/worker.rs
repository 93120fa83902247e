//! The firmware's thread: makes its calls, restarts it after traps, and reloads it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use iottly_boards::VirtualBoard;
use iottly_boards::virtual_board::Input as WorldInput;
use iottly_sandbox::{
    Call, CallError, Cause, Done, Firmware, HEALTH_EVERY, Health, HealthVerdict, Instance, Limits,
    RestartPolicy, RestartRules, RestartVerdict, Schedule, StartError, View,
};

use super::commands::Command;
use super::host::{LocalHost, Sink, unix_ms};
use super::state::KeptState;
use super::{board, say};

/// Largest number of commands that wait for the firmware.
const MAX_WAITING: usize = 64;

/// An input of the firmware's thread.
pub(super) enum Input {
    /// A command for the firmware.
    Command(Command),
    /// Inputs of the board.
    World(Vec<WorldInput>),
    /// An event waits for the firmware.
    Wake,
    /// A firmware that replaces the current one.
    Reload(Box<Firmware>),
    /// The end of the run.
    Stop,
}

/// Runs firmware, and its replacements, until the end of the run.
pub(super) struct Worker {
    firmware: Firmware,
    inputs: Receiver<Input>,
    own: SyncSender<Input>,
    sink: Sink,
    board: VirtualBoard,
    state: KeptState,
    policy: RestartPolicy,
    began: Instant,
}

/// Reason why an instance has ended.
enum End {
    /// The program ends.
    Stop,
    /// Another firmware replaces it.
    Reload(Box<Firmware>),
    /// The pause after a failure is over.
    Again,
    /// The firmware was stopped.
    Failed(String),
}

impl Worker {
    /// Creates the worker. `own` is the sending end of `inputs`, through which the board wakes the firmware.
    pub(super) fn new(
        firmware: Firmware,
        board: VirtualBoard,
        inputs: Receiver<Input>,
        own: SyncSender<Input>,
        sink: Sink,
    ) -> Self {
        let (board, state) = (board::observed(board), KeptState::default());
        let policy = RestartPolicy::new(RestartRules::AUTHOR);
        Self {
            firmware,
            inputs,
            own,
            sink,
            board,
            state,
            policy,
            began: Instant::now(),
        }
    }

    /// Runs until the end of the run.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) fn run(mut self) -> anyhow::Result<()> {
        loop {
            let end = match self.serve() {
                End::Failed(reason) if self.sink.broken().is_none() => {
                    let now = self.began.elapsed();
                    let (RestartVerdict::Restart(pause) | RestartVerdict::Quarantine(pause)) =
                        self.policy.failed(Cause::Firmware, now);
                    say(&format!(
                        "stopped: {reason}\nstarts again in {} s",
                        pause.as_secs()
                    ));
                    self.idle(Instant::now() + pause)
                }
                end => end,
            };
            match end {
                End::Reload(firmware) => {
                    self.firmware = *firmware;
                    self.policy = RestartPolicy::new(RestartRules::AUTHOR);
                    say("loaded again");
                }
                End::Again => {}
                End::Stop | End::Failed(_) => {
                    return self.sink.broken().map_or(Ok(()), |error| Err(error.into()));
                }
            }
        }
    }

    /// Starts one instance and makes its calls until it is over.
    fn serve(&mut self) -> End {
        let mut instance = match self.start() {
            Ok(instance) => instance,
            Err(error) => return End::Failed(error.to_string()),
        };
        if let Err(error) = instance.init() {
            return End::Failed(format!("init: {error}"));
        }
        self.policy.started(self.began.elapsed());
        let mut schedule = Schedule::new(Instant::now(), HEALTH_EVERY);
        let (mut commands, mut health) = (VecDeque::new(), Health::default());
        loop {
            let view = View {
                command: !commands.is_empty(),
                event_at: instance.next_event_at(),
            };
            let call = schedule.next(Instant::now(), view);
            match self.next(call, commands.len()) {
                Ok(Input::Command(command)) => commands.push_back(command),
                Ok(Input::World(inputs)) => self.happen(&inputs),
                Ok(Input::Wake) => {}
                Ok(Input::Reload(firmware)) => {
                    shut_down(&mut instance, "a new version is loaded");
                    return End::Reload(firmware);
                }
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    shut_down(&mut instance, "the run ends");
                    return End::Stop;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let began = Instant::now();
                    let done = match make(call, &mut instance, &mut commands, &mut health) {
                        Ok(done) => done,
                        Err(reason) => return End::Failed(reason),
                    };
                    if let Some(done) = done {
                        schedule.done(done, began, Instant::now(), instance.pause());
                    }
                }
            }
            if self.sink.broken().is_some() {
                return End::Stop;
            }
        }
    }

    /// Returns the next input before `call` is due. Takes none while many commands wait, so that their writer
    /// has to wait.
    fn next(&self, call: Call, waiting: usize) -> Result<Input, RecvTimeoutError> {
        let wait = match call {
            Call::Wait(until) => until.saturating_duration_since(Instant::now()),
            _ => Duration::ZERO,
        };
        if waiting < MAX_WAITING {
            return self.inputs.recv_timeout(wait);
        }
        std::thread::sleep(wait);
        Err(RecvTimeoutError::Timeout)
    }

    fn start(&self) -> Result<Instance, StartError> {
        let own = self.own.clone();
        let host = LocalHost {
            sink: self.sink.clone(),
            board: self.board.clone(),
            state: self.state.open(),
            // A full channel wakes the thread as well.
            waker: Arc::new(move || drop(own.try_send(Input::Wake))),
        };
        self.firmware.start(Box::new(host), Limits::default())
    }

    fn happen(&self, inputs: &[WorldInput]) {
        for input in inputs {
            if let Err(error) = self.board.apply(input) {
                say(&format!("the board: {error}"));
            }
        }
    }

    /// Waits while no firmware runs.
    fn idle(&self, until: Instant) -> End {
        loop {
            match self
                .inputs
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(Input::Command(command)) => say(&format!("{}: the firmware is not running", command.name)),
                Ok(Input::World(inputs)) => self.happen(&inputs),
                Ok(Input::Wake) => {}
                Ok(Input::Reload(firmware)) => return End::Reload(firmware),
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return End::Stop,
                Err(RecvTimeoutError::Timeout) => return End::Again,
            }
        }
    }
}

/// Prints a fault, after which the firmware continues; returns any other error, which ends it.
fn survived<T>(what: &str, result: Result<T, CallError>) -> Result<Option<T>, String> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(CallError::Fault(fault)) => {
            say(&format!("{what}: {fault}"));
            Ok(None)
        }
        Err(trap) => Err(trap.to_string()),
    }
}

/// Makes one call; returns none when there was nothing to do.
///
/// # Errors
/// The reason why the instance has ended.
fn make(
    call: Call,
    instance: &mut Instance,
    commands: &mut VecDeque<Command>,
    health: &mut Health,
) -> Result<Option<Done>, String> {
    match call {
        Call::Wait(_) => Ok(None),
        Call::Handle => match commands.pop_front() {
            Some(command) => survived(&command.name, instance.handle(&command.name, &command.values))
                .map(|_| Some(Done::Other)),
            None => Ok(None),
        },
        Call::Event => survived("event", instance.deliver()).map(|_| Some(Done::Other)),
        Call::Tick => Ok(Some(
            survived("loop", instance.tick(unix_ms()))?.map_or(Done::FailedTick, Done::Tick),
        )),
        Call::Health => {
            let well = survived("health", instance.health())?.is_some();
            if health.answered(well) == HealthVerdict::Restart {
                return Err("health() failed for the third time".to_owned());
            }
            Ok(Some(Done::Health))
        }
    }
}

fn shut_down(instance: &mut Instance, reason: &str) {
    if let Err(error) = instance.shutdown(reason) {
        say(&format!("shutdown: {error}"));
    }
}
