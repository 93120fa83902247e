//! Bytes, keys and changes of the key-value state.

use iottly_sandbox::Limits;

use super::{limit, until_refused};
use crate::common::{board_firmware, start};

const STATE: &str = r#"
  (import "iottly:firmware/state@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))
  (import "iottly:firmware/state@0.1.0" "keys" (func $keys (param i32 i32 i32)))"#;

/// Returns a firmware that sets the key of `key` bytes from 16384 + a counter on, to `value` bytes; a new key
/// at each call.
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
    let (mut instance, _) = start(
        &setter(10, 1000),
        Limits {
            state_bytes: 5000,
            state_sets_per_s: 1000,
            ..Limits::default()
        },
    );
    let (count, refusal) = until_refused(&mut instance);
    assert_eq!(
        (count, refusal.as_str()),
        (4, "the state would have 5050 bytes, the limit is 5000")
    );
}

#[test]
fn keys_of_state() {
    let (mut instance, _) = start(
        &setter(3, 1),
        Limits {
            state_keys: 7,
            state_sets_per_s: 1000,
            ..Limits::default()
        },
    );
    assert_eq!(
        until_refused(&mut instance),
        (7, "the state has 7 keys already".to_owned())
    );
}

#[test]
fn changes_of_state_a_second() {
    let (mut instance, _) = start(
        &setter(3, 1),
        Limits {
            state_sets_per_s: 5,
            ..Limits::default()
        },
    );
    let (count, refusal) = until_refused(&mut instance);
    assert!((5..60).contains(&count), "{count}");
    assert_eq!(refusal, "more than 5 changes of the state a second");
}

#[test]
fn a_value_larger_than_the_state_is_refused_before_it_is_copied() {
    let (mut instance, _) = start(&setter(3, 200_000), Limits::default());
    assert_eq!(
        limit(instance.handle("x", "{}")),
        "the state would have 200003 bytes, the limit is 65536"
    );
}

#[test]
fn the_length_of_a_key() {
    let (mut instance, _) = start(
        &setter(15, 1),
        Limits {
            state_key_bytes: 14,
            ..Limits::default()
        },
    );
    assert_eq!(
        limit(instance.handle("x", "{}")),
        "the key has 15 bytes, the limit is 14"
    );
}
