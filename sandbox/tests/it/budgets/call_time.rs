//! The time of one call: nothing runs longer than its budget, and no firmware is punished for waiting.

use std::time::Duration;

use iottly_sandbox::{CallError, Limits, StartError, TrapCode};

use crate::common::{FINE, Recorder, firmware, firmware_with, load, start};

const ENDLESS: &str = "(loop $again (br $again)) (unreachable)";

#[test]
fn an_endless_loop_ends_as_a_named_trap() {
    let limits = Limits {
        tick: Duration::from_millis(50),
        ..Limits::default()
    };
    let (mut instance, _) = start(&firmware(&[("tick", ENDLESS)]), limits);
    instance.init().unwrap();
    let CallError::Trap(report) = instance.tick(0).unwrap_err() else {
        panic!("no trap")
    };
    assert_eq!((report.code, report.export), (TrapCode::TimeBudget, "tick"));
    assert!(
        report.message.ends_with("the limit is 50 ms"),
        "{}",
        report.message
    );
    assert!(
        report.functions.iter().any(|name| name.contains("tick")),
        "{:?}",
        report.functions
    );
}

#[test]
fn every_export_has_its_own_budget() {
    let short = Duration::from_millis(20);
    let limits = Limits {
        init: short,
        handle: short,
        event: short,
        health: short,
        shutdown: short,
        ..Limits::default()
    };
    let endless = |export| start(&firmware(&[(export, ENDLESS)]), limits.clone()).0;
    let code = |outcome: Result<(), CallError>| match outcome.unwrap_err() {
        CallError::Trap(report) => (report.code, report.export),
        other => panic!("{other}"),
    };
    assert_eq!(code(endless("init").init()), (TrapCode::TimeBudget, "init"));
    assert_eq!(
        code(endless("handle").handle("x", "{}")),
        (TrapCode::TimeBudget, "handle")
    );
    assert_eq!(
        code(endless("event").event(1, 2)),
        (TrapCode::TimeBudget, "event")
    );
    assert_eq!(code(endless("health").health()), (TrapCode::TimeBudget, "health"));
    assert_eq!(
        code(endless("shutdown").shutdown("test")),
        (TrapCode::TimeBudget, "shutdown")
    );
}

#[test]
fn an_endless_start_function_is_stopped() {
    let wasm = firmware_with(&[], 4, &format!("(func $boot {ENDLESS}) (start $boot)"));
    let limits = Limits {
        init: Duration::from_millis(50),
        ..Limits::default()
    };
    let Err(StartError::Trap(report)) = load(&wasm).unwrap().start(Box::new(Recorder::default()), limits)
    else {
        panic!("it started")
    };
    assert_eq!((report.code, report.export), (TrapCode::TimeBudget, "start"));
}

#[test]
fn a_trapped_instance_refuses_further_calls_by_name() {
    let (mut instance, _) = start(&firmware(&[("tick", "(unreachable)")]), Limits::default());
    assert!(matches!(instance.tick(0), Err(CallError::Trap(report)) if report.code == TrapCode::Unreachable));
    assert_eq!(instance.init(), Err(CallError::Dead(TrapCode::Unreachable)));
    assert_eq!(
        instance.tick(0).unwrap_err().to_string(),
        "the instance ended in an earlier trap: unreachable"
    );
}

#[test]
fn a_budget_begins_anew_with_every_call() {
    // About ten milliseconds of work a call; twenty calls need far more than one budget.
    let work = "(local $n i32) (local.set $n (i32.const 10000000))
        (loop $again (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $again (local.get $n))) (i32.const 1024)";
    let (mut instance, _) = start(
        &firmware(&[("tick", work)]),
        Limits {
            tick: Duration::from_millis(100),
            ..Limits::default()
        },
    );
    for _ in 0..20 {
        assert_eq!(instance.tick(0), Ok(500));
    }
}

#[test]
fn waiting_for_a_slow_host_does_not_count() {
    let send =
        "(call $send (i32.const 4096) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 2048))
        (i32.const 1024)";
    let (mut instance, recorder) = start(
        &firmware(&[("tick", send)]),
        Limits {
            tick: Duration::from_millis(30),
            ..Limits::default()
        },
    );
    recorder.seen().delay = Duration::from_millis(300);
    assert_eq!(instance.tick(0), Ok(500));
    assert_eq!(recorder.seen().sent.len(), 1);
}

#[test]
fn firmware_that_does_nothing_wrong_runs_through_its_life() {
    let (mut instance, _) = start(&firmware(&[("tick", FINE)]), Limits::default());
    instance.init().unwrap();
    assert_eq!(instance.tick(1), Ok(500));
    instance.handle("echo", "{}").unwrap();
    instance.event(1, 2).unwrap();
    instance.health().unwrap();
    instance.shutdown("done").unwrap();
}
