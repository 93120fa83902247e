//! The firmware's thread: calls one after another, restarts after traps, reloads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use iottly_boards::VirtualBoard;
use iottly_boards::virtual_board::Input as WorldInput;
use iottly_sandbox::{CallError, Firmware, Instance, Limits, StartError};

use super::commands::Command;
use super::host::{LocalHost, Sink, unix_ms};
use super::restart::Pauses;
use super::state::KeptState;
use super::{board, say};

/// Time to the next pass of the loop after one that failed.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// Least time between two passes, as on a device.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// Commands that wait for the firmware's turn.
const MAX_WAITING: usize = 64;

/// What reaches the firmware from outside.
pub(super) enum Input {
    /// A command to handle.
    Command(Command),
    /// Things that happen to the board.
    World(Vec<WorldInput>),
    /// An event waits for the firmware.
    Wake,
    /// A firmware to go on with.
    Reload(Box<Firmware>),
    /// The end.
    Stop,
}

/// Runs one firmware after the other until it is told to stop.
pub(super) struct Worker {
    firmware: Firmware,
    inputs: Receiver<Input>,
    own: SyncSender<Input>,
    sink: Sink,
    board: VirtualBoard,
    state: KeptState,
    pauses: Pauses,
}

/// Why an instance is over.
enum End {
    /// The program ends.
    Stop,
    /// Another firmware takes its place.
    Reload(Box<Firmware>),
    /// The pause after a failure is over.
    Again,
    /// It was stopped.
    Failed { reason: String, served: Duration },
}

impl Worker {
    /// `own` is the other end of `inputs`: the board wakes the firmware through it.
    pub(super) fn new(
        firmware: Firmware,
        board: VirtualBoard,
        inputs: Receiver<Input>,
        own: SyncSender<Input>,
        sink: Sink,
    ) -> Self {
        let (board, state, pauses) = (board::observed(board), KeptState::default(), Pauses::default());
        Self { firmware, inputs, own, sink, board, state, pauses }
    }

    /// Runs until it is stopped.
    ///
    /// # Errors
    /// When standard output takes no messages.
    pub(super) fn run(mut self) -> anyhow::Result<()> {
        loop {
            let end = match self.serve() {
                End::Failed { reason, served } if self.sink.broken().is_none() => {
                    let pause = self.pauses.failed(served);
                    say(&format!("stopped: {reason}\nstarts again in {} s", pause.as_secs()));
                    self.idle(Instant::now() + pause)
                }
                end => end,
            };
            match end {
                End::Reload(firmware) => {
                    self.firmware = *firmware;
                    self.pauses = Pauses::default();
                    say("loaded again");
                }
                End::Again => {}
                End::Stop | End::Failed { .. } => return self.sink.broken().map_or(Ok(()), |error| Err(error.into())),
            }
        }
    }

    /// Starts one instance and makes its calls until it is over.
    fn serve(&mut self) -> End {
        let failed = |reason: String| End::Failed { reason, served: Duration::ZERO };
        let mut instance = match self.start() {
            Ok(instance) => instance,
            Err(error) => return failed(error.to_string()),
        };
        if let Err(error) = instance.init() {
            return failed(format!("init: {error}"));
        }
        let began = Instant::now();
        let (mut tick_at, mut not_before) = (began, began);
        let mut commands = VecDeque::new();
        loop {
            let event_at = instance.next_event_at();
            let due = event_at.map_or(tick_at, |at| at.min(tick_at));
            let due = if commands.is_empty() { due.max(not_before) } else { not_before };
            let called = match self.next(due, commands.len()) {
                Ok(Input::Command(command)) => {
                    commands.push_back(command);
                    continue;
                }
                Ok(Input::World(inputs)) => {
                    self.happen(&inputs);
                    continue;
                }
                Ok(Input::Wake) => continue,
                Ok(Input::Reload(firmware)) => {
                    shut_down(&mut instance, "a new version is loaded");
                    return End::Reload(firmware);
                }
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    shut_down(&mut instance, "the run ends");
                    return End::Stop;
                }
                Err(RecvTimeoutError::Timeout) => match commands.pop_front() {
                    Some(command) => handle(&mut instance, &command),
                    None if event_at.is_some_and(|at| at <= tick_at) => survived("event", instance.deliver()).map(drop),
                    None => tick(&mut instance, &mut tick_at),
                },
            };
            if self.sink.broken().is_some() {
                return End::Stop;
            }
            if let Err(reason) = called {
                return End::Failed { reason, served: began.elapsed() };
            }
            not_before = Instant::now() + instance.pause();
        }
    }

    /// The next input until `due`. With enough commands waiting it takes none, so that whoever writes more has to wait.
    fn next(&self, due: Instant, waiting: usize) -> Result<Input, RecvTimeoutError> {
        let wait = due.saturating_duration_since(Instant::now());
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

    /// Waits without a firmware.
    fn idle(&self, until: Instant) -> End {
        loop {
            match self.inputs.recv_timeout(until.saturating_duration_since(Instant::now())) {
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

/// A fault leaves the firmware running; anything else is why it is over.
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

fn handle(instance: &mut Instance, command: &Command) -> Result<(), String> {
    survived(&command.name, instance.handle(&command.name, &command.values)).map(drop)
}

fn tick(instance: &mut Instance, tick_at: &mut Instant) -> Result<(), String> {
    let began = Instant::now();
    let pause = survived("loop", instance.tick(unix_ms()))?.map_or(FAILED_PAUSE, |ms| Duration::from_millis(ms.into()));
    *tick_at = began + pause.max(LEAST_PAUSE);
    Ok(())
}

fn shut_down(instance: &mut Instance, reason: &str) {
    if let Err(error) = instance.shutdown(reason) {
        say(&format!("shutdown: {error}"));
    }
}
