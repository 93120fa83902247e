//! Arbitrary scripts on a host that answers anything: every call returns, or ends the instance for a reason that has a
//! name.
//!
//! The scripts are made from a seed. `IOTTLY_FUZZ_SECONDS` makes the test go on for that long from a seed of its own,
//! `IOTTLY_FUZZ_SEED` begins with the seed that a failure has named.

mod answers;
mod builtins;
mod corpus;
mod random;
mod scripts;
mod surface;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime::component::{InstancePre, Linker};
use wasmtime::{Store, StoreLimitsBuilder, Trap, WasmBacktrace};

use answers::{Ended, Subject, text};
use random::Random;
use scripts::Author;
use surface::Surface;

use crate::host::world::iottly::firmware::types::Command;
use crate::host::world::{Engine, EnginePre};
use crate::host::{EPOCH, compiled};

/// Number of scripts when no time is given.
const SCRIPTS: u64 = 250;
/// Wall-clock time of one call.
const BUDGET: Duration = Duration::from_millis(60);
/// The function of the engine that ends an instance whose memory cannot take what the host passes in.
const NO_MEMORY: &str = "out_of_memory";

struct Laboratory {
    pre: EnginePre<Subject>,
    surface: Surface,
    pieces: Vec<String>,
    /// Least memory with which the engine starts, in bytes.
    least: usize,
}

/// Memory of the instances whose scripts lack none, in bytes.
const PLENTY: usize = 8 << 20;
/// Most memory that a script finds beside what the engine needs to start, in bytes, in the instances that lack some: most
/// of them, for what has no memory is what fails without a name.
const SCARCE: usize = 128 << 10;

/// End of a call.
enum End {
    Returned,
    /// The instance ended for a reason that has a name.
    Named(&'static str),
    Wrong(String),
}

impl Laboratory {
    fn new() -> Self {
        let (engine, component) = compiled();
        let mut linker = Linker::new(engine);
        answers::link(&mut linker, engine, component).expect("the imports are distinct");
        let pre: InstancePre<Subject> = linker.instantiate_pre(component).expect("all imports are there");
        let mut laboratory = Self {
            pre: EnginePre::new(pre).expect("the exports are there"),
            surface: Surface::of(engine, component),
            pieces: corpus::pieces(),
            least: 0,
        };
        laboratory.least = (0..PLENTY)
            .step_by(16 << 10)
            .find(|memory| laboratory.starts(*memory))
            .expect("the engine starts in less than plenty");
        laboratory
    }

    /// Reports whether the engine starts in that much memory.
    fn starts(&self, memory: usize) -> bool {
        let files = BTreeMap::from([("main.js".to_owned(), String::new())]);
        let Some((mut store, world)) = self.instance(&mut Random::new(1), files, memory) else {
            return false;
        };
        arm(&mut store);
        let outcome = world.iottly_firmware_app().call_init(&mut store);
        matches!(outcome, Ok(Ok(())))
    }

    /// Runs the script of a seed, and counts how its instance ended. Reports whether it lacked memory.
    fn run(&self, seed: u64, ends: &mut BTreeMap<&'static str, u64>) -> bool {
        let mut random = Random::new(seed);
        let author = Author {
            surface: &self.surface,
            pieces: &self.pieces,
        };
        let script = author.script(&mut random);
        let other = format!("export const f = (v) => {{ {} }};", author.script(&mut random));
        let mut files = BTreeMap::from([
            ("main.js".to_owned(), script.clone()),
            ("other.js".to_owned(), other),
            (
                "__iottly/interfaces".to_owned(),
                "gpio\ni2c\nspi\nuart\npwm\nadc\n".to_owned(),
            ),
        ]);
        for path in ["__iottly/sections", "__iottly/interfaces", "main.js"] {
            if random.once_in(20) {
                files.insert(path.to_owned(), text(&mut random));
            }
        }
        let memory = match random.below(8) {
            0 => PLENTY,
            1 => (600 << 10) + random.below(1 << 20),
            _ => self.least + random.below(SCARCE),
        };
        match self.live(random, files, memory, ends) {
            Ok(lacked) => lacked,
            Err(problem) => panic!("seed {seed}, {memory} bytes of memory: {problem}\n-- main.js\n{script}"),
        }
    }

    /// Returns a new instance; none when its tables and memory do not fit.
    fn instance(
        &self,
        random: &mut Random,
        files: BTreeMap<String, String>,
        memory: usize,
    ) -> Option<(Store<Subject>, Engine)> {
        let subject = Subject {
            random: Random::new(random.next()),
            files,
            limits: StoreLimitsBuilder::new().memory_size(memory).build(),
            memory: u32::try_from(memory).expect("a few MiB"),
            deadline: Instant::now(),
            calls: 0,
            lacked: false,
        };
        let mut store = Store::new(self.pre.engine(), subject);
        store.limiter(|subject| &mut subject.limits);
        store.set_hostcall_fuel(64 << 20);
        store.set_epoch_deadline(u64::MAX / 2);
        let world = self.pre.instantiate(&mut store).ok()?;
        Some((store, world))
    }

    /// Runs one instance from its start to its end. Reports whether it lacked memory.
    fn live(
        &self,
        mut random: Random,
        files: BTreeMap<String, String>,
        memory: usize,
        ends: &mut BTreeMap<&'static str, u64>,
    ) -> Result<bool, String> {
        let Some((mut store, world)) = self.instance(&mut random, files, memory) else {
            *ends.entry("resources").or_default() += 1;
            return Ok(false);
        };
        let app = world.iottly_firmware_app();
        for call in 0..8 {
            arm(&mut store);
            let outcome = match if call == 0 { 0 } else { random.below(9) } {
                0 => app.call_init(&mut store).map(drop),
                1 => app.call_tick(&mut store, random.number()).map(drop),
                2 => app.call_health(&mut store).map(drop),
                3 => app.call_shutdown(&mut store, &text(&mut random)).map(drop),
                4 | 5 => {
                    let source = u32::try_from(random.number() & 0xffff_ffff).expect("32 bits");
                    app.call_event(&mut store, source, random.number()).map(drop)
                }
                choice => {
                    let name = match choice {
                        6 => "act".to_owned(),
                        7 => "echo".to_owned(),
                        _ => text(&mut random),
                    };
                    let values = text(&mut random);
                    app.call_handle(&mut store, &Command { name, values }).map(drop)
                }
            };
            match end(outcome) {
                End::Returned => {}
                End::Named(name) => {
                    *ends.entry(name).or_default() += 1;
                    return Ok(store.data().lacked);
                }
                End::Wrong(problem) => return Err(problem),
            }
        }
        *ends.entry("none").or_default() += 1;
        Ok(store.data().lacked)
    }
}

/// Gives the next call its time.
fn arm(store: &mut Store<Subject>) {
    store.data_mut().deadline = Instant::now() + BUDGET;
    let epochs = BUDGET.as_millis() / EPOCH.as_millis();
    store.set_epoch_deadline(u64::try_from(epochs).expect("a short budget"));
}

fn end(outcome: wasmtime::Result<()>) -> End {
    let Err(error) = outcome else {
        return End::Returned;
    };
    if let Some(ended) = error.downcast_ref::<Ended>() {
        return End::Named(ended.0);
    }
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames);
    let innermost = frames
        .unwrap_or_default()
        .first()
        .and_then(wasmtime::FrameInfo::func_name);
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => End::Named("time budget, of the host"),
        Some(Trap::MemoryOutOfBounds) if innermost == Some(NO_MEMORY) => End::Named("memory"),
        _ => End::Wrong(format!("{error:?}")),
    }
}

#[expect(clippy::print_stdout, reason = "the test prints what it measured")]
#[test]
fn no_script_and_no_answer_ends_it_without_a_name() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("IOTTLY_FUZZ_SECONDS");
    let clock = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() << 24)
    };
    let first = number("IOTTLY_FUZZ_SEED").unwrap_or_else(|| if seconds.is_some() { clock() } else { 1 });
    let laboratory = Laboratory::new();
    let (began, mut count, mut lacked, mut ends) = (Instant::now(), 0, 0, BTreeMap::new());
    while seconds.map_or(count < SCRIPTS, |seconds| {
        began.elapsed() < Duration::from_secs(seconds)
    }) {
        lacked += u64::from(laboratory.run(first.wrapping_add(count), &mut ends));
        count += 1;
    }
    let mut summary = String::new();
    for (end, count) in &ends {
        let _ = write!(summary, ", {count} by {end}");
    }
    println!(
        "{count} scripts from seed {first} on, {lacked} lacked memory; ended: {}",
        summary.trim_start_matches(", ")
    );
    assert!(ends["none"] > count / 4, "most scripts end at once: {summary}");
    assert!(lacked > count / 8, "few scripts lack memory: {lacked} of {count}");
}

/// Each script runs with a little more memory each time, so that another allocation is the one that fails.
#[test]
fn what_is_built_in_survives_that_memory_runs_out() {
    let laboratory = Laboratory::new();
    for script in builtins::SCRIPTS {
        let (mut lacked, mut ends) = (0, BTreeMap::new());
        for more in (0..SCARCE).step_by(5000) {
            let files = BTreeMap::from([
                ("main.js".to_owned(), builtins::surviving(script)),
                ("other.js".to_owned(), "export const f = (v) => v;".to_owned()),
            ]);
            let memory = laboratory.least + more;
            match laboratory.live(Random::new(1), files, memory, &mut ends) {
                Ok(short) => lacked += u32::from(short),
                Err(problem) => panic!("{memory} bytes of memory: {problem}\n-- main.js\n{script}"),
            }
        }
        assert!(lacked > 1, "{lacked} instances lacked memory; {ends:?}\n{script}");
    }
}
