//! Timers that run at once.

use iottly_sandbox::Limits;

use super::until_refused;
use crate::common::{board_firmware, start};

const TIMERS: &str = r#"(import "iottly:firmware/timers@0.1.0" "start" (func $start (param i32 i32 i32)))"#;

#[test]
fn timers_at_once() {
    let body = "(call $start (i32.const 60000) (i32.const 0) (i32.const 2048)) (i32.const 2048)";
    let (mut instance, _) = start(
        &board_firmware("", TIMERS, &[("handle", body)], ""),
        Limits {
            timers: 3,
            ..Limits::default()
        },
    );
    assert_eq!(until_refused(&mut instance), (3, "more than 3 timers".to_owned()));
}
