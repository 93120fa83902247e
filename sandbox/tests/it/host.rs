//! Calls that reach the host, and calls that do not.

use iottly_sandbox::{CallError, Fault, Instance, Limits, Outgoing, TrapCode};

use crate::common::{Recorder, firmware, firmware_with, start};

/// Returns a handler that sends `len` bytes at `ptr` and returns the host's result.
fn sender(ptr: u32, len: u32, channel: &str, durable: u32) -> String {
    format!(
        "(call $send (i32.const {ptr}) (i32.const {len}) {channel} (i32.const {durable}) (i32.const 2048)) (i32.const 2048)"
    )
}

const NO_CHANNEL: &str = "(i32.const 0) (i32.const 0) (i32.const 0)";

fn sending(ptr: u32, len: u32, pages: u32) -> (Instance, Recorder) {
    start(
        &firmware_with(&[("handle", &sender(ptr, len, NO_CHANNEL, 0))], pages, ""),
        Limits::default(),
    )
}

#[test]
fn a_message_arrives_as_it_was_written() {
    let channel = "(i32.const 1) (i32.const 4112) (i32.const 5)";
    let (mut instance, recorder) = start(
        &firmware(&[("handle", &sender(4096, 8, channel, 1))]),
        Limits::default(),
    );
    instance.handle("x", "{}").unwrap();
    let expected = Outgoing {
        channel: Some("alarm".into()),
        payload: "{\"n\": 1}".into(),
        durable: true,
    };
    assert_eq!(recorder.seen().sent, [expected]);
}

#[test]
fn the_hosts_refusal_is_the_firmwares_fault() {
    let (mut instance, recorder) = sending(4096, 8, 4);
    recorder.seen().refuse = Some(Fault::Limit("the queue is full".into()));
    assert_eq!(
        instance.handle("x", "{}"),
        Err(CallError::Fault(Fault::Limit("the queue is full".into())))
    );
    recorder.seen().refuse = Some(Fault::Busy);
    assert_eq!(instance.handle("x", "{}"), Err(CallError::Fault(Fault::Busy)));
    recorder.seen().refuse = None;
    assert_eq!(
        instance.handle("x", "{}"),
        Ok(()),
        "a fault does not end the instance"
    );
}

#[test]
fn a_payload_that_is_too_large_is_a_fault_and_no_trap() {
    let (mut instance, recorder) = sending(65536, 2 << 20, 64);
    for _ in 0..2 {
        let CallError::Fault(Fault::Limit(text)) = instance.handle("x", "{}").unwrap_err() else {
            panic!("no limit")
        };
        assert_eq!(text, "the payload has 2097152 bytes, the limit is 1048576");
    }
    assert!(recorder.seen().sent.is_empty());
}

#[test]
fn a_payload_that_is_no_object_is_a_fault() {
    let (mut instance, recorder) = sending(4097, 7, 4);
    assert!(matches!(
        instance.handle("x", "{}"),
        Err(CallError::Fault(Fault::Invalid(_)))
    ));
    assert!(recorder.seen().sent.is_empty());
}

#[test]
fn text_outside_the_firmwares_memory_is_a_trap() {
    let (mut instance, _) = sending(0x7fff_0000, 100, 4);
    let CallError::Trap(report) = instance.handle("x", "{}").unwrap_err() else {
        panic!("no trap")
    };
    assert_eq!(report.code, TrapCode::Memory, "{report}");
}

#[test]
fn a_channel_name_is_checked() {
    let refused = |channel: &str| {
        let (mut instance, _) = start(
            &firmware(&[("handle", &sender(4096, 8, channel, 0))]),
            Limits::default(),
        );
        instance.handle("x", "{}").unwrap_err().to_string()
    };
    assert_eq!(
        refused("(i32.const 1) (i32.const 4112) (i32.const 0)"),
        "invalid: the channel's name is empty"
    );
    assert_eq!(
        refused("(i32.const 1) (i32.const 4112) (i32.const 129)"),
        "limit: the channel's name has 129 bytes, the limit is 128"
    );
    assert_eq!(
        refused("(i32.const 1) (i32.const 0) (i32.const 3)"),
        "invalid: the channel's name contains control characters"
    );
}

#[test]
fn seeds_differ_and_fit_a_javascript_number() {
    let seed =
        "(i64.store (i32.const 1024) (i64.const 0)) (i32.store (i32.const 1028) (i32.wrap_i64 (call $seed)))
        (if (i64.ge_u (call $seed) (i64.const 0x20000000000000)) (then (unreachable))) (i32.const 1024)";
    let (mut instance, _) = start(&firmware(&[("tick", seed)]), Limits::default());
    let seeds: std::collections::BTreeSet<u32> = (0..50).map(|_| instance.tick(0).unwrap()).collect();
    assert!(seeds.len() > 45);
}

#[test]
fn a_fault_of_the_firmware_is_told_apart() {
    // result: error, fault "unsupported" with the text at 4128.
    let unsupported = "(i32.store8 (i32.const 2048) (i32.const 1)) (i32.store8 (i32.const 2052) (i32.const 1))
        (i32.store (i32.const 2056) (i32.const 4128)) (i32.store (i32.const 2060) (i32.const 5)) (i32.const 2048)";
    let (mut instance, _) = start(&firmware(&[("handle", unsupported)]), Limits::default());
    assert_eq!(
        instance.handle("x", "{}"),
        Err(CallError::Fault(Fault::Unsupported("hello".into())))
    );
}
