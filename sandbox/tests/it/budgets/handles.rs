//! Resources that are open at once.

use iottly_sandbox::Limits;

use super::{I2C, SENSORS, board, until_refused};
use crate::common::{board_firmware, start_on};

#[test]
fn things_open_at_once() {
    let body = "(call $open (i32.const 4112) (i32.const 5) (i32.const 2048)) (i32.const 2048)";
    let wasm = board_firmware(SENSORS, I2C, &[("handle", body)], "");
    let (mut instance, _) = start_on(
        Some(&board()),
        &wasm,
        Limits {
            handles: 4,
            ..Limits::default()
        },
    );
    assert_eq!(
        until_refused(&mut instance),
        (4, "more than 4 resources are open".to_owned())
    );
}
