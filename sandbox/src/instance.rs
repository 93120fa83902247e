use std::time::{Duration, Instant};

use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use crate::bindings::exports::iottly::firmware::app;
use crate::bindings::{Firmware as World, types};
use crate::epoch::EPOCH;
use crate::guest::{Call, Guest};
use crate::trap::{Stopped, TrapCode, TrapReport};
use crate::{CallError, Fault, Host, Limits, Runtime, StartError};

/// Times longer than its budget a call may take while it waits for the processor or sits in the host.
const WALL_FACTOR: u32 = 10;
/// Least wall-clock time of a call before it counts as stuck.
const WALL_MIN: Duration = Duration::from_secs(2);

/// A running firmware. Its calls never overlap; after a trap it takes no further ones.
pub struct Instance {
    runtime: Runtime,
    store: Store<Guest>,
    world: World,
    dead: Option<TrapCode>,
}

type Outcome<T> = wasmtime::Result<Result<T, types::Fault>>;

impl Instance {
    pub(crate) fn start(
        runtime: Runtime,
        pre: &crate::bindings::FirmwarePre<Guest>,
        host: Box<dyn Host>,
        limits: Limits,
    ) -> Result<Self, StartError> {
        let budget = limits.init;
        let memory_bytes = limits.memory_bytes;
        let mut store = Store::new(runtime.engine(), Guest::new(host, limits));
        store.limiter(|guest| guest);
        // Texts are checked where they lie, so what may be passed is bounded by what the firmware can hold.
        store.set_hostcall_fuel(memory_bytes);
        store.epoch_deadline_callback(deadline);
        arm(&mut store, budget);
        let running = runtime.running();
        let world = pre.instantiate(&mut store);
        drop(running);
        match world {
            Ok(world) => Ok(Self { runtime, store, world, dead: None }),
            Err(error) => Err(StartError::Trap(Box::new(TrapReport::from_error(&error, "start")))),
        }
    }

    /// Runs the firmware's `init`.
    ///
    /// # Errors
    /// [`CallError`]: what the firmware answered, or how it was stopped.
    pub fn init(&mut self) -> Result<(), CallError> {
        self.call("init", self.limits().init, |app, store| app.call_init(store))
    }

    /// Runs the handler of a command. `values` is the JSON text of the object with its parameters, without the command's name around it.
    ///
    /// # Errors
    /// [`CallError`]: what the firmware answered, or how it was stopped. [`Fault::Unsupported`] means that there is no handler.
    pub fn handle(&mut self, cmd_type: &str, values: &str) -> Result<(), CallError> {
        let command = types::Command { name: cmd_type.to_owned(), values: values.to_owned() };
        self.call("handle", self.limits().handle, |app, store| app.call_handle(store, &command))
    }

    /// Runs one pass of the loop at the unix time `now_ms`. Answers after how many milliseconds the next is due.
    ///
    /// # Errors
    /// [`CallError`]: what the firmware answered, or how it was stopped.
    pub fn tick(&mut self, now_ms: u64) -> Result<u32, CallError> {
        self.call("tick", self.limits().tick, |app, store| app.call_tick(store, now_ms))
    }

    /// Tells the firmware of something it asked to hear about. `at_ns` is measured from the instance's start.
    ///
    /// # Errors
    /// [`CallError`]: what the firmware answered, or how it was stopped.
    pub fn event(&mut self, source: u32, at_ns: u64) -> Result<(), CallError> {
        self.call("event", self.limits().event, |app, store| app.call_event(store, source, at_ns))
    }

    /// Asks the firmware how it is.
    ///
    /// # Errors
    /// [`CallError::Fault`] with what is wrong, [`CallError::Trap`] when it was stopped.
    pub fn health(&mut self) -> Result<(), CallError> {
        self.call("health", self.limits().health, |app, store| app.call_health(store))
    }

    /// Lets the firmware put things in order before it ends. `reason` is for people.
    ///
    /// # Errors
    /// [`CallError`]: what the firmware answered, or how it was stopped.
    pub fn shutdown(&mut self, reason: &str) -> Result<(), CallError> {
        self.call("shutdown", self.limits().shutdown, |app, store| app.call_shutdown(store, reason))
    }

    fn limits(&self) -> &Limits {
        &self.store.data().limits
    }

    fn call<T>(
        &mut self,
        export: &'static str,
        budget: Duration,
        run: impl FnOnce(&app::Guest, &mut Store<Guest>) -> Outcome<T>,
    ) -> Result<T, CallError> {
        if let Some(code) = self.dead {
            return Err(CallError::Dead(code));
        }
        arm(&mut self.store, budget);
        let running = self.runtime.running();
        let outcome = run(self.world.iottly_firmware_app(), &mut self.store);
        drop(running);
        match outcome {
            Ok(answer) => answer.map_err(|fault| CallError::Fault(Fault::from(fault))),
            Err(error) => {
                let report = TrapReport::from_error(&error, export);
                self.dead = Some(report.code);
                Err(CallError::Trap(Box::new(report)))
            }
        }
    }
}

/// Gives the call that begins now its budget.
fn arm(store: &mut Store<Guest>, budget: Duration) {
    store.data_mut().call = Call {
        budget,
        cpu_at_start: thread_cpu(),
        started: Some(Instant::now()),
        in_host: Duration::ZERO,
        cpu_in_host: Duration::ZERO,
    };
    store.set_epoch_deadline(epochs(budget));
}

/// Decides at an epoch whether the call may go on.
///
/// What counts is processor time of this thread: on a busy machine a firmware is not punished for waiting its turn. Time
/// in the host does not count either, since writing a message to a slow card is not the firmware's doing.
fn deadline(store: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    let call = &store.data().call;
    let used = thread_cpu().saturating_sub(call.cpu_at_start).saturating_sub(call.cpu_in_host);
    // Within half an epoch of the end is the end: one epoch more would overshoot by more.
    if used + EPOCH / 2 >= call.budget {
        let message =
            format!("stopped after {} ms of processor time, the limit is {} ms", used.as_millis(), call.budget.as_millis());
        return Err(wasmtime::Error::new(Stopped { code: TrapCode::TimeBudget, message }));
    }
    let wall = call.started.map_or(Duration::ZERO, |at| at.elapsed()).saturating_sub(call.in_host);
    let allowed = WALL_MIN.max(call.budget * WALL_FACTOR);
    if wall > allowed {
        let message = format!("stopped after {} ms of waiting for the processor", wall.as_millis());
        return Err(wasmtime::Error::new(Stopped { code: TrapCode::WallTime, message }));
    }
    Ok(UpdateDeadline::Continue(epochs(call.budget - used)))
}

/// Epochs that cover `time`; the one in progress may end at once.
fn epochs(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(EPOCH.as_millis())).unwrap_or(u64::MAX / 2).max(1)
}

/// Processor time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}
