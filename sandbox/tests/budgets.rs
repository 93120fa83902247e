//! Rates, counts and sizes: each budget ends in a fault with its name, or in a named trap where no fault can be answered.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod common;

use std::time::{Duration, Instant};

use common::{board_firmware, firmware, start, start_on};
use iottly_boards::VirtualBoard;
use iottly_sandbox::{CallError, Fault, Instance, Limits, TrapCode};

fn limit(outcome: Result<(), CallError>) -> String {
    match outcome {
        Err(CallError::Fault(Fault::Limit(text))) => text,
        other => panic!("no limit: {other:?}"),
    }
}

/// Calls `handle` until it is refused; answers how often it was not.
fn until_refused(instance: &mut Instance) -> (usize, String) {
    for count in 0..10_000 {
        if let Err(error) = instance.handle("x", "{}") {
            return (count, limit(Err(error)));
        }
    }
    panic!("never refused")
}

const SEND: &str = "(call $send (i32.const 4096) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048)) (i32.const 2048)";

#[test]
fn messages_a_second() {
    let limits = Limits { sends_per_s: 20, ..Limits::default() };
    let (mut instance, recorder) = start(&firmware(&[("handle", SEND)]), limits);
    let (sent, refusal) = until_refused(&mut instance);
    assert!((20..2000).contains(&sent), "{sent}");
    assert_eq!((refusal.as_str(), recorder.seen().sent.len()), ("more than 20 messages a second", sent));
}

#[test]
fn bytes_of_messages_a_second() {
    let limits = Limits { send_bytes_per_s: 100, ..Limits::default() };
    let (mut instance, _) = start(&firmware(&[("handle", SEND)]), limits);
    let (sent, refusal) = until_refused(&mut instance);
    assert!((12..2000).contains(&sent), "{sent}");
    assert_eq!(refusal, "more than 100 bytes of messages a second");
}

#[test]
fn host_calls_a_second_are_a_fault_where_one_can_be_answered() {
    let limits = Limits { calls_per_s: 100, ..Limits::default() };
    let (mut instance, _) = start(&firmware(&[("handle", SEND)]), limits);
    assert_eq!(until_refused(&mut instance).1, "more than 100 host calls a second");
}

#[test]
fn host_calls_a_second_are_a_named_trap_where_none_can() {
    let flood = "(loop $again (drop (call $now)) (br $again)) (unreachable)";
    let limits = Limits { calls_per_s: 1000, ..Limits::default() };
    let (mut instance, _) = start(&firmware(&[("tick", flood)]), limits);
    let Err(CallError::Trap(report)) = instance.tick(0) else { panic!("no trap") };
    assert_eq!((report.code, report.message.as_str()), (TrapCode::HostCalls, "more than 1000 host calls a second"));
}

const STATE: &str = r#"
  (import "iottly:firmware/state@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))
  (import "iottly:firmware/state@0.1.0" "keys" (func $keys (param i32 i32 i32)))"#;

/// Sets key `length` bytes from 16384 + a counter on, to `value` bytes; a new key at each call.
fn setter(key: u32, value: u32) -> Vec<u8> {
    let set = format!(
        "(global.set $n (i32.add (global.get $n) (i32.const 1)))
         (i32.store8 (i32.const 16384) (i32.add (i32.const 33) (global.get $n)))
         (call $set (i32.const 16384) (i32.const {key}) (i32.const 20480) (i32.const {value}) (i32.const 2048)) (i32.const 2048)"
    );
    board_firmware(
        "",
        STATE,
        &[("handle", &set)],
        "(global $n (mut i32) (i32.const 0)) (data (i32.const 16385) \"aaaaaaaaaaaaaaaaaaaa\")",
    )
}

#[test]
fn bytes_of_state() {
    let (mut instance, _) = start(&setter(10, 1000), Limits { state_bytes: 5000, state_sets_per_s: 1000, ..Limits::default() });
    let (count, refusal) = until_refused(&mut instance);
    assert_eq!((count, refusal.as_str()), (4, "the state would have 5050 bytes, the limit is 5000"));
}

#[test]
fn keys_of_state() {
    let (mut instance, _) = start(&setter(3, 1), Limits { state_keys: 7, state_sets_per_s: 1000, ..Limits::default() });
    assert_eq!(until_refused(&mut instance), (7, "the state has 7 keys already".to_owned()));
}

#[test]
fn changes_of_state_a_second() {
    let (mut instance, _) = start(&setter(3, 1), Limits { state_sets_per_s: 5, ..Limits::default() });
    let (count, refusal) = until_refused(&mut instance);
    assert!((5..60).contains(&count), "{count}");
    assert_eq!(refusal, "more than 5 changes of the state a second");
}

#[test]
fn a_value_larger_than_the_state_is_refused_before_it_is_copied() {
    let (mut instance, _) = start(&setter(3, 200_000), Limits::default());
    assert_eq!(limit(instance.handle("x", "{}")), "the state would have 200003 bytes, the limit is 65536");
}

#[test]
fn the_length_of_a_key() {
    let (mut instance, _) = start(&setter(15, 1), Limits { state_key_bytes: 14, ..Limits::default() });
    assert_eq!(limit(instance.handle("x", "{}")), "the key has 15 bytes, the limit is 14");
}

const TIMERS: &str = r#"(import "iottly:firmware/timers@0.1.0" "start" (func $start (param i32 i32 i32)))"#;

#[test]
fn timers_at_once() {
    let body = "(call $start (i32.const 60000) (i32.const 0) (i32.const 2048)) (i32.const 2048)";
    let (mut instance, _) =
        start(&board_firmware("", TIMERS, &[("handle", body)], ""), Limits { timers: 3, ..Limits::default() });
    assert_eq!(until_refused(&mut instance), (3, "more than 3 timers".to_owned()));
}

const I2C: &str = r#"
  (import "iottly:firmware/i2c@0.1.0" "open" (func $open (param i32 i32 i32)))
  (import "iottly:firmware/i2c@0.1.0" "[method]bus.transaction" (func $transact (param i32 i32 i32 i32 i32)))"#;
const SENSORS: &str = "i2c = [\"alarm\"]";

fn board() -> VirtualBoard {
    VirtualBoard::new().with_i2c("alarm", 0x50, iottly_boards::virtual_board::RegisterMap::new(256))
}

#[test]
fn things_open_at_once() {
    let body = "(call $open (i32.const 4112) (i32.const 5) (i32.const 2048)) (i32.const 2048)";
    let wasm = board_firmware(SENSORS, I2C, &[("handle", body)], "");
    let (mut instance, _) = start_on(Some(&board()), &wasm, Limits { handles: 4, ..Limits::default() });
    assert_eq!(until_refused(&mut instance), (4, "more than 4 things are open".to_owned()));
}

/// Opens the bus in `init`; `handle` runs `count` operations at 12288, each reading `bytes`. What it leaves at 3072 is the
/// transaction's answer: 0 or the case of the error and, 4 bytes behind each, the fault inside `other`.
fn transactor(count: u32, bytes: u32) -> Vec<u8> {
    let open = "(call $open (i32.const 4112) (i32.const 5) (i32.const 2048))
        (global.set $bus (i32.load (i32.const 2052))) (i32.const 2048)";
    let handle = format!(
        "(local $n i32)
         (loop $fill
           (i32.store (i32.add (i32.const 12292) (i32.mul (local.get $n) (i32.const 12))) (i32.const {bytes}))
           (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $fill (i32.lt_u (local.get $n) (i32.const {count}))))
         (call $transact (global.get $bus) (i32.const 80) (i32.const 12288) (i32.const {count}) (i32.const 3072))
         (if (i32.eqz (i32.load8_u (i32.const 3072))) (then (return (i32.const 1024))))
         ;; other(fault): hand it on. Anything else: the fault `failed` with nothing.
         (if (i32.eq (i32.load8_u (i32.const 3076)) (i32.const 5)) (then
           (i32.store8 (i32.const 2048) (i32.const 1))
           (i32.store (i32.const 2052) (i32.load (i32.const 3080)))
           (i64.store (i32.const 2056) (i64.load (i32.const 3084))) (return (i32.const 2048))))
         (i32.store8 (i32.const 2048) (i32.const 1)) (i32.store8 (i32.const 2052) (i32.const 6))
         (i32.store (i32.const 2056) (i32.const 4112)) (i32.store (i32.const 2060) (i32.load8_u (i32.const 3076)))
         (i32.const 2048)"
    );
    board_firmware(SENSORS, I2C, &[("init", open), ("handle", &handle)], "(global $bus (mut i32) (i32.const 0))")
}

fn transact(count: u32, bytes: u32, limits: Limits, board: &VirtualBoard) -> Result<(), CallError> {
    let (mut instance, _) = start_on(Some(board), &transactor(count, bytes), limits);
    instance.init().unwrap();
    instance.handle("x", "{}")
}

#[test]
fn a_transaction_within_its_limits_passes() {
    transact(3, 100, Limits::default(), &board()).unwrap();
}

#[test]
fn operations_of_a_transaction() {
    let text = limit(transact(33, 1, Limits::default(), &board()));
    assert_eq!(text, "33 operations in one transaction, the limit is 32");
}

#[test]
fn bytes_of_a_transaction_are_refused_before_they_are_made() {
    let text = limit(transact(1, u32::MAX, Limits::default(), &board()));
    assert_eq!(text, "a transaction of 4294967295 bytes or more, the limit is 4096");
}

/// The number of the error case `timed-out`, as `transactor` reports it: the first letters of `alarm`.
const TIMED_OUT: &str = "alar";

#[test]
fn a_bus_that_hangs_costs_its_timeout_and_is_busy_then() {
    let board = board();
    board.slow_i2c("alarm", Duration::from_secs(5)).unwrap();
    let limits = Limits { bus_wait: Duration::from_millis(50), ..Limits::default() };
    let (mut instance, _) = start_on(Some(&board), &transactor(1, 1), limits);
    instance.init().unwrap();
    let began = Instant::now();
    assert_eq!(instance.handle("x", "{}"), Err(CallError::Fault(Fault::Failed(TIMED_OUT.into()))));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(instance.handle("x", "{}"), Err(CallError::Fault(Fault::Busy)));
}

#[test]
fn all_waiting_of_one_call_together() {
    const DELAY: &str = r#"(import "iottly:firmware/clock@0.1.0" "delay-ns" (func $delay (param i32 i32)))"#;
    // Twenty milliseconds at a time until it is refused.
    let body = "(loop $again (call $delay (i32.const 20000000) (i32.const 2048)) (br_if $again (i32.eqz (i32.load8_u (i32.const 2048)))))
        (i32.const 2048)";
    let limits = Limits { wait: Duration::from_millis(100), ..Limits::default() };
    let (mut instance, _) = start(&board_firmware("", DELAY, &[("handle", body)], ""), limits);
    assert_eq!(limit(instance.handle("x", "{}")), "the running call has waited for 100 ms, which is all it may");
}

#[test]
fn the_share_of_the_processor() {
    let work = "(local $n i32) (local.set $n (i32.const 30000000))
        (loop $again (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $again (local.get $n))) (i32.const 1024)";
    let limits = Limits { tick: Duration::from_secs(5), cpu_percent: 1, ..Limits::default() };
    let (mut instance, _) = start(&firmware(&[("tick", work)]), limits);
    assert_eq!(instance.pause(), Duration::ZERO);
    let deadline = Instant::now() + Duration::from_secs(60);
    while instance.pause().is_zero() {
        assert!(Instant::now() < deadline, "it may go on for ever");
        instance.tick(0).unwrap();
    }
    assert!(instance.pause() <= Duration::from_secs(500));
}
