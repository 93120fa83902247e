//! Timers, edges and serial data reach the firmware's `event`, with the number it was given for them.

use std::time::{Duration, Instant};

use iottly_boards::VirtualBoard;
use iottly_sandbox::{Instance, Limits};

use crate::common::{board_firmware, start, start_on};

/// Leaves the source of the last event to `tick`, which returns it as its delay.
const EVENT: (&str, &str) = (
    "event",
    "(i32.store (i32.const 1028) (local.get 0)) (i32.const 1032)",
);

fn next(instance: &mut Instance) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "no event came");
        let Some(at) = instance.next_event_at() else {
            continue;
        };
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if instance.deliver().unwrap() {
            return instance.tick(0).unwrap();
        }
    }
}

#[test]
fn timers_arrive_in_their_order() {
    const TIMERS: &str = r#"
      (import "iottly:firmware/timers@0.1.0" "start" (func $start (param i32 i32 i32)))
      (import "iottly:firmware/timers@0.1.0" "cancel" (func $cancel (param i32)))"#;
    // Sources are numbered from 1 on: 30 ms once, 20 ms forever, one that is cancelled at once.
    let init = "(call $start (i32.const 30) (i32.const 0) (i32.const 2048))
        (call $start (i32.const 20) (i32.const 1) (i32.const 2048))
        (call $start (i32.const 1) (i32.const 0) (i32.const 2048)) (call $cancel (i32.const 3)) (i32.const 1032)";
    let (mut instance, _) = start(
        &board_firmware("", TIMERS, &[("init", init), EVENT], ""),
        Limits::default(),
    );
    assert_eq!(instance.next_event_at(), None);
    instance.init().unwrap();
    assert_eq!(
        [next(&mut instance), next(&mut instance), next(&mut instance)],
        [2, 1, 2]
    );
}

#[test]
fn edges_arrive_while_the_pin_is_open() {
    const GPIO: &str = r#"
      (import "iottly:firmware/gpio@0.1.0" "open-input" (func $open (param i32 i32 i32 i32)))
      (import "iottly:firmware/gpio@0.1.0" "[method]input-pin.watch" (func $watch (param i32 i32 i32)))
      (import "iottly:firmware/gpio@0.1.0" "[resource-drop]input-pin" (func $close (param i32)))"#;
    let init = "(call $open (i32.const 4112) (i32.const 5) (i32.const 0) (i32.const 2048))
        (call $watch (i32.load (i32.const 2052)) (i32.const 0) (i32.const 3072))
        (call $watch (i32.load (i32.const 2052)) (i32.const 1) (i32.const 3072)) (i32.const 1032)";
    let close = "(call $close (i32.load (i32.const 2052))) (i32.const 1032)";
    let wasm = board_firmware(
        "gpio = [\"alarm\"]",
        GPIO,
        &[("init", init), ("handle", close), EVENT],
        "",
    );
    let board = VirtualBoard::new().with_pin("alarm");
    let (mut instance, _) = start_on(Some(&board), &wasm, Limits::default());
    instance.init().unwrap();
    for high in [true, false, true] {
        board.set_pin("alarm", high).unwrap();
    }
    assert_eq!(
        [next(&mut instance), next(&mut instance), next(&mut instance)],
        [1, 2, 1],
        "rising is 1, falling is 2"
    );
    instance.handle("close", "{}").unwrap();
    board.set_pin("alarm", false).unwrap();
    assert_eq!(instance.deliver(), Ok(false));
}

#[test]
fn serial_data_is_told_once_until_it_is_read() {
    const UART: &str = r#"
      (import "iottly:firmware/uart@0.1.0" "open" (func $open (param i32 i32 i32 i32 i32 i32)))
      (import "iottly:firmware/uart@0.1.0" "[method]port.watch" (func $watch (param i32 i32)))
      (import "iottly:firmware/uart@0.1.0" "[method]port.read" (func $read (param i32 i32 i32)))"#;
    let init = "(call $open (i32.const 4112) (i32.const 5) (i32.const 9600) (i32.const 0) (i32.const 1) (i32.const 2048))
        (call $watch (i32.load (i32.const 2052)) (i32.const 3072)) (i32.const 1032)";
    // `health` reads at most eight bytes and fails when that was refused.
    let read = "(call $read (i32.load (i32.const 2052)) (i32.const 8) (i32.const 3072))
        (if (i32.load8_u (i32.const 3072)) (then (unreachable))) (i32.const 1032)";
    let wasm = board_firmware(
        "uart = [\"alarm\"]",
        UART,
        &[("init", init), ("health", read), EVENT],
        "",
    );
    let board = VirtualBoard::new().with_uart("alarm", false);
    let (mut instance, _) = start_on(Some(&board), &wasm, Limits::default());
    instance.init().unwrap();
    board.receive("alarm", b"some").unwrap();
    board.receive("alarm", b"thing more").unwrap();
    assert_eq!(next(&mut instance), 1);
    assert_eq!(instance.deliver(), Ok(false), "one event until it is read");
    instance.health().unwrap();
    assert_eq!(next(&mut instance), 1, "eight of fourteen bytes were read");
    instance.health().unwrap();
    assert_eq!(instance.deliver(), Ok(false), "all is read");
    board.receive("alarm", b"x").unwrap();
    assert_eq!(next(&mut instance), 1);
}
