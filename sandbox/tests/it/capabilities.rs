//! A firmware reaches what its manifest names and the device grants, and nothing else.

use iottly_boards::VirtualBoard;
use iottly_sandbox::{CallError, Fault, Limits, LoadError};

use crate::common::{Recorder, board_firmware, firmware, load, start_on};

/// Opens the output pin whose label is at 4112, drives it high and drops it. The result is the host's, at
/// 2048.
const GPIO: &str = r#"
  (import "iottly:firmware/gpio@0.1.0" "open-output" (func $open (param i32 i32 i32 i32)))
  (import "iottly:firmware/gpio@0.1.0" "[resource-drop]output-pin" (func $close (param i32)))"#;
/// `alarm` has 5 bytes.
const OPEN: &str = "(call $open (i32.const 4112) (i32.const 5) (i32.const 1) (i32.const 2048))
  (if (i32.eqz (i32.load8_u (i32.const 2048))) (then (call $close (i32.load (i32.const 2052)))))
  (i32.const 2048)";

fn opener(capabilities: &str) -> Vec<u8> {
    board_firmware(capabilities, GPIO, &[("handle", OPEN)], "")
}

fn opened(capabilities: &str, board: &VirtualBoard, refused: &[&str]) -> Result<(), CallError> {
    let (mut instance, recorder) = start_on(Some(board), &opener(capabilities), Limits::default());
    recorder.seen().refused_labels = refused.iter().map(|label| (*label).to_owned()).collect();
    instance.handle("x", "{}")
}

fn fault(outcome: Result<(), CallError>) -> Fault {
    match outcome {
        Err(CallError::Fault(fault)) => fault,
        other => panic!("no fault: {other:?}"),
    }
}

#[test]
fn what_is_asked_for_and_granted_is_reached() {
    let board = VirtualBoard::new().with_pin("alarm");
    opened("gpio = [\"alarm\"]", &board, &[]).unwrap();
    assert_eq!(board.pin("alarm"), Ok(true));
}

#[test]
fn what_the_manifest_does_not_ask_for_is_denied_by_name() {
    let board = VirtualBoard::new().with_pin("alarm");
    let denied = fault(opened("gpio = [\"led\"]", &board, &[]));
    assert_eq!(
        denied,
        Fault::Denied("gpio \"alarm\": the firmware's manifest does not ask for it".into())
    );
    assert_eq!(board.pin("alarm"), Ok(false));
}

#[test]
fn what_the_device_does_not_grant_is_denied_by_name() {
    let board = VirtualBoard::new().with_pin("alarm");
    let denied = fault(opened("gpio = [\"alarm\"]", &board, &["alarm"]));
    assert_eq!(
        denied,
        Fault::Denied("gpio \"alarm\": this device does not grant it".into())
    );
}

#[test]
fn what_the_board_does_not_have_is_unsupported() {
    let missing = fault(opened("gpio = [\"alarm\"]", &VirtualBoard::new(), &[]));
    assert_eq!(
        missing,
        Fault::Unsupported("the board has no pin \"alarm\"".into())
    );
    let (mut instance, _) = start_on(None, &opener("gpio = [\"alarm\"]"), Limits::default());
    assert_eq!(
        fault(instance.handle("x", "{}")),
        Fault::Unsupported("this device has no board".into())
    );
}

#[test]
fn an_import_that_the_manifest_hides_is_refused_by_name() {
    let refused = |capabilities| match load(&opener(capabilities)) {
        Err(LoadError::Manifest(text)) => text,
        other => panic!("{:?}", other.map(|_| ())),
    };
    assert_eq!(
        refused("i2c = [\"sensors\"]"),
        "the code imports gpio, and the manifest asks for no label of it"
    );
    assert_eq!(
        refused(""),
        "the code imports gpio, and the manifest asks for no label of it"
    );
}

#[test]
fn a_damaged_manifest_is_refused() {
    let wasm = firmware(&[]);
    let error = |wasm: &[u8]| load(wasm).err().unwrap().to_string();
    let unreadable = iottly_manifest::embed(&wasm, "name = 3").unwrap();
    assert!(
        error(&unreadable).starts_with("firmware manifest: line 1: invalid type"),
        "{}",
        error(&unreadable)
    );
    let once = iottly_manifest::embed(&wasm, "name = \"a\"").unwrap();
    let section = &once[wasm.len()..];
    assert_eq!(
        error(&[&once, section].concat()),
        "firmware manifest: the firmware has more than one manifest"
    );
}

#[test]
fn channels_are_denied_when_the_manifest_lists_others() {
    let send = "(call $send (i32.const 4096) (i32.const 8) (i32.const 1) (i32.const 4112) (i32.const 5) (i32.const 0) (i32.const 2048)) (i32.const 2048)";
    let outcome = |channels: &str| {
        let (mut instance, recorder) = start_on(
            None,
            &board_firmware(channels, "", &[("handle", send)], ""),
            Limits::default(),
        );
        let outcome = instance.handle("x", "{}");
        (outcome, recorder.seen().sent.len())
    };
    assert_eq!(outcome("channels = [\"alarm\"]"), (Ok(()), 1));
    assert_eq!(outcome(""), (Ok(()), 1));
    let (denied, sent) = outcome("channels = [\"other\"]");
    assert_eq!(
        (fault(denied), sent),
        (
            Fault::Denied("channel \"alarm\": the firmware's manifest does not ask for it".into()),
            0
        )
    );
}

#[test]
fn a_manifest_narrows_the_limits_and_never_widens_them() {
    let hog = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (i32.store (i32.const 1028) (memory.size)) (i32.const 1024)";
    let pages = |memory: usize| {
        let wasm = iottly_manifest::embed(
            &firmware(&[("tick", hog)]),
            &format!("name = \"a\"\nsizes.memory = {memory}"),
        )
        .unwrap();
        let limits = Limits {
            memory_bytes: 2 << 20,
            ..Limits::default()
        };
        load(&wasm)
            .unwrap()
            .start(Box::new(Recorder::default()), limits)
            .unwrap()
            .tick(0)
            .unwrap()
    };
    assert_eq!((pages(1 << 20), pages(1 << 30)), (16, 32));
}
