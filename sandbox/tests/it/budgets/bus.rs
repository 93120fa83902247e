//! Lists and lengths of a transaction are checked before anything is copied, and a bus that hangs costs its
//! timeout.

use std::time::{Duration, Instant};

use iottly_boards::VirtualBoard;
use iottly_sandbox::{CallError, Fault, Limits};

use super::{I2C, SENSORS, board, limit};
use crate::common::{board_firmware, start_on};

/// Returns a firmware that opens the bus in `init` and whose `handle` runs `count` operations at 12288, each
/// reading `bytes`. At 3072 it leaves the transaction's result: 0 or the case of the error and, 4 bytes after
/// each, the fault inside `other`.
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
    board_firmware(
        SENSORS,
        I2C,
        &[("init", open), ("handle", &handle)],
        "(global $bus (mut i32) (i32.const 0))",
    )
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
    assert_eq!(
        text,
        "a transaction of 4294967295 bytes or more, the limit is 4096"
    );
}

/// The number of the error case `timed-out`, as `transactor` reports it: the first letters of `alarm`.
const TIMED_OUT: &str = "alar";

#[test]
fn a_bus_that_hangs_costs_its_timeout_and_is_busy_then() {
    let board = board();
    board.slow_i2c("alarm", Duration::from_secs(5)).unwrap();
    let limits = Limits {
        bus_wait: Duration::from_millis(50),
        ..Limits::default()
    };
    let (mut instance, _) = start_on(Some(&board), &transactor(1, 1), limits);
    instance.init().unwrap();
    let began = Instant::now();
    assert_eq!(
        instance.handle("x", "{}"),
        Err(CallError::Fault(Fault::Failed(TIMED_OUT.into())))
    );
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(instance.handle("x", "{}"), Err(CallError::Fault(Fault::Busy)));
}
