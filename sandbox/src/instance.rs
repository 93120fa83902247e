//! A running firmware and the budget of its calls. Never waits between calls: the driver does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use crate::bindings::exports::iottly::firmware::app;
use crate::bindings::{Firmware as World, types};
use crate::epoch::EPOCH;
use crate::guest::{Call, Guest, thread_cpu};
use crate::profile::Profile;
use crate::trap::{Stopped, TrapCode, TrapReport};
use crate::{CallError, Fault, Host, Level, Limits, Runtime, StartError, Usage};

/// Factor by which a call may exceed its budget in wall-clock time, while it waits for the processor or is in
/// the host.
const WALL_FACTOR: u32 = 10;
/// Minimum wall-clock time after which a call counts as stuck.
const WALL_MIN: Duration = Duration::from_secs(2);

/// Running firmware. Its calls never overlap; after a trap it accepts no further ones.
///
/// ```standalone_crate
/// # #[cfg(not(feature = "compiler"))]
/// # fn main() {}
/// # #[cfg(feature = "compiler")]
/// # fn main() -> std::process::ExitCode {
/// #     if std::env::args().nth(1).as_deref() == Some("compile") {
/// #         return iottly_sandbox::compile_child();
/// #     }
/// #     example().expect("the example runs");
/// #     std::process::ExitCode::SUCCESS
/// # }
/// # #[cfg(feature = "compiler")]
/// # fn component() -> Vec<u8> {
/// #     use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
/// #     let mut core = wat::parse_str(r#"(module
/// #         (memory (export "memory") 1)
/// #         (data (i32.const 1028) "\f4\01\00\00")
/// #         (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 2048))
/// #         (func (export "iottly:firmware/app@0.1.0#init") (result i32) (i32.const 1024))
/// #         (func (export "iottly:firmware/app@0.1.0#handle") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
/// #         (func (export "iottly:firmware/app@0.1.0#tick") (param i64) (result i32) (i32.const 1024))
/// #         (func (export "iottly:firmware/app@0.1.0#event") (param i32 i64) (result i32) (i32.const 1024))
/// #         (func (export "iottly:firmware/app@0.1.0#health") (result i32) (i32.const 1024))
/// #         (func (export "iottly:firmware/app@0.1.0#shutdown") (param i32 i32) (result i32) (i32.const 1024)))"#).unwrap();
/// #     let mut resolve = wit_parser::Resolve::default();
/// #     let wit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
/// #     let (package, _) = resolve.push_path(wit).unwrap();
/// #     let world = resolve.select_world(&[package], Some("firmware")).unwrap();
/// #     embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
/// #     ComponentEncoder::default().module(&core).unwrap().encode().unwrap()
/// # }
/// # #[cfg(feature = "compiler")]
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use iottly_sandbox::{Cache, CompilerProgram, Fault, Host, Level, Limits, Outgoing, Runtime};
///
/// struct Desk;
///
/// impl Host for Desk {
///     fn send(&mut self, _message: Outgoing) -> Result<(), Fault> {
///         Ok(())
///     }
///
///     fn log(&mut self, _level: Level, _text: &str) {}
///
///     fn now_ms(&mut self) -> u64 {
///         1_800_000_000_000
///     }
/// }
///
/// // This program again, with an argument that makes its `main` call `compile_child`.
/// let compiler = CompilerProgram { path: std::env::current_exe()?, args: vec!["compile".into()] };
/// let dir = tempfile::tempdir()?;
/// let cache = Cache::open(dir.path().join("cache"), compiler)?;
/// let firmware = cache.load(&Runtime::new()?, &component())?;
/// let mut instance = firmware.start(Box::new(Desk), Limits::default())?;
/// instance.init()?;
/// let next_ms = instance.tick(1_800_000_000_000)?;
/// assert_eq!(next_ms, 500);
/// # Ok(())
/// # }
/// ```
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
        profile: Arc<Profile>,
        host: Box<dyn Host>,
        limits: Limits,
    ) -> Result<Self, StartError> {
        let budget = limits.init;
        let limits = profile.narrow(limits);
        let memory_bytes = limits.memory_bytes;
        let mut store = Store::new(runtime.engine(), Guest::new(host, profile, limits));
        store.limiter(|guest| guest);
        // Texts are checked in the firmware's memory, so its size bounds what may be passed.
        store.set_hostcall_fuel(memory_bytes);
        store.epoch_deadline_callback(deadline);
        arm(&mut store, budget);
        let running = runtime
            .running()
            .map_err(|error| StartError::Trap(Box::new(TrapReport::no_clock(&error, "start"))))?;
        let world = pre.instantiate(&mut store);
        drop(running);
        settle(&mut store);
        match world {
            Ok(world) => Ok(Self {
                runtime,
                store,
                world,
                dead: None,
            }),
            Err(error) => Err(StartError::Trap(Box::new(TrapReport::from_error(
                &error, "start",
            )))),
        }
    }

    /// Runs the firmware's `init`.
    ///
    /// # Errors
    /// [`CallError`]: the firmware's fault, or how it was stopped.
    pub fn init(&mut self) -> Result<(), CallError> {
        self.call("init", self.limits().init, |app, store| app.call_init(store))
    }

    /// Runs the handler of a command. `values` is the JSON text of the object with its parameters, without
    /// the command's name around it.
    ///
    /// # Errors
    /// [`CallError`]: the firmware's fault, or how it was stopped. [`Fault::Unsupported`] means that there is
    /// no handler.
    pub fn handle(&mut self, cmd_type: &str, values: &str) -> Result<(), CallError> {
        let command = types::Command {
            name: cmd_type.to_owned(),
            values: values.to_owned(),
        };
        self.call("handle", self.limits().handle, |app, store| {
            app.call_handle(store, &command)
        })
    }

    /// Runs one pass of the loop at the unix time `now_ms`. Returns the milliseconds until the next one is
    /// due.
    ///
    /// # Errors
    /// [`CallError`]: the firmware's fault, or how it was stopped.
    pub fn tick(&mut self, now_ms: u64) -> Result<u32, CallError> {
        self.call("tick", self.limits().tick, |app, store| {
            app.call_tick(store, now_ms)
        })
    }

    /// Delivers an event of a source that the firmware subscribed to. `at_ns` is measured from the instance's
    /// start.
    ///
    /// # Errors
    /// [`CallError`]: the firmware's fault, or how it was stopped.
    pub fn event(&mut self, source: u32, at_ns: u64) -> Result<(), CallError> {
        self.call("event", self.limits().event, |app, store| {
            app.call_event(store, source, at_ns)
        })
    }

    /// Checks the firmware's health.
    ///
    /// # Errors
    /// [`CallError::Fault`] with what is wrong, [`CallError::Trap`] if the firmware was stopped.
    pub fn health(&mut self) -> Result<(), CallError> {
        self.call("health", self.limits().health, |app, store| {
            app.call_health(store)
        })
    }

    /// Runs the firmware's `shutdown`. `reason` is for people.
    ///
    /// # Errors
    /// [`CallError`]: the firmware's fault, or how it was stopped.
    pub fn shutdown(&mut self, reason: &str) -> Result<(), CallError> {
        self.call("shutdown", self.limits().shutdown, |app, store| {
            app.call_shutdown(store, reason)
        })
    }

    /// Returns the time at which the next timer or event is due, to call [`Instance::deliver`]. None if the
    /// firmware has no subscriptions.
    #[must_use]
    pub fn next_event_at(&self) -> Option<Instant> {
        let guest = self.store.data();
        [guest.timers.next_at(), guest.events.first_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Delivers one timer or event that is due, the oldest first. Returns false if there was none.
    ///
    /// # Errors
    /// [`CallError`]: the firmware's fault, or how it was stopped.
    pub fn deliver(&mut self) -> Result<bool, CallError> {
        let guest = self.store.data_mut();
        let timer_first = match (guest.timers.next_at(), guest.events.first_at()) {
            (Some(timer), Some(event)) => timer < event,
            (timer, _) => timer.is_some(),
        };
        let timer = if timer_first {
            guest.timers.due(Instant::now())
        } else {
            None
        };
        let Some((source, at)) = timer.or_else(|| guest.events.take()) else {
            return Ok(false);
        };
        let at_ns = u64::try_from(at.saturating_duration_since(guest.started).as_nanos()).unwrap_or(u64::MAX);
        let dropped = guest.events.dropped();
        if dropped > 0 {
            guest.host.log(
                Level::Warn,
                &format!("{dropped} events dropped: the firmware does not keep up"),
            );
        }
        self.event(source, at_ns).map(|()| true)
    }

    /// Returns the pause that the firmware has to make before its next call, to keep to its share of the
    /// processor.
    ///
    /// The calls themselves do not wait: the driver does.
    pub fn pause(&mut self) -> Duration {
        let guest = self.store.data_mut();
        let now = guest.started.elapsed();
        guest.share.wait(now)
    }

    /// Lets time pass for the firmware at once: its clock, its timers, its rates and its share of the processor. The date
    /// is the host's, and events of the board come when they come.
    ///
    /// For programs that run more of a firmware than they have time for.
    pub fn advance(&mut self, time: Duration) {
        self.store.data_mut().advance(time);
    }

    /// Takes the device's failure to provide memory or threads since the last call, if any. A call that
    /// failed meanwhile is not evidence against the firmware.
    pub fn device_failure(&mut self) -> Option<String> {
        self.store.data_mut().device_failure.take()
    }

    /// Returns what the firmware has used since the last time this was asked, and its memory now.
    pub fn take_usage(&mut self) -> Usage {
        self.store.data_mut().take_usage()
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
        let running = match self.runtime.running() {
            Ok(running) => running,
            Err(error) => {
                self.dead = Some(TrapCode::Device);
                return Err(CallError::Trap(Box::new(TrapReport::no_clock(&error, export))));
            }
        };
        let outcome = run(self.world.iottly_firmware_app(), &mut self.store);
        drop(running);
        settle(&mut self.store);
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

/// Sets the budget of the call that begins now.
fn arm(store: &mut Store<Guest>, budget: Duration) {
    let guest = store.data_mut();
    guest.device_failure = None;
    guest.call = Call {
        budget,
        started: Some(Instant::now()),
        ..Call::default()
    };
    store.set_epoch_deadline(1);
}

/// Counts the call that has ended, and its time against the firmware's share: all of it except waits. Work that
/// the host does for the firmware counts, or a script of short calls into the host would have a processor of
/// its own.
fn settle(store: &mut Store<Guest>) {
    let guest = store.data_mut();
    let call = &guest.call;
    let used = match call.cpu_at_start {
        Some(start) => thread_cpu().saturating_sub(start),
        None => call
            .started
            .map_or(Duration::ZERO, |at| at.elapsed())
            .saturating_sub(call.off_cpu),
    };
    guest.called(used);
}

/// Decides at an epoch whether the call may continue.
fn deadline(mut store: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    let call = &mut store.data_mut().call;
    let wall = call.wall();
    let used = call.used();
    // Less than half an epoch before the end counts as the end: one more epoch would overshoot by more.
    if used + EPOCH / 2 >= call.budget {
        let message = call.used_up();
        return Err(wasmtime::Error::new(Stopped {
            code: TrapCode::TimeBudget,
            message,
            functions: Vec::new(),
        }));
    }
    let allowed = WALL_MIN.max(call.budget * WALL_FACTOR);
    if wall > allowed {
        let message = format!(
            "stopped after {} ms of waiting for the processor",
            wall.as_millis()
        );
        return Err(wasmtime::Error::new(Stopped {
            code: TrapCode::WallTime,
            message,
            functions: Vec::new(),
        }));
    }
    Ok(UpdateDeadline::Continue(epochs(call.budget - used)))
}

/// Returns the epochs that cover `time`; the one in progress may end at once.
fn epochs(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(EPOCH.as_millis()))
        .unwrap_or(u64::MAX / 2)
        .max(1)
}
