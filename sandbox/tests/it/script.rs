//! Scripts on the one engine: started in milliseconds, within all limits of a firmware.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use crate::common::{Recorder, compiler};
use iottly_boards::VirtualBoard;
use iottly_sandbox::{
    Backend, Cache, CallError, Fault, Firmware, Instance, Level, Limits, LoadError, MemoryState, Runtime,
    Script, ScriptEngine, TrapCode,
};

/// Manifest that asks for nothing.
const NAMED: &str = "name = \"test\"";

/// Opens a cache in a new folder, with the engine.
fn cache(dir: &Path) -> Cache {
    Cache::open(dir.join("cache"), compiler())
        .unwrap()
        .with_engine(ScriptEngine::new(iottly_engine::ABI, iottly_engine::ENGINE))
}

/// Loads a script with the engine that is compiled once for all tests of this program.
fn load(script: &Script, manifest: &str) -> Firmware {
    static ENGINE: OnceLock<(Cache, Runtime)> = OnceLock::new();
    let (cache, runtime) = ENGINE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (cache, runtime) = (cache(dir.path()), Runtime::new().unwrap());
        // The folder is removed; the engine stays mapped.
        cache.warm(&runtime).unwrap();
        (cache, runtime)
    });
    cache.load(runtime, &script.component(manifest).unwrap()).unwrap()
}

fn script(main: &str) -> Script {
    Script {
        engine: iottly_engine::ABI.to_owned(),
        exact: None,
        files: BTreeMap::from([("main.js".to_owned(), main.to_owned())]),
        sections: Vec::new(),
    }
}

fn start_with(
    script: Script,
    manifest: &str,
    board: Option<&VirtualBoard>,
    limits: Limits,
) -> (Instance, Recorder) {
    let recorder = Recorder::default();
    recorder.seen().board = board.cloned();
    recorder.seen().state = Some(MemoryState::default());
    let instance = load(&script, manifest)
        .start(Box::new(recorder.clone()), limits)
        .unwrap();
    (instance, recorder)
}

fn start(main: &str) -> (Instance, Recorder) {
    start_with(script(main), "name = \"test\"", None, Limits::default())
}

fn example(name: &str) -> (Script, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../firmware-examples")
        .join(name);
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    (script(&read("main.js")), read("firmware.toml"))
}

fn payloads(recorder: &Recorder) -> Vec<String> {
    let seen = recorder.seen();
    seen.sent.iter().map(|message| message.payload.clone()).collect()
}

fn lines(recorder: &Recorder) -> Vec<(Level, String)> {
    recorder.seen().lines.clone()
}

#[test]
fn the_thermostat_runs() {
    let (thermostat, manifest) = example("thermostat-js");
    let (mut instance, recorder) = start_with(thermostat, &manifest, None, Limits::default());
    instance.init().unwrap();
    assert_eq!(
        lines(&recorder),
        [(Level::Info, "thermostat ready, target 20 degrees".to_owned())]
    );
    assert_eq!(instance.tick(1_700_000_001_000).unwrap(), 1000);
    let sent = payloads(&recorder);
    assert!(
        sent[0].starts_with("{\"temperature\":18") && sent[0].ends_with(",\"target\":20,\"heating\":true}"),
        "{sent:?}"
    );
    instance.handle("set_target", "{\"celsius\":\"22.5\"}").unwrap();
    assert!(payloads(&recorder)[1].contains("\"accepted\":true"));
    instance.handle("echo", "{\"content\":\"hi\"}").unwrap();
    assert_eq!(
        payloads(&recorder)[2],
        "{\"ECHO\":{\"echo\":{\"content\":\"hi\"}}}"
    );
    assert_eq!(
        instance.handle("reboot", "{}"),
        Err(CallError::Fault(Fault::Unsupported(
            "no handler for \"reboot\"".into()
        )))
    );
    instance.health().unwrap();
    instance.shutdown("update").unwrap();
}

#[test]
fn a_script_drives_what_its_manifest_names() {
    let board = VirtualBoard::new().with_pin("led").with_pin("other");
    let manifest = "name = \"test\"\n[capabilities]\ngpio = [\"led\"]";
    let main = "let led;
        function init() { led = gpio.output('led'); led.high(); }
        function other() { gpio.output('other'); }
        function bus() { i2c.open('sensors'); }";
    let (mut instance, _) = start_with(script(main), manifest, Some(&board), Limits::default());
    instance.init().unwrap();
    assert_eq!(board.pin("led"), Ok(true));
    assert_eq!(
        instance.handle("other", "{}"),
        Err(CallError::Fault(Fault::Denied(
            "gpio \"other\": the firmware's manifest does not ask for it".into()
        )))
    );
    assert_eq!(
        instance.handle("bus", "{}"),
        Err(CallError::Fault(Fault::Denied(
            "i2c: firmware.toml names no label of it, see [capabilities]".into()
        )))
    );
}

#[test]
fn the_examples_start_and_report_their_health() {
    for name in ["blink-js", "button-js", "echo-js", "bad-citizen"] {
        let (script, manifest) = example(name);
        let board = VirtualBoard::standard();
        let (mut instance, recorder) = start_with(script, &manifest, Some(&board), Limits::default());
        let calls = [instance.init(), instance.tick(0).map(drop), instance.health()];
        assert_eq!(calls, [Ok(()), Ok(()), Ok(())], "{name}: {:?}", lines(&recorder));
    }
}

#[test]
fn the_bad_citizen_is_stopped_by_name_at_everything_it_does() {
    let (citizen, manifest) = example("bad-citizen");
    let board = VirtualBoard::standard();
    let outcome = |command: &str| {
        let (mut instance, recorder) =
            start_with(citizen.clone(), &manifest, Some(&board), Limits::default());
        instance.init().unwrap();
        (instance.handle(command, "{}"), recorder)
    };
    for (command, codes) in [
        ("spin", &[TrapCode::TimeBudget][..]),
        ("pester", &[TrapCode::HostCalls, TrapCode::TimeBudget]),
    ] {
        let Err(CallError::Trap(report)) = outcome(command).0 else {
            panic!("{command}: no trap")
        };
        assert!(codes.contains(&report.code), "{command}: {report}");
    }
    for (command, part) in [
        ("shout", "a second"),
        ("oversize", "the payload has"),
        ("bloat", "the state would have"),
        ("scribble", "changes of the state a second"),
        ("litter", "more than 32 timers"),
    ] {
        let Err(CallError::Fault(Fault::Limit(text))) = outcome(command).0 else {
            panic!("{command}: no limit")
        };
        assert!(text.contains(part), "{command}: {text}");
    }
    for command in ["trespass", "elsewhere"] {
        let error = outcome(command).0;
        assert!(
            matches!(error, Err(CallError::Fault(Fault::Denied(_)))),
            "{command}: {error:?}"
        );
    }
    for (command, part) in [("dive", "RangeError"), ("hog", "out of memory")] {
        let Err(CallError::Fault(Fault::Failed(text))) = outcome(command).0 else {
            panic!("{command}: no error of the script")
        };
        assert!(text.contains(part), "{command}: {text}");
    }
    let (chatter, recorder) = outcome("chatter");
    assert_eq!(chatter, Ok(()));
    assert!(lines(&recorder).len() < 500);
    assert_eq!(board.pin("heater"), Ok(false));
}

#[test]
fn sections_are_named_in_errors() {
    let main = "let a;\nfunction init() {\n  null.x;\n}\n";
    let sections = vec![("global".to_owned(), 1), ("init".to_owned(), 2)];
    let script = Script {
        sections,
        ..script(main)
    };
    let (mut instance, _) = start_with(script, "name = \"test\"", None, Limits::default());
    assert_eq!(
        instance.init(),
        Err(CallError::Fault(Fault::Failed(
            "TypeError: cannot read property 'x' of null at init (init:2:3)".into()
        )))
    );
}

/// Returns a place's function and file with its line, and its column.
fn line_and_column(place: &str) -> (&str, u32) {
    let (line, column) = place
        .strip_suffix(')')
        .and_then(|place| place.rsplit_once(':'))
        .unwrap_or_else(|| panic!("{place:?} has no column"));
    (line, column.parse().unwrap())
}

#[test]
fn what_does_not_end_is_stopped_at_its_place() {
    let limits = Limits {
        handle: Duration::from_millis(200),
        ..Limits::default()
    };
    let main = "import { forever } from './lib/slow.js';
function spin() {
  for (;;) {}
}
function go() {
  spin();
}
function match() {
  return /^(a+)+$/.test('a'.repeat(40) + 'b');
}
function jobs() {
  Promise.resolve().then(function again() { Promise.resolve().then(again); });
}
const module = () => forever();";
    for (command, expected) in [
        ("go", &["spin (main.js:3", "go (main.js:6"][..]),
        ("match", &["match (main.js:9"]),
        ("jobs", &["again (main.js:12"]),
        ("module", &["forever (lib/slow.js:2", "module (main.js:14"]),
    ] {
        let mut script = script(main);
        let slow = "export function forever() {\n  for (;;) {}\n}";
        script.files.insert("lib/slow.js".to_owned(), slow.to_owned());
        let (mut instance, _) = start_with(script, NAMED, None, limits.clone());
        instance.init().unwrap();
        let Err(CallError::Trap(report)) = instance.handle(command, "{}") else {
            panic!("{command}: it ended");
        };
        assert_eq!(report.code, TrapCode::TimeBudget, "{report}");
        assert!(report.message.ends_with("the limit is 200 ms"), "{report}");
        let places: Vec<_> = report
            .functions
            .iter()
            .map(|place| line_and_column(place))
            .collect();
        let lines: Vec<_> = places.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, expected, "{report}");
        assert!(
            places.iter().all(|(_, column)| (1..80).contains(column)),
            "{report}"
        );
        assert_eq!(instance.tick(0), Err(CallError::Dead(TrapCode::TimeBudget)));
    }
}

#[test]
fn halves_of_characters_are_replaced_wherever_they_go() {
    let main = "function cut() {
        const half = 'boiler 🔥 hot'.slice(0, 8);
        log(half);
        send_msg({ label: half, [half]: 1 }, half);
        state.set(half, half);
        for (const key of state.keys()) log(key + '=' + state.get(key));
    }
    function pin() { gpio.output('🔥'[0]); }
    function fail() { throw new Error('🔥'[1]); }
    function later() { Promise.reject(new Error('🔥'[0])); }";
    let (mut instance, recorder) = start_with(
        script(main),
        "name = \"test\"\n[capabilities]\ngpio = [\"led\"]",
        Some(&VirtualBoard::new().with_pin("led")),
        Limits::default(),
    );
    instance.init().unwrap();
    instance.handle("cut", "{}").unwrap();
    let sent = recorder.seen().sent[0].clone();
    assert_eq!(
        sent.payload,
        "{\"label\":\"boiler \\ufffd\",\"boiler \\ufffd\":1}"
    );
    assert_eq!(sent.channel.as_deref(), Some("boiler \u{fffd}"));
    assert_eq!(
        instance.handle("pin", "{}"),
        Err(CallError::Fault(Fault::Denied(
            "gpio \"\u{fffd}\": the firmware's manifest does not ask for it".into()
        )))
    );
    let Err(CallError::Fault(Fault::Failed(text))) = instance.handle("fail", "{}") else {
        panic!("no error of the script");
    };
    assert!(text.starts_with("Error: \u{fffd} at fail (main.js:9:"), "{text}");
    instance.handle("later", "{}").unwrap();
    let lines: Vec<String> = lines(&recorder).into_iter().map(|(_, text)| text).collect();
    assert_eq!(lines[0], "boiler \u{fffd}");
    assert_eq!(lines[1], "boiler \u{fffd}=boiler \u{fffd}");
    assert!(
        lines[4].starts_with("unhandled rejection: Error: \u{fffd}\n  at later (main.js:10:"),
        "{lines:?}"
    );
}

#[test]
fn recursion_without_an_end_is_an_error_of_the_script() {
    let (mut instance, _) =
        start("function deeper() {\n  return deeper() + 1;\n}\nfunction fine() { send_msg({}); }");
    instance.init().unwrap();
    let Err(CallError::Fault(Fault::Failed(text))) = instance.handle("deeper", "{}") else {
        panic!("no error of the script");
    };
    assert!(
        text.starts_with("RangeError: Maximum call stack size exceeded at deeper (main.js:2:"),
        "{text}"
    );
    instance.handle("fine", "{}").unwrap();
}

#[test]
fn memory_that_runs_out_is_an_error_of_the_script() {
    let manifest = "name = \"test\"\n[sizes]\nmemory = 4194304";
    let main = "let all; function hog() { all = []; for (;;) all.push(new Array(1000).fill(1.5)); } function free() { all = null; }";
    let (mut instance, _) = start_with(script(main), manifest, None, Limits::default());
    instance.init().unwrap();
    let Err(CallError::Fault(Fault::Failed(text))) = instance.handle("hog", "{}") else {
        panic!("no error of the script");
    };
    assert!(text.contains("out of memory"), "{text}");
    instance.handle("free", "{}").unwrap();
}

#[test]
fn instances_do_not_see_each_other() {
    let main =
        "globalThis.n = (globalThis.n || 0) + 1; function count() { send_msg({ n: ++globalThis.n }); }";
    let firmware = load(&script(main), NAMED);
    for _ in 0..3 {
        let recorder = Recorder::default();
        let mut instance = firmware
            .start(Box::new(recorder.clone()), Limits::default())
            .unwrap();
        instance.init().unwrap();
        instance.handle("count", "{}").unwrap();
        assert_eq!(payloads(&recorder), ["{\"n\":2}"]);
    }
    let again = load(&script(main), NAMED);
    assert_eq!(firmware.digest(), again.digest());
}

#[test]
fn a_script_runs_in_the_interpreter() {
    let dir = tempfile::tempdir().unwrap();
    let (thermostat, manifest) = example("thermostat-js");
    let (cache, runtime) = (cache(dir.path()), Runtime::with(Backend::Pulley).unwrap());
    let load = |script: &Script, manifest: &str| {
        cache
            .load(&runtime, &script.component(manifest).unwrap())
            .unwrap()
    };
    let firmware = load(&thermostat, &manifest);
    let recorder = Recorder::default();
    let mut instance = firmware
        .start(Box::new(recorder.clone()), Limits::default())
        .unwrap();
    instance.init().unwrap();
    assert_eq!(instance.tick(1_700_000_001_000).unwrap(), 1000);
    assert_eq!(payloads(&recorder).len(), 1);
    let deep = "function deeper() { return deeper() + 1; }";
    let mut instance = load(&script(deep), NAMED)
        .start(Box::new(Recorder::default()), Limits::default())
        .unwrap();
    instance.init().unwrap();
    assert!(matches!(
        instance.handle("deeper", "{}"),
        Err(CallError::Fault(Fault::Failed(text))) if text.starts_with("RangeError")
    ));
}

#[test]
fn an_engine_is_not_loaded_as_a_firmware() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache"), compiler()).unwrap();
    let loaded = cache.load(&Runtime::new().unwrap(), iottly_engine::ENGINE);
    assert!(matches!(loaded, Err(LoadError::Manifest(_))));
}

#[test]
fn a_script_for_another_engine_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, runtime) = (cache(dir.path()), Runtime::new().unwrap());
    let load = |script: &Script| match cache.load(&runtime, &script.component(NAMED).unwrap()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was loaded"),
    };
    let mut other = script("1");
    other.engine = "script 9".to_owned();
    assert_eq!(
        load(&other),
        "the script needs the engine \"script 9\", which this device does not have"
    );
    let mut exact = script("1");
    exact.exact = Some("ab".repeat(32));
    assert!(load(&exact).contains("of sha256 abab"));
    exact.exact = Some(iottly_engine::DIGEST.to_uppercase());
    cache.load(&runtime, &exact.component(NAMED).unwrap()).unwrap();
}

#[test]
fn scripts_compile_nothing_once_the_engine_is_compiled() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, runtime) = (cache(dir.path()), Runtime::new().unwrap());
    cache.warm(&runtime).unwrap();
    let compiled = || {
        std::fs::read_dir(dir.path().join("cache"))
            .unwrap()
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .path()
                    .extension()
                    .is_some_and(|it| it == "cwasm")
            })
            .count()
    };
    assert_eq!(compiled(), 1);
    for text in ["1", "2", "3"] {
        cache
            .load(&runtime, &script(text).component(NAMED).unwrap())
            .unwrap();
    }
    assert_eq!(compiled(), 1);
}
