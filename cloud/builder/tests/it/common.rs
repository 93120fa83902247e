//! A board for scripts: the real builder, engine and compiler, and a host that records.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use iottly_boards::VirtualBoard;
use iottly_builder::{BuildError, Refusal, ScriptCheck, Source};
use iottly_sandbox::{
    Cache, CallError, CheckError, CompilerProgram, Fault, Firmware, Host, Instance, Level, Limits,
    MemoryState, Outgoing, Runtime, ScriptEngine, StateStore,
};

pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

pub(crate) struct Board {
    pub(crate) instance: Instance,
    host: Recorder,
}

#[derive(Clone)]
struct Recorder {
    seen: Arc<Mutex<Seen>>,
    board: Option<VirtualBoard>,
    state: MemoryState,
}

pub(crate) struct Seen {
    pub(crate) sent: Vec<Outgoing>,
    pub(crate) lines: Vec<(Level, String)>,
    pub(crate) refuse: Option<Fault>,
    pub(crate) now_ms: u64,
}

/// The check in this process, where a budget can be chosen.
struct Check(Limits);

impl ScriptCheck for Check {
    fn check(&self, component: &[u8]) -> Result<(), Refusal> {
        load(component)
            .check(self.0.clone())
            .map_err(|error| match error {
                CheckError::Script(text) => Refusal::Script(text),
                CheckError::Machine(text) => Refusal::Check(text),
            })
    }
}

pub(crate) fn build(source: &Source) -> Result<Vec<u8>, BuildError> {
    iottly_builder::build(source, &Check(Limits::default()))
}

pub(crate) fn build_within(source: &Source, budget: Duration) -> Result<Vec<u8>, BuildError> {
    let limits = Limits {
        init: budget,
        ..Limits::default()
    };
    iottly_builder::build(source, &Check(limits))
}

/// Loads a component with code.
pub(crate) fn compiled(wasm: &[u8]) -> Firmware {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache"), ready(wasm, dir.path())).unwrap();
    cache.load(&Runtime::new().unwrap(), wasm).unwrap()
}

/// Returns a compiler that has compiled one component: cargo passes the path of the compiler's program only to tests of
/// its package, so the test itself compiles.
fn ready(wasm: &[u8], dir: &Path) -> CompilerProgram {
    let code = iottly_sandbox::compile_here(wasm, iottly_sandbox::Backend::Native).unwrap();
    let file = dir.join("code");
    std::fs::write(&file, code).unwrap();
    CompilerProgram {
        path: "/bin/cat".into(),
        args: vec![file.into()],
    }
}

/// Loads a script on the engine, which is compiled once for all tests of this program.
fn load(component: &[u8]) -> Firmware {
    static ENGINE: OnceLock<(Cache, Runtime)> = OnceLock::new();
    let (cache, runtime) = ENGINE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let compiler = ready(iottly_engine::ENGINE, dir.path());
        let engine = ScriptEngine::new(iottly_engine::ABI, iottly_engine::ENGINE);
        let cache = Cache::open(dir.path().join("cache"), compiler)
            .unwrap()
            .with_engine(engine);
        let runtime = Runtime::new().unwrap();
        // The folder is removed; the engine stays mapped.
        cache.warm(&runtime).unwrap();
        (cache, runtime)
    });
    cache.load(runtime, component).unwrap()
}

pub(crate) fn sections(global: &str, init: &str, loop_: &str, handlers: &[(&str, &str)]) -> Source {
    let fixed = [("global", global), ("init", init), ("loop", loop_)];
    Source::sections(fixed.into_iter().chain(handlers.iter().copied()))
}

pub(crate) fn example(name: &str) -> Source {
    Source::from_dir(
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../firmware-examples")
            .join(name),
    )
    .unwrap()
}

impl Board {
    pub(crate) fn firmware(source: &Source) -> Firmware {
        load(&source.component().unwrap())
    }

    pub(crate) fn on(firmware: &Firmware, limits: Limits) -> Self {
        Self::with(firmware, limits, None)
    }

    fn with(firmware: &Firmware, limits: Limits, board: Option<VirtualBoard>) -> Self {
        let seen = Seen {
            sent: vec![],
            lines: vec![],
            refuse: None,
            now_ms: NOW_MS,
        };
        let host = Recorder {
            seen: Arc::new(Mutex::new(seen)),
            board,
            state: MemoryState::default(),
        };
        Self {
            instance: firmware.start(Box::new(host.clone()), limits).unwrap(),
            host,
        }
    }

    /// Starts firmware on a board and runs `init`.
    pub(crate) fn start_firmware_on(firmware: &Firmware, board: &VirtualBoard) -> Self {
        let mut started = Self::with(firmware, Limits::default(), Some(board.clone()));
        started.instance.init().unwrap();
        started
    }

    /// Builds firmware, starts it on a board and runs `init`.
    pub(crate) fn start_on(board: &VirtualBoard, source: &Source) -> Self {
        Self::start_firmware_on(&Self::firmware(source), board)
    }

    /// Builds and starts firmware without running `init`.
    pub(crate) fn load(source: &Source) -> Self {
        Self::on(&Self::firmware(source), Limits::default())
    }

    pub(crate) fn start(source: &Source) -> Self {
        let mut board = Self::load(source);
        board.instance.init().unwrap();
        board
    }

    pub(crate) fn run(script: &str) -> Self {
        Self::start(&Source::script(script))
    }

    pub(crate) fn tick(&mut self) -> Result<u32, CallError> {
        let now = self.seen().now_ms;
        self.instance.tick(now)
    }

    pub(crate) fn handle(&mut self, command: &str, values: serde_json::Value) -> Result<(), CallError> {
        self.instance.handle(command, &values.to_string())
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.host.seen.lock().unwrap()
    }

    pub(crate) fn sent(&self) -> Vec<String> {
        self.seen()
            .sent
            .iter()
            .map(|message| message.payload.clone())
            .collect()
    }

    pub(crate) fn lines(&self) -> Vec<(Level, String)> {
        self.seen().lines.clone()
    }
}

impl Host for Recorder {
    fn send(&mut self, message: Outgoing) -> Result<(), Fault> {
        let mut seen = self.seen.lock().unwrap();
        match seen.refuse.clone() {
            Some(fault) => Err(fault),
            None => {
                seen.sent.push(message);
                Ok(())
            }
        }
    }

    fn log(&mut self, level: Level, text: &str) {
        self.seen.lock().unwrap().lines.push((level, text.to_owned()));
    }

    fn now_ms(&mut self) -> u64 {
        self.seen.lock().unwrap().now_ms
    }

    fn board(&self) -> Option<Arc<dyn iottly_boards::Board>> {
        self.board
            .clone()
            .map(|board| Arc::new(board) as Arc<dyn iottly_boards::Board>)
    }

    fn state(&mut self) -> Option<&mut dyn StateStore> {
        Some(&mut self.state)
    }

    fn setting(&self, key: &str) -> Option<String> {
        (key == "interval").then(|| "{\"s\":5}".to_owned())
    }

    fn settings_version(&self) -> Option<u64> {
        Some(3)
    }
}
