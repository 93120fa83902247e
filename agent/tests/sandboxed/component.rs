//! Firmware in the text form of WebAssembly.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// Address of a positive result; for `tick` it requests the next call in 500 ms.
pub(crate) const FINE: &str = "(i32.const 1024)";
/// Sends `{"n": 1}` and returns the host's result.
pub(crate) const SEND: &str = "(call $send (i32.const 4096) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048)) (i32.const 2048)";
/// Returns the fault `unsupported("x")`.
pub(crate) const UNSUPPORTED: &str = "(i32.const 1040)";
/// Loops forever.
pub(crate) const SPIN: &str = "(loop $again (br $again)) (unreachable)";

/// Returns a firmware whose exports `handle` and `tick` have these bodies.
pub(crate) fn firmware(handle: &str, tick: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
  (import "iottly:firmware/telemetry@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 4)
  (data (i32.const 1028) "\f4\01\00\00")
  (data (i32.const 1040) "\01\00\00\00\01\00\00\00\10\10\00\00\01\00\00\00")
  (data (i32.const 4096) "{{\"n\": 1}}")
  (data (i32.const 4112) "x")
  (global $next (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get 3))))
  (func (export "iottly:firmware/app@0.1.0#init") (result i32) {FINE})
  (func (export "iottly:firmware/app@0.1.0#handle") (param i32 i32 i32 i32) (result i32) {handle})
  (func (export "iottly:firmware/app@0.1.0#tick") (param i64) (result i32) {tick})
  (func (export "iottly:firmware/app@0.1.0#event") (param i32 i64) (result i32) {FINE})
  (func (export "iottly:firmware/app@0.1.0#health") (result i32) {FINE})
  (func (export "iottly:firmware/app@0.1.0#shutdown") (param i32 i32) (result i32) {SEND}))"#
    );
    let mut core = wat::parse_str(text).expect("valid text");
    let mut resolve = wit_parser::Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sandbox/wit");
    let (package, _) = resolve.push_path(wit).expect("the world's text");
    let world = resolve
        .select_world(&[package], Some("firmware"))
        .expect("the world");
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("metadata");
    ComponentEncoder::default()
        .module(&core)
        .expect("module")
        .validate(true)
        .encode()
        .expect("component")
}
