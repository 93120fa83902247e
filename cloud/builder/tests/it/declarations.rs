//! The declarations for editors, compared with what scripts really have.

use std::collections::BTreeSet;

use iottly_builder::DECLARATIONS;

use crate::common::Board;

/// Globals of the language itself, in this engine.
const LANGUAGE: &[&str] = &[
    "AggregateError",
    "Array",
    "ArrayBuffer",
    "AsyncDisposableStack",
    "Atomics",
    "BigInt",
    "BigInt64Array",
    "BigUint64Array",
    "Boolean",
    "DOMException",
    "DataView",
    "Date",
    "DisposableStack",
    "Error",
    "EvalError",
    "FinalizationRegistry",
    "Float16Array",
    "Float32Array",
    "Float64Array",
    "Function",
    "Infinity",
    "Int16Array",
    "Int32Array",
    "Int8Array",
    "InternalError",
    "Iterator",
    "JSON",
    "Map",
    "Math",
    "NaN",
    "Number",
    "Object",
    "Promise",
    "Proxy",
    "RangeError",
    "ReferenceError",
    "Reflect",
    "RegExp",
    "Set",
    "SharedArrayBuffer",
    "String",
    "SuppressedError",
    "Symbol",
    "SyntaxError",
    "TypeError",
    "URIError",
    "Uint16Array",
    "Uint32Array",
    "Uint8Array",
    "Uint8ClampedArray",
    "WeakMap",
    "WeakRef",
    "WeakSet",
    "atob",
    "btoa",
    "decodeURI",
    "decodeURIComponent",
    "encodeURI",
    "encodeURIComponent",
    "escape",
    "eval",
    "globalThis",
    "isFinite",
    "isNaN",
    "parseFloat",
    "parseInt",
    "queueMicrotask",
    "undefined",
    "unescape",
    "wit",
];

fn declared() -> BTreeSet<&'static str> {
    let starts = ["declare const ", "declare class ", "declare function "];
    let rest = DECLARATIONS
        .lines()
        .filter_map(|line| starts.iter().find_map(|start| line.strip_prefix(start)));
    rest.map(|rest| {
        rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .next()
            .unwrap()
    })
    .collect()
}

#[test]
fn every_global_of_ours_is_declared_and_every_declared_one_is_there() {
    let mut board =
        Board::run("function loop() { send_msg({ names: Object.getOwnPropertyNames(globalThis).sort() }); }");
    board.tick().unwrap();
    let message: serde_json::Value = serde_json::from_str(&board.sent()[0]).unwrap();
    let found: BTreeSet<_> = message["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let ours: BTreeSet<_> = found
        .into_iter()
        .filter(|name| !LANGUAGE.contains(name) && !name.starts_with("__"))
        .collect();
    assert_eq!(ours, declared());
}
