//! Tables.

use iottly_sandbox::{Limits, StartError, TrapCode};

use crate::common::{Recorder, firmware_with, load};

#[test]
fn a_large_table_is_refused_by_name() {
    let wasm = firmware_with(&[], 4, "(table 20000 funcref)");
    let Err(StartError::Trap(report)) = load(&wasm)
        .unwrap()
        .start(Box::new(Recorder::default()), Limits::default())
    else {
        panic!("it started")
    };
    assert_eq!(report.code, TrapCode::Resources, "{report}");
    assert!(
        report
            .message
            .contains("20000 elements exceeds the limit of 10000"),
        "{report}"
    );
}
