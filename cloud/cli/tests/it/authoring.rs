//! An author's commands with the real program: init, build, check, run.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use iottly_e2e::beside_others;
use tempfile::TempDir;

use crate::local::{Running, iottly_in};

fn folder() -> TempDir {
    tempfile::tempdir().expect("folder")
}

/// A folder with a script firmware `a` in it.
fn script(text: &str) -> TempDir {
    let dir = folder();
    fs::write(dir.path().join("firmware.toml"), "name = \"a\"\nlang = \"js\"\n").expect("write");
    fs::write(dir.path().join("main.js"), text).expect("write");
    dir
}

fn scripts(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir)
        .expect("folder")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("utf-8"));
    names
        .filter(|name| name.ends_with(".js") || name.ends_with(".mjs"))
        .collect()
}

#[test]
fn a_new_firmware_runs_takes_a_command_and_ends_with_ctrl_c() {
    let _turn = beside_others();
    let dir = folder();
    let (code, out, err) = iottly_in(dir.path(), &["init", "hello", "--lang", "js"]);
    assert_eq!((code, out.as_str()), (Some(0), "hello\n"), "{err}");
    let hello = dir.path().join("hello");
    assert_eq!(scripts(&hello), ["main.js"]);
    assert_eq!(
        fs::read_to_string(hello.join("firmware.toml")).expect("manifest"),
        "name = \"hello\"\nlang = \"js\"\n"
    );

    let (code, out, err) = iottly_in(&hello, &["build"]);
    assert_eq!((code, out.as_str()), (Some(0), "./target/hello.wasm\n"), "{err}");
    let component = || fs::read(hello.join("target/hello.wasm")).expect("component");
    let first = component();
    assert!(
        first.starts_with(b"\0asm") && first.len() < 10_000,
        "{}",
        first.len()
    );
    assert_eq!(iottly_in(&hello, &["build"]).0, Some(0));
    assert_eq!(component(), first, "the same bytes");

    let mut run = Running::start(dir.path(), &["hello"]);
    run.message("a reading", |message| message["temperature"].is_number());
    run.command(r#"{"set_target": {"celsius": 22}}"#);
    run.message("the answer", |message| message["set_target"]["target"] == 22);
    run.command(r#"{"echo": {"content": "hi there!"}}"#);
    run.message("the echo", |message| {
        message["ECHO"]["echo"]["content"] == "hi there!"
    });
    run.command(r#"{"set_target": {"celsius": 99}}"#);
    run.said("set_target: invalid: celsius must lie between 5 and 30");
    run.command(r#"{"fly": {}}"#);
    run.said("no handler for \"fly\"");
    run.command("nonsense");
    run.said("not a command");
    assert_eq!(run.interrupt().code(), Some(0));
}

#[test]
fn init_refuses_by_name_and_touches_nothing() {
    let _turn = beside_others();
    let dir = folder();
    fs::create_dir(dir.path().join("there")).expect("folder");
    let (code, out, err) = iottly_in(dir.path(), &["init", "there"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("there already exists"), "{err}");
    assert_eq!(fs::read_dir(dir.path().join("there")).expect("folder").count(), 0);
    for name in ["../up", "a/b", "1st", "a b", "", ".", "-x", "std"] {
        let (code, _, err) = iottly_in(dir.path(), &["init", name]);
        assert_eq!(code, Some(2), "{name}: {err}");
        assert!(err.contains(name), "{name}: {err}");
    }
    assert_eq!(
        iottly_in(dir.path(), &["init", "a", "--lang", "cobol"]).0,
        Some(2)
    );
    assert_eq!(
        fs::read_dir(dir.path()).expect("folder").count(),
        1,
        "nothing was made"
    );
}

#[test]
fn a_build_error_names_file_and_line_and_keeps_the_last_firmware() {
    let _turn = beside_others();
    let dir = script("function loop() {}\n");
    assert_eq!(iottly_in(dir.path(), &["build"]).0, Some(0));
    let before = fs::read(dir.path().join("target/a.wasm")).expect("component");
    fs::write(
        dir.path().join("main.js"),
        "let a = 1;\nfunction loop() { a = ; }\n",
    )
    .expect("write");
    let (code, out, err) = iottly_in(dir.path(), &["build"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("main.js:2") && err.contains("SyntaxError"), "{err}");
    assert_eq!(
        fs::read(dir.path().join("target/a.wasm")).expect("component"),
        before
    );
}

#[test]
fn an_endless_top_level_is_stopped() {
    let _turn = beside_others();
    let dir = script("for (;;) {}\n");
    let began = Instant::now();
    let (code, _, err) = iottly_in(dir.path(), &["build"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(
        err.contains("main.js:1:") && err.contains("the top level of the script did not end"),
        "{err}"
    );
    // The top level has two seconds of processor time, and more of wall-clock time on a busy machine.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let _turn = beside_others();
    let dir = folder();
    for command in ["build", "check", "run"] {
        let (code, _, err) = iottly_in(dir.path(), &[command]);
        assert_eq!(code, Some(4), "{command}: {err}");
        assert!(err.contains("firmware.toml"), "{err}");
    }
    assert_eq!(iottly_in(dir.path(), &["run", "gone.wasm"]).0, Some(4));
    fs::write(dir.path().join("bad.wasm"), "no wasm").expect("write");
    let (code, _, err) = iottly_in(dir.path(), &["run", "bad.wasm"]);
    assert_eq!(code, Some(2), "{err}");
    fs::write(
        dir.path().join("firmware.toml"),
        "name = \"a\"\nlang = \"js\"\nnmae = 1\n",
    )
    .expect("write");
    let (code, _, err) = iottly_in(dir.path(), &["build"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("firmware.toml: line 3"), "{err}");
    fs::write(
        dir.path().join("firmware.toml"),
        "name = \"../a\"\nlang = \"js\"\n",
    )
    .expect("write");
    let (code, _, err) = iottly_in(dir.path(), &["build"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("\"../a\""), "{err}");
}

#[test]
fn check_ends_with_what_a_trial_would_decide() {
    let _turn = beside_others();
    let dir = script("function init() { send_msg({ up: true }); }\nfunction loop() { null.x; }\n");
    let (code, out, err) = iottly_in(dir.path(), &["check"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(err.contains(r#"would send {"up":true}"#), "{err}");
    assert!(
        err.contains("warning: loop:") && err.contains("main.js:2"),
        "{err}"
    );
    assert!(
        err.contains("iottly: a device would not keep a: loop failed 3 times in a row"),
        "{err}"
    );
    for (bad, reason) in [
        (
            "function loop() { const t = readTemperature(); send_msg({ t }); }",
            "readTemperature is not defined",
        ),
        (
            "function init() { throw new Error('no sensor'); }",
            "init: failed: Error: no sensor",
        ),
        (
            "function init() { setInterval(() => missing(), 300); }",
            "events failed 3 times in a row",
        ),
        (
            "function init() { setTimeout(() => missing(), 300); } function loop() { return 60000; }",
            "events failed 1 times in a row",
        ),
        (
            "function loop() {} function health() { return 'the sensor is silent'; }",
            "health: failed: the sensor is silent",
        ),
        ("function loop() { for (;;) {} }", "trap time-budget"),
    ] {
        fs::write(dir.path().join("main.js"), bad).expect("write");
        let (code, _, err) = iottly_in(dir.path(), &["check"]);
        assert_eq!(code, Some(1), "{bad}: {err}");
        assert!(err.contains(reason), "{bad}: {err}");
    }
    // A single failure, a missing loop, or hours without work are not a fault.
    for good in [
        "let n = 0; function loop() { n += 1; if (n === 1) missing(); return 60000; }",
        "function set(command) { missing(); }",
        "function init() { setInterval(() => log('here'), 3600000); }",
    ] {
        fs::write(dir.path().join("main.js"), good).expect("write");
        let (code, _, err) = iottly_in(dir.path(), &["check"]);
        assert_eq!(code, Some(0), "{good}: {err}");
    }
    fs::write(
        dir.path().join("main.js"),
        "let n = 0; function loop() { n += 1; if (n === 1) missing(); }",
    )
    .expect("write");
    assert_eq!(
        iottly_in(dir.path(), &["check", "--strict"]).0,
        Some(1),
        "a warning"
    );
    // A minute of the board's time: what goes wrong late is seen, in a moment.
    for (late, reason) in [
        (
            "let n = 0; function loop() { n += 1; if (n > 40) missing(); }",
            "loop failed 3 times in a row",
        ),
        (
            "const began = Date.now(); function health() { if (Date.now() - began > 50000) return 'worn out'; }",
            "health: failed: worn out",
        ),
        (
            "setTimeout(() => { setInterval(() => missing(), 5000); }, 30000);",
            "events failed 3 times in a row",
        ),
    ] {
        fs::write(dir.path().join("main.js"), late).expect("write");
        let (code, _, err) = iottly_in(dir.path(), &["check"]);
        assert_eq!(code, Some(1), "{late}: {err}");
        assert!(err.contains(reason), "{late}: {err}");
    }
    let text = "function loop() { send_msg({}); } function shutdown() { throw new Error('no goodbye'); }";
    fs::write(dir.path().join("main.js"), text).expect("write");
    let (code, _, err) = iottly_in(dir.path(), &["check"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        err.contains("more messages and log lines")
            && err.contains("warning: shutdown: failed: Error: no goodbye"),
        "{err}"
    );
    fs::write(dir.path().join("main.js"), "function loop() {}\n").expect("write");
    let (code, _, err) = iottly_in(dir.path(), &["check", "--strict"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("a is fine"), "{err}");
}

#[test]
fn a_saved_file_is_loaded_and_a_broken_one_is_not() {
    let _turn = beside_others();
    let dir = script(
        "function loop() { send_msg({ version: 1 }); return 50; }\nfunction shutdown(reason) { log('bye', reason); }\n",
    );
    let run = Running::start(dir.path(), &["--watch"]);
    run.message("the first version", |message| message["version"] == 1);
    fs::write(dir.path().join("main.js"), "function loop() { oops\n").expect("write");
    run.said("not loaded; the previous version continues: main.js:");
    fs::create_dir(dir.path().join("lib")).expect("folder");
    fs::write(dir.path().join("lib/version.js"), "export const version = 2;\n").expect("write");
    fs::write(
        dir.path().join("main.js"),
        "import { version } from './lib/version.js';\nfunction loop() { send_msg({ version }); return 50; }\n",
    )
    .expect("write");
    run.message("the second version", |message| message["version"] == 2);
    run.said("bye a new version is loaded");
    fs::write(dir.path().join("lib/version.js"), "export const version = 3;\n").expect("write");
    run.message("the third version", |message| message["version"] == 3);
    assert_eq!(run.interrupt().code(), Some(0));
}

#[test]
fn a_trap_is_told_and_the_firmware_starts_again() {
    let _turn = beside_others();
    let dir = script(
        "let life;\nfunction init() { life = Math.random(); send_msg({ life }); }\nfunction spin() { for (;;) {} }\nfunction loop() { return 60000; }\n",
    );
    let mut run = Running::start(dir.path(), &[]);
    let first = run.message("the first start", |message| message["life"].is_number());
    run.command(r#"{"spin": {}}"#);
    run.said("stopped: trap time-budget in handle");
    run.said("starts again in 1 s");
    run.message("the second start", |message| message["life"] != first["life"]);
    assert_eq!(run.interrupt().code(), Some(0));
}

#[test]
fn a_script_a_component_and_records_can_be_run() {
    let _turn = beside_others();
    let dir = folder();
    fs::write(
        dir.path().join("lone.js"),
        "function init() { send_msg({ a: 1 }, 'alarm'); }\n",
    )
    .expect("write");
    let run = Running::start(dir.path(), &["lone.js", "--output", "json"]);
    let record = run.message("the record", |_| true);
    assert_eq!(
        (&record["channel"], &record["payload"]["a"]),
        (&"alarm".into(), &1.into()),
        "{record}"
    );
    assert!(record["at_ms"].as_u64().expect("time") > 1_600_000_000_000);
    assert_eq!(run.interrupt().code(), Some(0));

    let dir = script("function init() { send_msg({ built: true }); }\n");
    assert_eq!(iottly_in(dir.path(), &["build"]).0, Some(0));
    let run = Running::start(dir.path(), &["target/a.wasm"]);
    run.message("its message", |message| message["built"] == true);
    assert_eq!(run.interrupt().code(), Some(0));
}

fn example(name: &str) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate is two folders below the root");
    root.join("firmware-examples").join(name)
}

#[test]
fn the_blink_example_blinks() {
    let _turn = beside_others();
    let run = Running::start(&example("blink-js"), &[]);
    run.said("board led = 1");
    run.said("board led = 0");
    assert_eq!(run.interrupt().code(), Some(0));
}

#[test]
fn the_button_example_counts_presses_and_not_bounces() {
    let _turn = beside_others();
    let mut run = Running::start(&example("button-js"), &[]);
    run.said("board led = 0");
    for presses in 1..=2 {
        for level in [true, false, true, false, true] {
            run.command(&format!(r#"{{"@pin": {{"button": {level}}}}}"#));
        }
        run.message("a press", |message| message["presses"] == presses);
        run.command(r#"{"@pin": {"button": false}}"#);
        run.said_times("board led = 0", presses + 1);
    }
    assert_eq!(run.messages().len(), 2);
    assert_eq!(run.interrupt().code(), Some(0));
}

#[test]
fn inputs_are_kept_and_played_again_on_a_board_of_ones_own() {
    let _turn = beside_others();
    let dir = script(
        "let key;
         function init() { key = gpio.input('key'); key.onRising(() => send_msg({ pressed: key.value })); }
         function beep(command) { send_msg(command); }\n",
    );
    fs::write(
        dir.path().join("firmware.toml"),
        "name = \"a\"\nlang = \"js\"\ncapabilities.gpio = [\"key\"]\n",
    )
    .expect("write");
    fs::write(dir.path().join("board.toml"), "pins = [\"key\"]\n").expect("write");
    let mut run = Running::start(dir.path(), &["--board", "board.toml", "--record", "tape"]);
    run.said("running");
    run.command(r#"{"@pin": {"key": true}}"#);
    run.message("the press", |message| message["pressed"] == true);
    run.command(r#"{"beep": {"times": 2}}"#);
    run.message("the beep", |message| message["beep"]["times"] == 2);
    assert_eq!(run.interrupt().code(), Some(0));

    let run = Running::start(dir.path(), &["--board", "board.toml", "--replay", "tape"]);
    run.message("the beep again", |message| message["beep"]["times"] == 2);
    assert_eq!(run.messages().len(), 2, "the press as well");
    assert_eq!(run.interrupt().code(), Some(0));
    let (code, _, err) = iottly_in(dir.path(), &["run", "--board", "nowhere.toml"]);
    assert_eq!(code, Some(4), "{err}");
}

#[test]
fn a_pin_that_the_manifest_does_not_name_is_denied() {
    let _turn = beside_others();
    let dir =
        script("function init() { try { gpio.output('led'); } catch (e) { send_msg({ tag: e.tag }); } }\n");
    let run = Running::start(dir.path(), &[]);
    run.message("the refusal", |message| message["tag"] == "denied");
    assert_eq!(run.interrupt().code(), Some(0));
}

#[test]
fn state_outlives_a_restart() {
    let _turn = beside_others();
    let dir = script(
        "function init() { const starts = state.get('starts', 0) + 1; state.set('starts', starts); send_msg({ starts }); }\nfunction spin() { for (;;) {} }\n",
    );
    let mut run = Running::start(dir.path(), &[]);
    run.message("the first start", |message| message["starts"] == 1);
    run.command(r#"{"spin": {}}"#);
    run.message("the second start", |message| message["starts"] == 2);
    assert_eq!(run.interrupt().code(), Some(0));
}
