//! The interpreter, for boards with 32-bit processors, enforces the same limits as machine code.

use std::time::Duration;

use iottly_sandbox::{Backend, Cache, CallError, Instance, Limits, Runtime, TrapCode};

use crate::common::{FINE, Recorder, compiler, firmware, firmware_with, shell};

fn start(wasm: &[u8], limits: Limits) -> (Instance, Recorder) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::with(Backend::Pulley).unwrap();
    let firmware = Cache::open(dir.path().join("cache"), compiler())
        .unwrap()
        .load(&runtime, wasm)
        .unwrap();
    let recorder = Recorder::default();
    let instance = firmware.start(Box::new(recorder.clone()), limits).unwrap();
    (instance, recorder)
}

fn trap(outcome: Result<u32, CallError>) -> TrapCode {
    match outcome {
        Err(CallError::Trap(report)) => report.code,
        other => panic!("no trap: {other:?}"),
    }
}

#[test]
fn a_firmware_runs_through_its_life() {
    let send = "(call $send (i32.const 4096) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048)) (i32.const 2048)";
    let (mut instance, recorder) = start(&firmware(&[("handle", send), ("tick", FINE)]), Limits::default());
    instance.init().unwrap();
    assert_eq!(instance.tick(1), Ok(500));
    instance.handle("x", "{}").unwrap();
    instance.health().unwrap();
    instance.shutdown("done").unwrap();
    assert_eq!(recorder.seen().sent[0].payload, "{\"n\": 1}");
}

#[test]
fn budgets_hold() {
    let limits = Limits {
        tick: Duration::from_millis(50),
        memory_bytes: 2 << 20,
        ..Limits::default()
    };
    let ends = |tick: &str| trap(start(&firmware(&[("tick", tick)]), limits.clone()).0.tick(0));
    assert_eq!(
        ends("(loop $again (br $again)) (unreachable)"),
        TrapCode::TimeBudget
    );
    assert_eq!(ends("(i32.load (i32.const 0x7fffffff))"), TrapCode::Memory);
    assert_eq!(
        ends("(i32.div_u (i32.const 1) (i32.const 0))"),
        TrapCode::Arithmetic
    );
    assert_eq!(ends("(unreachable)"), TrapCode::Unreachable);
    let deeper =
        "(func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))";
    let (mut diver, _) = start(
        &firmware_with(&[("tick", "(call $deeper (i32.const 1))")], 4, deeper),
        limits.clone(),
    );
    assert_eq!(trap(diver.tick(0)), TrapCode::StackOverflow);
    let hog = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (i32.store (i32.const 1028) (memory.size)) (i32.const 1024)";
    assert_eq!(start(&firmware(&[("tick", hog)]), limits).0.tick(0), Ok(32));
}

#[test]
fn one_cache_holds_both_kinds_of_code_and_never_mixes_them() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = firmware(&[]);
    let cache = Cache::open(dir.path(), compiler()).unwrap();
    let files = || {
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|file| file.as_ref().unwrap().path().extension().is_some())
            .count()
    };
    for (backend, count) in [(Backend::Native, 1), (Backend::Pulley, 2)] {
        cache.load(&Runtime::with(backend).unwrap(), &wasm).unwrap();
        assert_eq!(files(), count);
    }
    // Both are cached: no compiler is needed any more.
    let without = Cache::open(dir.path(), shell("exit 1")).unwrap();
    for backend in [Backend::Native, Backend::Pulley] {
        without.load(&Runtime::with(backend).unwrap(), &wasm).unwrap();
    }
}
