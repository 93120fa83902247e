//! Memory, stack and tables stay within their limits.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod common;

use common::{Recorder, firmware, firmware_with, load, start};
use iottly_sandbox::{CallError, Limits, StartError, TrapCode};

#[test]
fn a_hog_gets_no_more_than_its_share() {
    // Grows page by page until refused and reports the size in pages as its next delay.
    let hog = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (i32.store (i32.const 1028) (memory.size)) (i32.const 1024)";
    let (mut instance, _) = start(&firmware(&[("tick", hog)]), Limits { memory_bytes: 2 << 20, ..Limits::default() });
    assert_eq!(instance.tick(0), Ok(32), "2 MiB are 32 pages");
    assert_eq!(instance.tick(0), Ok(32), "being refused memory is no trap");
}

#[test]
fn memory_needed_at_the_start_is_named_when_it_is_too_much() {
    let firmware = load(&firmware_with(&[], 64, "")).unwrap();
    let start = |memory_bytes| firmware.start(Box::new(Recorder::default()), Limits { memory_bytes, ..Limits::default() });
    assert!(start(4 << 20).is_ok());
    let Err(StartError::Trap(report)) = start(1 << 20) else { panic!("it started") };
    assert_eq!((report.code, report.export), (TrapCode::Memory, "start"), "{report}");
}

#[test]
fn deep_recursion_names_itself() {
    let wasm = firmware_with(
        &[("handle", "(call $deeper (i32.const 1))")],
        4,
        "(func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))",
    );
    let (mut instance, _) = start(&wasm, Limits::default());
    let CallError::Trap(report) = instance.handle("dive", "{}").unwrap_err() else { panic!("no trap") };
    assert_eq!((report.code, report.export), (TrapCode::StackOverflow, "handle"));
    assert_eq!(report.functions.len(), 16, "the stack is cut");
    assert!(report.functions[0].contains("deeper"), "{:?}", report.functions);
}

#[test]
fn a_large_table_is_refused_by_name() {
    let wasm = firmware_with(&[], 4, "(table 20000 funcref)");
    let Err(StartError::Trap(report)) = load(&wasm).unwrap().start(Box::new(Recorder::default()), Limits::default()) else {
        panic!("it started")
    };
    assert_eq!(report.code, TrapCode::Resources, "{report}");
    assert!(report.message.contains("20000 elements exceeds the limit of 10000"), "{report}");
}

#[test]
fn an_access_out_of_bounds_is_a_trap() {
    let (mut instance, _) = start(&firmware(&[("tick", "(i32.load (i32.const 0x7fffffff))")]), Limits::default());
    assert!(matches!(instance.tick(0), Err(CallError::Trap(report)) if report.code == TrapCode::Memory));
}
