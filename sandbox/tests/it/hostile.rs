//! Firmware files made to do harm: each ends in a named error or in a firmware within its limits, and no
//! compiler outlives it.
//!
//! The properties run a few cases in an ordinary test; `PROPTEST_CASES=100000 cargo test --release -p
//! iottly-sandbox --features compiler --test it hostile` searches for hours.

use iottly_manifest::Manifest;
use iottly_sandbox::{CompileError, Limits, LoadError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::common::{Recorder, firmware, firmware_with, load};

/// Maximum size of an error text, which ends in a message to the cloud.
const MAX_ERROR: usize = 8 << 10;

/// Loads arbitrary bytes, and starts what loads. Returns the error's text.
fn survive(wasm: &[u8]) -> Option<String> {
    let text = match load(wasm) {
        Ok(firmware) => {
            let started = firmware.start(Box::new(Recorder::default()), Limits::default());
            let Ok(mut instance) = started else { return None };
            let _ = instance.init();
            let _ = instance.tick(0);
            return None;
        }
        Err(LoadError::Compile(error @ (CompileError::Start { .. } | CompileError::OtherEngine(_)))) => {
            panic!("the firmware is not to blame: {error}")
        }
        Err(error) => error.to_string(),
    };
    assert!(text.len() < MAX_ERROR, "{} bytes of reason", text.len());
    assert!(
        children().is_empty(),
        "the compiler is still there: {:?}",
        children()
    );
    Some(text)
}

/// Returns the processes that this thread started and that still exist.
fn children() -> Vec<String> {
    let path = format!(
        "/proc/self/task/{}/children",
        rustix::thread::gettid().as_raw_nonzero()
    );
    std::fs::read_to_string(path)
        .unwrap()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// Returns a component around a core module, which is not instantiated.
fn around(module: &str) -> Vec<u8> {
    wat::parse_str(format!("(component (core module {module}))")).unwrap()
}

fn refused(wasm: &[u8]) -> String {
    survive(wasm).expect("an error")
}

#[test]
fn memory_of_four_gibibytes_is_refused_at_the_start() {
    let wasm = firmware_with(&[], 65_536, "");
    assert!(
        load(&wasm)
            .unwrap()
            .start(Box::new(Recorder::default()), Limits::default())
            .is_err()
    );
}

#[test]
fn features_that_are_switched_off_are_refused() {
    for module in [
        "(memory 1 2 shared)",
        "(memory i64 1)",
        "(func (param (ref null struct)))",
        "(tag (param i32)) (func (throw 0 (i32.const 1)))",
        "(func (param externref) (return_call 0 (local.get 0)))",
    ] {
        let Some(text) = survive(&around(module)) else {
            panic!("{module} was taken")
        };
        assert!(!text.is_empty(), "{module}");
    }
}

#[test]
fn code_that_is_expensive_to_compile_is_compiled_within_the_childs_limits_or_refused() {
    let deep = format!("(func {}{})", "(block ".repeat(900), ")".repeat(900));
    let long = format!(
        "(func (local i32) {})",
        "(local.set 0 (i32.add (local.get 0) (i32.const 1)))".repeat(50_000)
    );
    let many = "(func (result i32) (i32.const 1))".repeat(50_000);
    let locals = format!("(func {})", "(local i64)".repeat(49_000));
    let table = format!(
        "(func (param i32) (br_table {} (local.get 0)))",
        "0 ".repeat(60_000)
    );
    for (name, module) in [
        ("deep", deep),
        ("long", long),
        ("many", many),
        ("locals", locals),
        ("table", table),
    ] {
        let text = refused(&around(&module));
        assert!(
            text.contains("iottly:firmware") || text.contains("not a valid component"),
            "{name}: {text}"
        );
    }
}

#[test]
fn components_inside_components_inside_components_are_refused() {
    let nested = format!("{}{}", "(component ".repeat(99), ")".repeat(99));
    assert!(!refused(&wat::parse_str(nested).unwrap()).is_empty());
    let wide = format!("(component {})", "(component)".repeat(5_000));
    assert!(!refused(&wat::parse_str(wide).unwrap()).is_empty());
}

#[test]
fn many_instances_of_one_module_are_refused() {
    let wasm = wat::parse_str(format!(
        "(component (core module $m (memory 100)) {})",
        "(core instance (instantiate $m))".repeat(500)
    ));
    assert!(!refused(&wasm.unwrap()).is_empty());
}

#[test]
fn names_are_cut_in_errors() {
    let import = format!(
        "(component (import \"evil:host/{}@1.0.0\" (instance (export \"x\" (func)))))",
        "a".repeat(60_000)
    );
    let text = refused(&wat::parse_str(import).unwrap());
    assert!(text.contains("evil:host/aaa"), "{text}");
}

#[test]
fn a_start_function_that_spins_ends_with_its_budget() {
    let wasm = firmware_with(&[], 4, "(func $boot (loop $again (br $again))) (start $boot)");
    assert_eq!(survive(&wasm), None);
}

/// Returns a firmware with some of its bytes changed, cut out or repeated.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let whole = firmware(&[]);
    let len = whole.len();
    let edit = prop_oneof![
        (0..len, any::<u8>()).prop_map(|(at, byte)| (at, at + 1, vec![byte])),
        (0..len, 0..64usize).prop_map(move |(at, n)| (at, (at + n).min(len), vec![])),
        (0..len, proptest::collection::vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| (at, at, bytes)),
    ];
    proptest::collection::vec(edit, 1..4).prop_map(move |edits| {
        let mut bytes = whole.clone();
        for (from, to, with) in edits {
            let from = from.min(bytes.len());
            let to = to.min(bytes.len());
            bytes.splice(from..to, with);
        }
        bytes
    })
}

/// Returns a runner of as many cases as an ordinary run has time for, each of which starts a process.
fn runner(cases: u32) -> TestRunner {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(cases);
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

#[test]
fn a_damaged_firmware_ends_in_an_error_or_within_its_limits() {
    runner(60)
        .run(&damaged(), |wasm| {
            survive(&wasm);
            Ok(())
        })
        .unwrap();
}

#[test]
fn no_text_makes_the_manifest_panic() {
    let line = "(name|lang|\\[capabilities\\]|gpio|sizes|memory)? ?=? ?(\"[a-z\u{1}-\u{7f}]{0,5}\"|\\[[\"a-z, ]{0,8}\\]|-?[0-9]{1,25}|js)?";
    let text = proptest::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"));
    runner(2000)
        .run(&text, |text| {
            if let Err(error) = Manifest::parse(&text) {
                prop_assert!(!error.to_string().is_empty());
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn no_bytes_make_the_manifests_section_panic() {
    runner(2000)
        .run(&proptest::collection::vec(any::<u8>(), 0..200), |tail| {
            let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
            bytes.extend(tail);
            let _ = iottly_manifest::extract(&bytes);
            Ok(())
        })
        .unwrap();
}
