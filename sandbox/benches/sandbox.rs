//! Cost of the sandbox beside wasmtime alone: the same component, the same engine settings, in turns within
//! one run.
//!
//! Prints tables; see `sandbox/README.md` for the command and the results. With the path of a component as
//! its argument it measures that one as well: `firmware-examples/echo-js`, built by `iottly build`, stands
//! for a script.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed measurement is not a measurement; the table is the output"
)]

#[path = "../tests/it/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Recorder, compiler, firmware};
use iottly_sandbox::{
    Backend, Cache, Fault, Firmware, Host, Instance, Level, Limits, Outgoing, Runtime, Script, ScriptEngine,
    compile_here,
};
use wasmtime::component::{Component, ComponentType, InstancePre, Lift, Linker, Lower, TypedFunc, WasmStr};
use wasmtime::{Config, Engine, Store, StoreContextMut};

/// Time of one measurement; each is made several times and the best counts.
const SLICE: Duration = Duration::from_millis(100);
const TURNS: usize = 5;
/// Number of host calls in one call of the firmware.
const CALLS: u32 = 1000;

/// The world's `fault`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum RawFault {
    #[component(name = "invalid")]
    Invalid(String),
    #[component(name = "unsupported")]
    Unsupported(String),
    #[component(name = "denied")]
    Denied(String),
    #[component(name = "busy")]
    Busy,
    #[component(name = "limit")]
    Limit(String),
    #[component(name = "io")]
    Io(String),
    #[component(name = "failed")]
    Failed(String),
}

#[derive(ComponentType, Lift, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the firmware makes them")]
enum Durability {
    #[component(name = "buffered")]
    Buffered,
    #[component(name = "durable")]
    Durable,
}

#[derive(ComponentType, Lift, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the firmware makes them")]
enum RawLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Command {
    name: String,
    values: String,
}

type Answer<T> = (Result<T, RawFault>,);

struct NullHost;

impl Host for NullHost {
    fn send(&mut self, message: Outgoing) -> Result<(), Fault> {
        black_box(message);
        Ok(())
    }
    fn log(&mut self, _: Level, _: &str) {}
    fn now_ms(&mut self) -> u64 {
        black_box(1)
    }
}

/// wasmtime with as little as possible around it.
struct Raw {
    engine: Engine,
    pre: InstancePre<()>,
}

impl Raw {
    fn engine() -> Engine {
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .epoch_interruption(true)
            .max_wasm_stack(1 << 20);
        Engine::new(&config).unwrap()
    }

    fn load(engine: &Engine, code: &Path) -> Component {
        // SAFETY: this program compiled it a moment ago.
        unsafe { Component::deserialize_file(engine, code) }.unwrap()
    }

    fn new(engine: &Engine, code: &Path) -> Self {
        let mut linker = Linker::new(engine);
        let mut clock = linker.instance("iottly:firmware/clock@0.1.0").unwrap();
        clock
            .func_wrap("now-ms", |_: StoreContextMut<'_, ()>, (): ()| {
                Ok((black_box(1_u64),))
            })
            .unwrap();
        let mut random = linker.instance("iottly:firmware/random@0.1.0").unwrap();
        random
            .func_wrap("seed", |_: StoreContextMut<'_, ()>, (): ()| Ok((1_u64,)))
            .unwrap();
        let mut telemetry = linker.instance("iottly:firmware/telemetry@0.1.0").unwrap();
        let send = |store: StoreContextMut<'_, ()>,
                    (text, channel, how): (WasmStr, Option<WasmStr>, Durability)| {
            black_box((text.to_str(&store)?.into_owned(), channel.is_some(), how as u8));
            Ok((Ok::<(), RawFault>(()),))
        };
        telemetry.func_wrap("send", send).unwrap();
        let mut log = linker.instance("iottly:firmware/log@0.1.0").unwrap();
        let write = |store: StoreContextMut<'_, ()>, (level, text): (RawLevel, WasmStr)| {
            black_box((level as u8, text.to_str(&store)?.into_owned()));
            Ok(())
        };
        log.func_wrap("write", write).unwrap();
        linker
            .define_unknown_imports_as_traps(&Self::load(engine, code))
            .unwrap();
        let pre = linker.instantiate_pre(&Self::load(engine, code)).unwrap();
        Self {
            engine: engine.clone(),
            pre,
        }
    }

    fn start(&self) -> (Store<()>, wasmtime::component::Instance) {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.pre.instantiate(&mut store).unwrap();
        (store, instance)
    }

    fn export<P, R>(
        store: &mut Store<()>,
        instance: &wasmtime::component::Instance,
        name: &str,
    ) -> TypedFunc<P, R>
    where
        P: wasmtime::component::ComponentNamedList + Lower,
        R: wasmtime::component::ComponentNamedList + Lift,
    {
        let app = instance
            .get_export_index(&mut *store, None, "iottly:firmware/app@0.1.0")
            .unwrap();
        let function = instance.get_export_index(&mut *store, Some(&app), name).unwrap();
        instance.get_typed_func(store, function).unwrap()
    }
}

/// Returns the best time of one `run`, over several slices.
fn best(run: &mut dyn FnMut()) -> Duration {
    run();
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < SLICE {
        run();
        count += 1;
    }
    began.elapsed() / count
}

fn row(name: &str, per: u32, raw: &mut dyn FnMut(), ours: &mut dyn FnMut()) {
    let mut least_raw = Duration::MAX;
    let mut least_ours = Duration::MAX;
    for _ in 0..TURNS {
        least_raw = least_raw.min(best(raw));
        least_ours = least_ours.min(best(ours));
    }
    let raw = least_raw / per;
    let ours = least_ours / per;
    println!(
        "| {name} | {raw:?} | {ours:?} | {:.2} |",
        least_ours.as_secs_f64() / least_raw.as_secs_f64()
    );
}

fn started(firmware: &Firmware) -> Instance {
    let limits = Limits {
        calls_per_s: u32::MAX,
        sends_per_s: u32::MAX,
        send_bytes_per_s: u32::MAX,
        ..Limits::default()
    };
    firmware.start(Box::new(NullHost), limits).unwrap()
}

fn main() {
    println!("wasmtime {}", iottly_sandbox::RUNTIME_VERSION);
    code();
    println!("\n| stopping what runs away | budget | stopped after |\n|---|---|---|");
    runaway();
    engine();
    let path = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    if let Some(path) = path {
        let wasm = std::fs::read(&path).unwrap();
        script(&wasm);
        crowd(&wasm);
    }
}

fn head(what: &str) {
    println!("\n| {what} | wasmtime alone | sandbox | ratio |\n|---|---|---|---|");
}

/// Both sides of a comparison, on one component.
struct Sides {
    raw: Raw,
    cache: Cache,
    runtime: Runtime,
    firmware: Firmware,
    code: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Sides {
    fn new(wasm: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let code = dir.path().join("code");
        std::fs::write(&code, compile_here(wasm, Backend::Native).unwrap()).unwrap();
        let raw = Raw::new(&Raw::engine(), &code);
        let runtime = Runtime::new().unwrap();
        let cache = Cache::open(dir.path().join("cache"), compiler()).unwrap();
        let firmware = cache.load(&runtime, wasm).unwrap();
        Self {
            raw,
            cache,
            runtime,
            firmware,
            code,
            _dir: dir,
        }
    }

    fn start_and_load(&self, wasm: &[u8]) {
        let start = &mut || {
            drop(black_box(
                self.firmware
                    .start(Box::new(Recorder::default()), Limits::default())
                    .unwrap(),
            ))
        };
        row(
            "start and drop an instance",
            1,
            &mut || drop(black_box(self.raw.start())),
            start,
        );
        let load = &mut || drop(black_box(self.cache.load(&self.runtime, wasm).unwrap()));
        let raw = &mut || drop(black_box(Raw::load(&self.raw.engine, &self.code)));
        row(
            "load compiled code (ours checks digest, seal, world and manifest)",
            1,
            raw,
            load,
        );
    }
}

/// Measures a firmware in text form: the cost of the calls themselves.
fn code() {
    let times = |call: &str| {
        format!(
            "(local $n i32) (local.set $n (i32.const {CALLS}))
             (loop $again {call} (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $again (local.get $n))) (i32.const 1024)"
        )
    };
    let send = "(call $send (i32.const 4096) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048))";
    // Memory that was allocated for the command is freed, so that any number of commands fit.
    let nothing = "(global.set $next (i32.const 65536)) (i32.const 1024)";
    let wasm = firmware(&[
        ("tick", &times("(drop (call $now))")),
        ("health", &times(send)),
        ("handle", nothing),
    ]);
    let sides = Sides::new(&wasm);
    head("compiled code");
    sides.start_and_load(&wasm);
    let (mut store, instance) = sides.raw.start();
    let handle: TypedFunc<(Command,), Answer<()>> = Raw::export(&mut store, &instance, "handle");
    let tick: TypedFunc<(u64,), Answer<u32>> = Raw::export(&mut store, &instance, "tick");
    let health: TypedFunc<(), Answer<()>> = Raw::export(&mut store, &instance, "health");
    let mut ours = started(&sides.firmware);
    let mut raw_handle = || assert!(handle.call(&mut store, (echo(),)).unwrap().0.is_ok());
    row(
        "command handler that does nothing",
        1,
        &mut raw_handle,
        &mut || ours.handle("echo", HI).unwrap(),
    );
    let mut raw_tick = || assert!(tick.call(&mut store, (0,)).unwrap().0.is_ok());
    row("host call `clock.now-ms`", CALLS, &mut raw_tick, &mut || {
        _ = ours.tick(0).unwrap()
    });
    let mut raw_health = || assert!(health.call(&mut store, ()).unwrap().0.is_ok());
    row(
        "host call `telemetry.send` (ours checks the JSON)",
        CALLS,
        &mut raw_health,
        &mut || ours.health().unwrap(),
    );
}

const HI: &str = "{\"content\":\"hi\"}";

fn echo() -> Command {
    Command {
        name: "echo".to_owned(),
        values: HI.to_owned(),
    }
}

/// Measures how far beyond its budget an endless loop gets.
fn runaway() {
    let sides = Sides::new(&firmware(&[("tick", "(loop $again (br $again)) (unreachable)")]));
    for budget in [20, 100, 500].map(Duration::from_millis) {
        let stop = || {
            let limits = Limits {
                tick: budget,
                ..Limits::default()
            };
            let mut instance = sides.firmware.start(Box::new(NullHost), limits).unwrap();
            let began = Instant::now();
            instance.tick(0).unwrap_err();
            began.elapsed()
        };
        let longest = (0..5).map(|_| stop()).max().unwrap();
        println!("| longest of 5 | {budget:?} | {longest:.1?} |");
    }
}

/// Measures a script: the start of its engine, and the platform's `echo`.
fn script(wasm: &[u8]) {
    let began = Instant::now();
    let sides = Sides::new(wasm);
    let both = began.elapsed();
    head("script");
    sides.start_and_load(wasm);
    let (mut store, instance) = sides.raw.start();
    let init: TypedFunc<(), Answer<()>> = Raw::export(&mut store, &instance, "init");
    let handle: TypedFunc<(Command,), Answer<()>> = Raw::export(&mut store, &instance, "handle");
    assert!(init.call(&mut store, ()).unwrap().0.is_ok());
    let mut ours = started(&sides.firmware);
    ours.init().unwrap();
    let mut raw_handle = || assert!(handle.call(&mut store, (echo(),)).unwrap().0.is_ok());
    row("handler `echo` with its reply", 1, &mut raw_handle, &mut || {
        ours.handle("echo", HI).unwrap()
    });
    println!("\ncompiled twice, here and in the compile child, in {both:.2?}");
}

/// Scripts on the engine: what a start costs, and many instances in one process.
fn engine() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let load = || {
        let began = Instant::now();
        let cache = Cache::open(dir.path().join("cache"), compiler())
            .unwrap()
            .with_engine(ScriptEngine::new(iottly_engine::ABI, iottly_engine::ENGINE));
        cache.warm(&runtime).unwrap();
        (cache, began.elapsed())
    };
    let (_, compiled) = load();
    let (cache, loaded) = load();
    let with_script = |main: &str| {
        let script = Script {
            engine: iottly_engine::ABI.to_owned(),
            exact: None,
            files: [("main.js".to_owned(), main.to_owned())].into(),
            sections: Vec::new(),
        };
        cache
            .load(&runtime, &script.component("name = \"bench\"").unwrap())
            .unwrap()
    };
    println!("\n| script engine | |\n|---|---|");
    println!("| component | {} KiB |", iottly_engine::ENGINE.len() >> 10);
    println!("| compiled in the child and loaded | {compiled:.1?} |\n| loaded again | {loaded:.1?} |");
    let thermostat = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-examples/thermostat-js/main.js");
    let thermostat = std::fs::read_to_string(thermostat).unwrap();
    let line =
        "  if (x > 5 && rows[x % 7] !== undefined) { rows[x % 7].push({ at: x, text: `row ${x}` }); }\n";
    let large: String = (0..250)
        .map(|n| format!("function f{n}(x, rows) {{\n{}}}\n", line.repeat(4)))
        .collect();
    for (name, main) in [("empty", ""), ("thermostat", &thermostat), ("100 KB", &large)] {
        let firmware = with_script(main);
        let times = (0..50).map(|_| {
            let began = Instant::now();
            let mut instance = started(&firmware);
            instance.init().unwrap();
            began.elapsed()
        });
        println!(
            "| start and `init`, {name} script: best of 50 | {:.2?} |",
            times.min().unwrap()
        );
    }
    crowd_of(&with_script(&thermostat));
}

/// Measures many instances of one script in one process: the cost of each, and of each to the others.
fn crowd(wasm: &[u8]) {
    crowd_of(&Sides::new(wasm).firmware);
}

fn crowd_of(firmware: &Firmware) {
    const MANY: u32 = 100;
    let born = || {
        let mut instance = started(firmware);
        instance.init().unwrap();
        instance.handle("echo", HI).unwrap();
        instance
    };
    let before = private_kib();
    let mut all = vec![born()];
    let first = private_kib() - before;
    all.extend((1..MANY).map(|_| born()));
    let further = (private_kib() - before - first) / i64::from(MANY - 1);
    println!("\n| {MANY} instances of one script | |\n|---|---|");
    println!("| private memory of the first | {first} KiB |\n| of each further one | {further} KiB |");
    let took = |instances: &mut [Instance]| {
        let mut times = Vec::new();
        for _ in 0..20_000 / instances.len() {
            for instance in &mut *instances {
                let began = Instant::now();
                instance.handle("echo", HI).unwrap();
                times.push(began.elapsed());
            }
        }
        times.sort_unstable();
        (times[times.len() / 2], times[times.len() * 99 / 100])
    };
    let alone = took(&mut all[..1]);
    let together = took(&mut all);
    println!(
        "| handler `echo`, one instance called 20,000 times: p50, p99 | {:?}, {:?} |",
        alone.0, alone.1
    );
    println!(
        "| all in turn, as often together: p50, p99 | {:?}, {:?} |",
        together.0, together.1
    );
}

/// Returns the memory of this process that it does not share.
fn private_kib() -> i64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let of = |name: &str| {
        rollup.lines().find_map(|line| {
            line.strip_prefix(name)?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse::<i64>()
                .ok()
        })
    };
    of("Private_Dirty:").unwrap()
}
