//! All waits of one call together.

use std::time::Duration;

use iottly_sandbox::Limits;

use super::limit;
use crate::common::{board_firmware, start};

#[test]
fn all_waiting_of_one_call_together() {
    const DELAY: &str = r#"(import "iottly:firmware/clock@0.1.0" "delay-ns" (func $delay (param i32 i32)))"#;
    // Twenty milliseconds at a time until it is refused.
    let body = "(loop $again (call $delay (i32.const 20000000) (i32.const 2048)) (br_if $again (i32.eqz (i32.load8_u (i32.const 2048)))))
        (i32.const 2048)";
    let limits = Limits {
        wait: Duration::from_millis(100),
        ..Limits::default()
    };
    let (mut instance, _) = start(&board_firmware("", DELAY, &[("handle", body)], ""), limits);
    assert_eq!(
        limit(instance.handle("x", "{}")),
        "the running call has waited for 100 ms, which is the limit"
    );
}
