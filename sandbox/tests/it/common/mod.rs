//! Small firmwares in text form, a host that records its calls, and a cache with the real compiler.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use iottly_boards::{Board, VirtualBoard};
use iottly_manifest::Interface;
use iottly_sandbox::{
    Cache, CompilerProgram, Fault, Firmware, Host, Instance, Level, Limits, LoadError, MemoryState, Outgoing,
    Runtime, StateStore,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Address of a successful result; for `tick` it requests 500 ms.
pub(crate) const FINE: &str = "(i32.const 1024)";

/// Returns a firmware in which some of `init handle tick event health shutdown` have the given bodies; each
/// leaves the address of its result. `memory` is the initial size in pages; `extra` goes into the module
/// unchanged.
pub(crate) fn firmware_with(bodies: &[(&str, &str)], memory: u32, extra: &str) -> Vec<u8> {
    firmware_importing("", bodies, memory, extra)
}

/// Returns a firmware with further imports, and with `[capabilities]` in its manifest.
pub(crate) fn board_firmware(
    capabilities: &str,
    imports: &str,
    bodies: &[(&str, &str)],
    extra: &str,
) -> Vec<u8> {
    let wasm = firmware_importing(imports, bodies, 4, extra);
    iottly_manifest::embed(&wasm, &format!("name = \"test\"\n[capabilities]\n{capabilities}")).unwrap()
}

fn firmware_importing(imports: &str, bodies: &[(&str, &str)], memory: u32, extra: &str) -> Vec<u8> {
    let body = |name: &str| {
        bodies
            .iter()
            .find(|(of, _)| *of == name)
            .map_or(FINE, |(_, body)| body)
    };
    let text = format!(
        r#"(module
  (import "iottly:firmware/telemetry@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32)))
  (import "iottly:firmware/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (import "iottly:firmware/clock@0.1.0" "now-ms" (func $now (result i64)))
  (import "iottly:firmware/random@0.1.0" "seed" (func $seed (result i64)))
  {imports}
  (memory (export "memory") {memory})
  (data (i32.const 1028) "\f4\01\00\00")
  (data (i32.const 4096) "{{\"n\": 1}}")
  (data (i32.const 4112) "alarm")
  (data (i32.const 4128) "hello log")
  (global $next (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get 3))))
  (func $init (export "iottly:firmware/app@0.1.0#init") (result i32) {init})
  (func $handle (export "iottly:firmware/app@0.1.0#handle") (param i32 i32 i32 i32) (result i32) {handle})
  (func $tick (export "iottly:firmware/app@0.1.0#tick") (param i64) (result i32) {tick})
  (func $event (export "iottly:firmware/app@0.1.0#event") (param i32 i64) (result i32) {event})
  (func $health (export "iottly:firmware/app@0.1.0#health") (result i32) {health})
  (func $shutdown (export "iottly:firmware/app@0.1.0#shutdown") (param i32 i32) (result i32) {shutdown})
  {extra})"#,
        init = body("init"),
        handle = body("handle"),
        tick = body("tick"),
        event = body("event"),
        health = body("health"),
        shutdown = body("shutdown"),
    );
    component(&text)
}

pub(crate) fn firmware(bodies: &[(&str, &str)]) -> Vec<u8> {
    firmware_with(bodies, 4, "")
}

fn component(text: &str) -> Vec<u8> {
    let mut core = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("wit"))
        .unwrap();
    let world = resolve.select_world(&[package], Some("firmware")).unwrap();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default()
        .module(&core)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap()
}

pub(crate) fn compiler() -> CompilerProgram {
    CompilerProgram {
        path: env!("CARGO_BIN_EXE_iottly-compile").into(),
        args: vec![],
    }
}

/// Returns a compiler that is this shell script.
pub(crate) fn shell(script: &str) -> CompilerProgram {
    CompilerProgram {
        path: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
    }
}

pub(crate) fn load(wasm: &[u8]) -> Result<Firmware, LoadError> {
    let dir = tempfile::tempdir().unwrap();
    Cache::open(dir.path().join("cache"), compiler())
        .unwrap()
        .load(&Runtime::new().unwrap(), wasm)
}

pub(crate) fn start(wasm: &[u8], limits: Limits) -> (Instance, Recorder) {
    start_on(None, wasm, limits)
}

/// Starts a firmware on a board, with room for state.
pub(crate) fn start_on(board: Option<&VirtualBoard>, wasm: &[u8], limits: Limits) -> (Instance, Recorder) {
    let recorder = Recorder::default();
    recorder.seen().board = board.cloned();
    recorder.seen().state = Some(MemoryState::default());
    let instance = load(wasm)
        .unwrap()
        .start(Box::new(recorder.clone()), limits)
        .unwrap();
    (instance, recorder)
}

/// Host that records its calls.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    seen: Arc<Mutex<Seen>>,
    /// State that the firmware uses while it runs.
    state: Option<MemoryState>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) sent: Vec<Outgoing>,
    pub(crate) lines: Vec<(Level, String)>,
    pub(crate) refuse: Option<Fault>,
    pub(crate) delay: std::time::Duration,
    /// Processor time that each log line costs the host.
    pub(crate) work: std::time::Duration,
    pub(crate) board: Option<VirtualBoard>,
    pub(crate) state: Option<MemoryState>,
    pub(crate) refused_labels: Vec<String>,
    pub(crate) settings: BTreeMap<String, String>,
}

impl Recorder {
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

impl Host for Recorder {
    fn send(&mut self, message: Outgoing) -> Result<(), Fault> {
        let mut seen = self.seen();
        std::thread::sleep(seen.delay);
        if let Some(fault) = seen.refuse.clone() {
            return Err(fault);
        }
        seen.sent.push(message);
        Ok(())
    }

    fn log(&mut self, level: Level, text: &str) {
        let mut seen = self.seen();
        let began = std::time::Instant::now();
        while began.elapsed() < seen.work {
            std::hint::spin_loop();
        }
        seen.lines.push((level, text.to_owned()));
    }

    fn now_ms(&mut self) -> u64 {
        1_700_000_000_000
    }

    fn board(&self) -> Option<Arc<dyn Board>> {
        self.seen()
            .board
            .clone()
            .map(|board| Arc::new(board) as Arc<dyn Board>)
    }

    fn grants(&self, _: Interface, label: &str) -> bool {
        !self.seen().refused_labels.iter().any(|refused| refused == label)
    }

    fn state(&mut self) -> Option<&mut dyn StateStore> {
        if self.state.is_none() {
            let state = self.seen().state.clone();
            self.state = state;
        }
        self.state.as_mut().map(|state| state as &mut dyn StateStore)
    }

    fn setting(&self, key: &str) -> Option<String> {
        self.seen().settings.get(key).cloned()
    }
}
