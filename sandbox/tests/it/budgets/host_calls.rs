//! Host calls per second: a fault where the call has an error result, a named trap otherwise.

use iottly_sandbox::{CallError, Limits, TrapCode};

use super::{SEND, until_refused};
use crate::common::{firmware, start};

#[test]
fn host_calls_a_second_are_a_fault_where_one_can_be_answered() {
    let limits = Limits {
        calls_per_s: 100,
        ..Limits::default()
    };
    let (mut instance, _) = start(&firmware(&[("handle", SEND)]), limits);
    assert_eq!(
        until_refused(&mut instance).1,
        "more than 100 host calls a second"
    );
}

#[test]
fn host_calls_a_second_are_a_named_trap_where_none_can() {
    let flood = "(loop $again (drop (call $now)) (br $again)) (unreachable)";
    let limits = Limits {
        calls_per_s: 1000,
        ..Limits::default()
    };
    let (mut instance, _) = start(&firmware(&[("tick", flood)]), limits);
    let Err(CallError::Trap(report)) = instance.tick(0) else {
        panic!("no trap")
    };
    assert_eq!(
        (report.code, report.message.as_str()),
        (TrapCode::HostCalls, "more than 1000 host calls a second")
    );
}
