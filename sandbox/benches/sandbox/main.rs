//! Cost of the sandbox beside wasmtime alone: the same component, the same settings of wasmtime, in turns within one
//! run.
//!
//! Prints tables; see `sandbox/README.md` for the command and the results.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed measurement is not a measurement; the table is the output"
)]

#[path = "../../tests/it/common/mod.rs"]
mod common;
mod raw;
mod scripts;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{Recorder, compiler, firmware};
use iottly_sandbox::{
    Backend, Cache, Fault, Firmware, Host, Instance, Level, Limits, Outgoing, Runtime, compile_here,
};
use raw::{Answer, Command, Raw};
use scripts::Scripts;
use wasmtime::component::TypedFunc;

/// Time of one measurement; each is made several times and the best counts.
const SLICE: Duration = Duration::from_millis(100);
const TURNS: usize = 5;
/// Number of host calls in one call of the firmware.
const CALLS: u32 = 1000;

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
    Scripts::new().measure();
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
