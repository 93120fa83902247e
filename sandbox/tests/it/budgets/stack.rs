//! The stack.

use iottly_sandbox::{CallError, Limits, TrapCode};

use crate::common::{firmware_with, start};

#[test]
fn deep_recursion_names_itself() {
    let wasm = firmware_with(
        &[("handle", "(call $deeper (i32.const 1))")],
        4,
        "(func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))",
    );
    let (mut instance, _) = start(&wasm, Limits::default());
    let CallError::Trap(report) = instance.handle("dive", "{}").unwrap_err() else {
        panic!("no trap")
    };
    assert_eq!((report.code, report.export), (TrapCode::StackOverflow, "handle"));
    assert_eq!(report.functions.len(), 16, "the stack is cut");
    assert!(report.functions[0].contains("deeper"), "{:?}", report.functions);
}
