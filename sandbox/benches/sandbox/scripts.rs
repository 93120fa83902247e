//! Scripts on the engine: what a start, a call and a further instance cost, and how long one takes the place of another.

use std::path::Path;
use std::time::{Duration, Instant};

use iottly_sandbox::{Backend, Cache, Firmware, Instance, Runtime, Script, ScriptEngine, compile_here};
use wasmtime::Store;
use wasmtime::component::TypedFunc;

use crate::common::compiler;
use crate::raw::{Answer, Command, Raw};
use crate::{HI, echo, head, row, started};

/// Scripts on the engine, in the sandbox and in wasmtime alone.
pub(crate) struct Scripts {
    runtime: Runtime,
    cache: Cache,
    dir: tempfile::TempDir,
}

/// The platform's `echo` needs no line of the script.
pub(crate) const ECHO: &str = "";

impl Scripts {
    pub(crate) fn new() -> Self {
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
        println!("\n| script engine | |\n|---|---|");
        println!("| component | {} KiB |", iottly_engine::ENGINE.len() >> 10);
        println!("| compiled in the child and loaded | {compiled:.1?} |\n| loaded again | {loaded:.1?} |");
        Self { runtime, cache, dir }
    }

    fn load(&self, main: &str) -> Firmware {
        let script = Script {
            engine: iottly_engine::ABI.to_owned(),
            exact: None,
            files: [("main.js".to_owned(), main.to_owned())].into(),
            sections: Vec::new(),
        };
        let component = script.component("name = \"bench\"").unwrap();
        self.cache.load(&self.runtime, &component).unwrap()
    }

    pub(crate) fn measure(&self) {
        let thermostat =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-examples/thermostat-js/main.js");
        let thermostat = std::fs::read_to_string(thermostat).unwrap();
        let line =
            "  if (x > 5 && rows[x % 7] !== undefined) { rows[x % 7].push({ at: x, text: `row ${x}` }); }\n";
        let large: String = (0..250)
            .map(|n| format!("function f{n}(x, rows) {{\n{}}}\n", line.repeat(4)))
            .collect();
        for (name, main) in [("empty", ""), ("thermostat", &thermostat), ("100 KB", &large)] {
            let firmware = self.load(main);
            let times = (0..50).map(|_| {
                let began = Instant::now();
                let mut instance = started(&firmware);
                instance.init().unwrap();
                began.elapsed()
            });
            println!(
                "| start and `init`, {name} script: p50, best | {} |",
                middle(times.collect())
            );
        }
        self.swap(&thermostat);
        self.echo();
        crowd_of(&self.load(&thermostat));
    }

    /// Measures how long nothing runs while one script takes the place of another.
    fn swap(&self, main: &str) {
        let mut old = started(&self.load(main));
        old.init().unwrap();
        let (mut first, mut ready) = (Vec::new(), Vec::new());
        for n in 0..50 {
            old.tick(0).unwrap();
            let began = Instant::now();
            old.shutdown("update").unwrap();
            let mut new = started(&self.load(&format!("{main}\n// {n}")));
            first.push(began.elapsed());
            new.init().unwrap();
            ready.push(began.elapsed());
            old = new;
        }
        println!(
            "| a script replaced: last call of the old to first call of the new: p50, best | {} |",
            middle(first)
        );
        println!("| the same until `init` has returned | {} |", middle(ready));
    }

    /// Measures the platform's `echo` on the same engine in the sandbox and in wasmtime alone.
    fn echo(&self) {
        let code = self.dir.path().join("code");
        std::fs::write(
            &code,
            compile_here(iottly_engine::ENGINE, Backend::Native).unwrap(),
        )
        .unwrap();
        let raw = Raw::new(&Raw::engine(), &code);
        head("script");
        let firmware = self.load(ECHO);
        let begin = |store: &mut Store<()>, instance: &wasmtime::component::Instance| {
            let init: TypedFunc<(), Answer<()>> = Raw::export(store, instance, "init");
            assert!(init.call(store, ()).unwrap().0.is_ok());
        };
        let raw_start = &mut || {
            let (mut store, instance) = raw.start();
            begin(&mut store, &instance);
        };
        let ours_start = &mut || started(&firmware).init().unwrap();
        row("start, `init`, drop", 1, raw_start, ours_start);
        let (mut store, instance) = raw.start();
        begin(&mut store, &instance);
        let handle: TypedFunc<(Command,), Answer<()>> = Raw::export(&mut store, &instance, "handle");
        let mut ours = started(&firmware);
        ours.init().unwrap();
        let mut raw_handle = || assert!(handle.call(&mut store, (echo(),)).unwrap().0.is_ok());
        let mut ours_handle = || ours.handle("echo", HI).unwrap();
        row(
            "handler `echo` with its reply",
            1,
            &mut raw_handle,
            &mut ours_handle,
        );
        let (mut of_raw, mut of_ours) = (Vec::new(), Vec::new());
        let timed = |run: &mut dyn FnMut(), times: &mut Vec<Duration>| {
            let began = Instant::now();
            run();
            times.push(began.elapsed());
        };
        for _ in 0..20_000 {
            timed(&mut raw_handle, &mut of_raw);
            timed(&mut ours_handle, &mut of_ours);
        }
        println!(
            "\nHandler `echo`, 20,000 calls in turns: p50, best: {} alone, {} here.",
            middle(of_raw),
            middle(of_ours)
        );
    }
}

/// Returns the median and the least of some times.
fn middle(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("{:.2?}, {:.2?}", times[times.len() / 2], times[0])
}

/// Measures many instances of one script in one process: the cost of each, and of each to the others.
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
