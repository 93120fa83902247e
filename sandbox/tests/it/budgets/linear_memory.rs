//! Linear memory, grown and initial.

use iottly_sandbox::{CallError, Limits, StartError, TrapCode};

use crate::common::{Recorder, firmware, firmware_with, load, start};

#[test]
fn a_hog_gets_no_more_than_its_share() {
    // Grows page by page until refused and reports the size in pages as its next delay.
    let hog = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (i32.store (i32.const 1028) (memory.size)) (i32.const 1024)";
    let (mut instance, _) = start(
        &firmware(&[("tick", hog)]),
        Limits {
            memory_bytes: 2 << 20,
            ..Limits::default()
        },
    );
    assert_eq!(instance.tick(0), Ok(32), "2 MiB are 32 pages");
    assert_eq!(instance.tick(0), Ok(32), "refused memory is not a trap");
}

#[test]
fn memory_needed_at_the_start_is_named_when_it_is_too_much() {
    let firmware = load(&firmware_with(&[], 64, "")).unwrap();
    let start = |memory_bytes| {
        firmware.start(
            Box::new(Recorder::default()),
            Limits {
                memory_bytes,
                ..Limits::default()
            },
        )
    };
    assert!(start(4 << 20).is_ok());
    let Err(StartError::Trap(report)) = start(1 << 20) else {
        panic!("it started")
    };
    assert_eq!(
        (report.code, report.export),
        (TrapCode::Memory, "start"),
        "{report}"
    );
}

#[test]
fn an_access_out_of_bounds_is_a_trap() {
    let (mut instance, _) = start(
        &firmware(&[("tick", "(i32.load (i32.const 0x7fffffff))")]),
        Limits::default(),
    );
    assert!(matches!(instance.tick(0), Err(CallError::Trap(report)) if report.code == TrapCode::Memory));
}
