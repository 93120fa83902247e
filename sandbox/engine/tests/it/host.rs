//! A small host of the engine: runs a script and writes down what it does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store, StoreLimits, StoreLimitsBuilder};

pub(crate) mod world {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        reason = "generated code"
    )]
    wasmtime::component::bindgen!({ path: "../wit", world: "engine" });
}

use world::iottly::firmware::log::Level;
use world::iottly::firmware::telemetry::Durability;
use world::iottly::firmware::types::{Command, Fault};
use world::{Engine as World, EnginePre as WorldPre};

/// Stack of the engine's code, in bytes: what the limit inside of the engine is made for.
const STACK_BYTES: usize = 1 << 20;
/// Time between two epochs.
pub(crate) const EPOCH: Duration = Duration::from_millis(10);
/// Wall-clock time of a call that is not meant to run out of it.
const AMPLE: Duration = Duration::from_secs(20);
/// Time that the clock shows, unix milliseconds.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

/// The host of one script: its files, what it may use, and what it did.
pub(crate) struct Host {
    files: BTreeMap<String, String>,
    pub(crate) output: String,
    limits: StoreLimits,
    memory: u32,
    deadline: Instant,
    seed: u64,
    timers: u32,
    state: BTreeMap<String, Vec<u8>>,
    refuse: Option<Fault>,
}

struct Stopped(String);

impl std::fmt::Debug for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for Stopped {}

/// A script that is loaded and may be called.
pub(crate) struct Script {
    store: Store<Host>,
    world: World,
    budget: Duration,
}

/// A script and the conditions that it runs under.
pub(crate) struct Setup {
    files: BTreeMap<String, String>,
    memory: usize,
    budget: Duration,
    refuse: Option<Fault>,
}

impl Setup {
    pub(crate) fn new(main: &str) -> Self {
        Self {
            files: BTreeMap::from([("main.js".to_owned(), main.to_owned())]),
            memory: 16 << 20,
            budget: AMPLE,
            refuse: None,
        }
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.to_owned());
        self
    }

    pub(crate) fn memory(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    pub(crate) fn budget(self, ms: u64) -> Self {
        Self {
            budget: Duration::from_millis(ms),
            ..self
        }
    }

    /// Lets every message be refused as the queue of a device that is full does.
    pub(crate) fn full(self) -> Self {
        Self {
            refuse: Some(Fault::Limit("the queue is full".to_owned())),
            ..self
        }
    }

    /// Loads the script without running any of it.
    pub(crate) fn load(self) -> Script {
        let pre = shared();
        let host = Host {
            files: self.files,
            output: String::new(),
            limits: StoreLimitsBuilder::new().memory_size(self.memory).build(),
            memory: u32::try_from(self.memory).expect("at most 4 GiB"),
            deadline: Instant::now(),
            seed: 1,
            timers: 0,
            state: BTreeMap::new(),
            refuse: self.refuse,
        };
        let mut store = Store::new(pre.engine(), host);
        store.limiter(|host| &mut host.limits);
        store.set_hostcall_fuel(self.memory);
        store.set_epoch_deadline(u64::MAX / 2);
        let world = pre.instantiate(&mut store).expect("the engine is instantiated");
        Script {
            store,
            world,
            budget: self.budget,
        }
    }

    /// Runs `init`.
    pub(crate) fn start(self) -> Script {
        let mut script = self.load();
        script.init();
        script
    }
}

/// Runs a script's `init` and returns what it did.
pub(crate) fn run(main: &str) -> String {
    Setup::new(main).start().output()
}

impl Script {
    fn arm(&mut self) {
        self.store.data_mut().deadline = Instant::now() + self.budget;
        let epochs = u64::try_from(self.budget.as_millis() / EPOCH.as_millis()).expect("short budgets");
        self.store.set_epoch_deadline(epochs.max(1));
    }

    fn note<T>(&mut self, outcome: wasmtime::Result<Result<T, Fault>>) -> Option<T> {
        let line = match outcome {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(fault)) => match fault {
                Fault::Invalid(text) => format!("! invalid: {text}"),
                Fault::Unsupported(text) => format!("! unsupported: {text}"),
                Fault::Denied(text) => format!("! denied: {text}"),
                Fault::Busy => "! busy".to_owned(),
                Fault::Limit(text) => format!("! limit: {text}"),
                Fault::Io(text) => format!("! io: {text}"),
                Fault::Failed(text) => format!("! failed: {text}"),
            },
            Err(error) => match error.downcast_ref::<Stopped>() {
                Some(stopped) => format!("# stopped: {stopped}"),
                None => format!("# trap: {}", error.root_cause()),
            },
        };
        let _ = writeln!(self.store.data_mut().output, "{line}");
        None
    }

    pub(crate) fn init(&mut self) -> bool {
        self.arm();
        let outcome = self.world.iottly_firmware_app().call_init(&mut self.store);
        self.note(outcome).is_some()
    }

    pub(crate) fn handle(&mut self, name: &str, values: &str) -> bool {
        self.arm();
        let command = Command {
            name: name.to_owned(),
            values: values.to_owned(),
        };
        let outcome = self
            .world
            .iottly_firmware_app()
            .call_handle(&mut self.store, &command);
        self.note(outcome).is_some()
    }

    pub(crate) fn tick(&mut self) -> Option<u32> {
        self.arm();
        let outcome = self
            .world
            .iottly_firmware_app()
            .call_tick(&mut self.store, NOW_MS);
        self.note(outcome)
    }

    pub(crate) fn event(&mut self, source: u32) -> bool {
        self.arm();
        let outcome = self
            .world
            .iottly_firmware_app()
            .call_event(&mut self.store, source, 2_500_000);
        self.note(outcome).is_some()
    }

    pub(crate) fn health(&mut self) -> bool {
        self.arm();
        let outcome = self.world.iottly_firmware_app().call_health(&mut self.store);
        self.note(outcome).is_some()
    }

    pub(crate) fn shutdown(&mut self, reason: &str) -> bool {
        self.arm();
        let outcome = self
            .world
            .iottly_firmware_app()
            .call_shutdown(&mut self.store, reason);
        self.note(outcome).is_some()
    }

    /// Returns what the script did since the last question.
    pub(crate) fn output(&mut self) -> String {
        std::mem::take(&mut self.store.data_mut().output)
    }
}

/// The engine, compiled once for all tests of this program.
pub(crate) fn compiled() -> &'static (Engine, Component) {
    static COMPILED: OnceLock<(Engine, Component)> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let mut config = Config::new();
        config.epoch_interruption(true);
        config.max_wasm_stack(STACK_BYTES);
        let engine = Engine::new(&config).expect("this machine runs WebAssembly");
        let component = Component::new(&engine, iottly_engine::ENGINE).expect("the engine is a component");
        let ticking = engine.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(EPOCH);
                ticking.increment_epoch();
            }
        });
        (engine, component)
    })
}

/// The engine with the imports of [`Host`].
fn shared() -> &'static WorldPre<Host> {
    static SHARED: OnceLock<WorldPre<Host>> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (engine, component) = compiled();
        let mut linker = Linker::new(engine);
        link(&mut linker).expect("the imports are distinct");
        linker
            .define_unknown_imports_as_traps(component)
            .expect("the other imports are distinct");
        let pre = linker.instantiate_pre(component).expect("all imports are there");
        WorldPre::new(pre).expect("the exports are there")
    })
}

type Caller<'a> = wasmtime::StoreContextMut<'a, Host>;

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut log = linker.instance("iottly:firmware/log@0.1.0")?;
    log.func_wrap(
        "write",
        |mut store: Caller<'_>, (level, text): (Level, String)| {
            let prefix = match level {
                Level::Trace => "trace: ",
                Level::Debug => "debug: ",
                Level::Info => "",
                Level::Warn => "warn: ",
                Level::Error => "error: ",
            };
            let _ = writeln!(store.data_mut().output, "{prefix}{text}");
            Ok(())
        },
    )?;
    let mut script = linker.instance("iottly:firmware/script@0.1.0")?;
    script.func_wrap("source", |store: Caller<'_>, (path,): (String,)| {
        Ok((store.data().files.get(&path).cloned(),))
    })?;
    script.func_wrap("time-left", |store: Caller<'_>, (): ()| {
        let left = store.data().deadline.saturating_duration_since(Instant::now());
        Ok((u32::try_from(left.as_millis()).unwrap_or(u32::MAX),))
    })?;
    script.func_wrap(
        "stop",
        |_: Caller<'_>, (place,): (String,)| -> wasmtime::Result<()> {
            Err(wasmtime::Error::new(Stopped(place.replace('\n', ", "))))
        },
    )?;
    script.func_wrap("memory", |store: Caller<'_>, (): ()| Ok((store.data().memory,)))?;
    let mut clock = linker.instance("iottly:firmware/clock@0.1.0")?;
    clock.func_wrap("now-ms", |_: Caller<'_>, (): ()| Ok((NOW_MS,)))?;
    clock.func_wrap("monotonic-ns", |_: Caller<'_>, (): ()| Ok((1_500_000_u64,)))?;
    let mut random = linker.instance("iottly:firmware/random@0.1.0")?;
    random.func_wrap("seed", |mut store: Caller<'_>, (): ()| {
        store.data_mut().seed += 1;
        Ok((store.data().seed * 0x9_e377_9b97,))
    })?;
    let mut telemetry = linker.instance("iottly:firmware/telemetry@0.1.0")?;
    telemetry.func_wrap(
        "send",
        |mut store: Caller<'_>, (payload, channel, durability): (String, Option<String>, Durability)| {
            let host = store.data_mut();
            if let Some(fault) = host.refuse.clone() {
                return Ok((Err::<(), _>(fault),));
            }
            let channel = channel
                .map(|channel| format!(" on {channel}"))
                .unwrap_or_default();
            let durable = matches!(durability, Durability::Durable);
            let _ = writeln!(
                host.output,
                "sent{channel}{}: {payload}",
                if durable { " durably" } else { "" }
            );
            Ok((Ok(()),))
        },
    )?;
    let mut timers = linker.instance("iottly:firmware/timers@0.1.0")?;
    timers.func_wrap("start", |mut store: Caller<'_>, (ms, repeat): (u32, bool)| {
        let host = store.data_mut();
        host.timers += 1;
        let _ = writeln!(
            host.output,
            "timer {} in {ms} ms{}",
            host.timers,
            if repeat { ", again and again" } else { "" }
        );
        Ok((Ok::<_, Fault>(host.timers),))
    })?;
    timers.func_wrap("cancel", |mut store: Caller<'_>, (source,): (u32,)| {
        let _ = writeln!(store.data_mut().output, "timer {source} cancelled");
        Ok(())
    })?;
    let mut state = linker.instance("iottly:firmware/state@0.1.0")?;
    state.func_wrap("get", |store: Caller<'_>, (key,): (String,)| {
        Ok((Ok::<_, Fault>(store.data().state.get(&key).cloned()),))
    })?;
    state.func_wrap("set", |mut store: Caller<'_>, (key, value): (String, Vec<u8>)| {
        store.data_mut().state.insert(key, value);
        Ok((Ok::<_, Fault>(()),))
    })?;
    state.func_wrap("delete", |mut store: Caller<'_>, (key,): (String,)| {
        store.data_mut().state.remove(&key);
        Ok((Ok::<_, Fault>(()),))
    })?;
    state.func_wrap("keys", |store: Caller<'_>, (prefix,): (String,)| {
        let keys = store.data().state.keys();
        let keys: Vec<_> = keys.filter(|key| key.starts_with(&prefix)).cloned().collect();
        Ok((Ok::<_, Fault>(keys),))
    })?;
    let mut config = linker.instance("iottly:firmware/config@0.1.0")?;
    config.func_wrap("get", |_: Caller<'_>, (key,): (String,)| {
        Ok((Ok::<_, Fault>(
            (key == "interval").then(|| "{\"s\":5}".to_owned()),
        ),))
    })?;
    config.func_wrap("version", |_: Caller<'_>, (): ()| Ok((Some(3_u64),)))?;
    let mut identity = linker.instance("iottly:firmware/identity@0.1.0")?;
    identity.func_wrap("device", |_: Caller<'_>, (): ()| Ok(("thing".to_owned(),)))?;
    identity.func_wrap("firmware", |_: Caller<'_>, (): ()| Ok(("0".repeat(64),)))?;
    identity.func_wrap("board", |_: Caller<'_>, (): ()| Ok((String::new(),)))?;
    Ok(())
}

/// Runs cases of a name, a script and the output it must have; names all that differ.
pub(crate) fn check(cases: &[(&str, &str, &str)]) {
    let mut wrong = String::new();
    for (name, script, expected) in cases {
        let output = run(script);
        if output.trim_end() != expected.trim_end() {
            let _ = write!(
                wrong,
                "\n== {name}\n{script}\n-- expected\n{expected}\n-- found\n{output}"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
