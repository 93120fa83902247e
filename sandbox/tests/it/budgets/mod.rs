//! One file for each budget: a use within it succeeds, a use beyond it is a fault with its name, or a named
//! trap where the call has no error result.

mod bus;
mod call_time;
mod cpu_share;
mod handles;
mod host_calls;
mod linear_memory;
mod log_rate;
mod publish_rate;
mod stack;
mod state;
mod tables;
mod timers;
mod waiting;

use iottly_boards::VirtualBoard;
use iottly_sandbox::{CallError, Fault, Instance};

/// Sends `{"n": 1}` and returns the host's result.
const SEND: &str = "(call $send (i32.const 4096) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048)) (i32.const 2048)";

/// Opens a bus and transfers.
const I2C: &str = r#"
  (import "iottly:firmware/i2c@0.1.0" "open" (func $open (param i32 i32 i32)))
  (import "iottly:firmware/i2c@0.1.0" "[method]bus.transaction" (func $transact (param i32 i32 i32 i32 i32)))"#;
/// Capabilities that `I2C` needs in its manifest.
const SENSORS: &str = "i2c = [\"alarm\"]";

fn board() -> VirtualBoard {
    VirtualBoard::new().with_i2c("alarm", 0x50, iottly_boards::virtual_board::RegisterMap::new(256))
}

fn limit(outcome: Result<(), CallError>) -> String {
    match outcome {
        Err(CallError::Fault(Fault::Limit(text))) => text,
        other => panic!("no limit: {other:?}"),
    }
}

/// Calls `handle` until it is refused; returns the number of calls before that.
fn until_refused(instance: &mut Instance) -> (usize, String) {
    for count in 0..10_000 {
        if let Err(error) = instance.handle("x", "{}") {
            return (count, limit(Err(error)));
        }
    }
    panic!("never refused")
}
