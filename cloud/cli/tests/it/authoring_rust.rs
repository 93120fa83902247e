//! Firmware in Rust, from the template and from the examples, with cargo's real target.
//!
//! Each test runs alone: cargo's builds take all processors, and scripts of the other tests have time limits.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use iottly_e2e::{alone, program};

use crate::local::{Running, finish, iottly_in};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate is two folders below the root")
        .to_owned()
}

/// Returns a search path that begins with a Rust which has the standard library of wasm32-unknown-unknown.
///
/// # Panics
/// Where no such Rust can be installed.
fn path() -> OsString {
    static PATH: OnceLock<OsString> = OnceLock::new();
    PATH.get_or_init(|| {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasm-std");
        let (code, out, err) = finish(Command::new(root().join(".ci/wasm-std")).arg(kept));
        assert_eq!(
            code,
            Some(0),
            "no standard library for wasm32-unknown-unknown: {err}"
        );
        let inherited = env::var_os("PATH").unwrap_or_default();
        let folders = [PathBuf::from(out.trim())]
            .into_iter()
            .chain(env::split_paths(&inherited));
        env::join_paths(folders).expect("a search path")
    })
    .clone()
}

/// Returns a command of `iottly` in `dir`. All firmware in Rust shares one target folder, so that libraries
/// are built once.
fn iottly_with_rust(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(args)
        .current_dir(dir)
        .env("PATH", path())
        .env_remove("CARGO")
        .env_remove("RUSTC");
    command.env(
        "CARGO_TARGET_DIR",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("firmware"),
    );
    command
}

fn example(name: &str) -> PathBuf {
    root().join("firmware-examples").join(name)
}

#[test]
fn a_new_firmware_in_rust_builds_and_runs() {
    let _turn = alone();
    let dir = tempfile::tempdir().expect("folder");
    let (code, _, err) = iottly_in(dir.path(), &["init", "hello", "--lang", "rust"]);
    assert_eq!(code, Some(0), "{err}");
    let hello = dir.path().join("hello");
    let mut run = Running::spawn(&mut iottly_with_rust(&hello, &["run"]));
    run.message_after_build("a reading", |message| message["temperature"].is_number());
    run.command(r#"{"set_target": {"celsius": 22}}"#);
    run.message("the answer", |message| message["set_target"]["target"] == 22.0);
    run.command(r#"{"echo": {"content": "hi there!"}}"#);
    run.message("the echo", |message| {
        message["ECHO"]["echo"]["content"] == "hi there!"
    });
    run.command(r#"{"set_target": {"celsius": "warm"}}"#);
    run.said("set_target: invalid: set_target: invalid type");
    assert_eq!(run.interrupt().code(), Some(0));
    let wasm = fs::read(hello.join("target/hello.wasm")).expect("component");
    assert!(wasm.len() < 300_000, "{} bytes", wasm.len());
    let home = env::var("HOME").expect("home");
    assert!(
        !wasm.windows(home.len()).any(|part| part == home.as_bytes()) || home == "/",
        "no folder of this machine in the firmware"
    );
}

#[test]
fn an_error_in_rust_names_file_and_line() {
    let _turn = alone();
    let dir = tempfile::tempdir().expect("folder");
    assert_eq!(
        iottly_in(dir.path(), &["init", "wrong", "--lang", "rust"]).0,
        Some(0)
    );
    let wrong = dir.path().join("wrong");
    let source = fs::read_to_string(wrong.join("src/lib.rs")).expect("source");
    fs::write(
        wrong.join("src/lib.rs"),
        format!("fn broken() -> u32 {{ \"text\" }}\n{source}"),
    )
    .expect("write");
    let (code, out, err) = finish(&mut iottly_with_rust(&wrong, &["build"]));
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(
        err.contains("src/lib.rs:1:") && err.contains("mismatched types"),
        "{err}"
    );
}

#[test]
fn a_rust_without_the_target_is_told_what_to_install() {
    let _turn = alone();
    let dir = tempfile::tempdir().expect("folder");
    assert_eq!(
        iottly_in(dir.path(), &["init", "hello", "--lang", "rust"]).0,
        Some(0)
    );
    let rustc = dir.path().join("rustc");
    fs::write(&rustc, "#!/bin/sh\necho /nowhere\n").expect("write");
    fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755)).expect("mode");
    let (code, _, err) = finish(iottly_with_rust(&dir.path().join("hello"), &["build"]).env("RUSTC", &rustc));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("rustup target add wasm32-unknown-unknown"), "{err}");
}

#[test]
fn the_echo_example_answers() {
    let _turn = alone();
    let mut run = Running::spawn(&mut iottly_with_rust(&example("echo-rust"), &["run"]));
    run.message_after_build("its greeting", |message| {
        message["hello"] == "echo firmware is running"
    });
    run.command(r#"{"echo": {"content": "hi there!"}}"#);
    run.message("the echo", |message| {
        message["ECHO"]["echo"]["content"] == "hi there!"
    });
    run.said("echo number 1");
    assert_eq!(run.interrupt().code(), Some(0));
}

#[test]
fn the_blink_example_blinks() {
    let _turn = alone();
    let run = Running::spawn(&mut iottly_with_rust(&example("blink-rust"), &["run"]));
    run.built();
    run.said("board led = 1");
    run.said("board led = 0");
    assert_eq!(run.interrupt().code(), Some(0));
}

#[test]
fn the_button_example_counts_presses_and_not_bounces() {
    let _turn = alone();
    let mut run = Running::spawn(&mut iottly_with_rust(&example("button-rust"), &["run"]));
    run.built();
    run.said("board led = 0");
    for presses in 1..=2 {
        for level in [true, false, true, false, true] {
            run.command(&format!(r#"{{"@pin": {{"button": {level}}}}}"#));
        }
        run.message("a press", |message| message["presses"] == presses);
        run.command(r#"{"@pin": {"button": false}}"#);
        run.said_times("board led = 0", presses + 1);
    }
    let all = run.messages();
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(run.interrupt().code(), Some(0));
}

/// An unmodified driver for embedded-hal 1.0 from crates.io reads the virtual board's sensor.
#[test]
fn the_sensor_example_measures_through_a_published_driver() {
    let _turn = alone();
    let run = Running::spawn(&mut iottly_with_rust(&example("sensor-rust"), &["run"]));
    let reading = run.message_after_build("a reading", |message| message["celsius"].is_number());
    let within = |name: &str, range: std::ops::Range<f64>| {
        let value = reading[name]
            .as_f64()
            .unwrap_or_else(|| panic!("no {name} in {reading}"));
        assert!(range.contains(&value), "{reading}");
    };
    within("celsius", 10.0..35.0);
    within("humidity", 10.0..95.0);
    within("hectopascal", 900.0..1100.0);
    assert_eq!(run.interrupt().code(), Some(0));
}
