//! Wrong or hostile scripts: refused by the check of a build, contained while they run.

use std::time::{Duration, Instant};

use iottly_builder::{BuildError, Source};
use iottly_sandbox::{CallError, Fault, Limits, TrapCode};
use serde_json::json;

use crate::common::{Board, build, build_within, sections};

fn refused(source: &Source) -> String {
    match build(source) {
        Err(BuildError::Script(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was built"),
    }
}

#[test]
fn a_syntax_error_names_file_and_line() {
    let text = refused(&Source::script("let a = 1;\n\nfunction loop() { a = 5 +; }\n"));
    assert!(
        text.starts_with("main.js:3") && text.contains("SyntaxError"),
        "{text}"
    );
    assert!(!text.contains("__iottly"), "{text}");
}

#[test]
fn a_brace_that_is_missing_is_reported_inside_the_script() {
    let text = refused(&Source::script("function loop() {\n  if (true) {\n}\n"));
    assert!(
        text.starts_with("main.js:3") && text.contains("SyntaxError"),
        "{text}"
    );
}

#[test]
fn an_error_in_an_imported_module_names_that_module() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("lib")).unwrap();
    std::fs::write(dir.path().join("main.js"), "import './lib/wrong.js';").unwrap();
    std::fs::write(dir.path().join("lib/wrong.js"), "\n\nlet = = 1;").unwrap();
    let text = refused(&Source::from_dir(dir.path()).unwrap());
    assert!(text.starts_with("lib/wrong.js:3"), "{text}");
}

#[test]
fn an_exception_at_the_top_level_names_its_line() {
    let text = refused(&Source::script("const a = 1;\nnull.x;\n"));
    assert!(
        text.starts_with("main.js:2") && text.contains("cannot read property 'x' of null"),
        "{text}"
    );
}

#[test]
fn an_error_in_a_section_names_the_section() {
    let text = refused(&sections(
        "let a;\nlet b;",
        "function init() {}",
        "function loop() {\n  let = ;\n}",
        &[],
    ));
    assert!(text.starts_with("loop:2"), "{text}");
}

#[test]
fn a_missing_module_is_named_and_nothing_outside_is_read() {
    let text = refused(&Source::script("import { x } from './gone.js';"));
    assert!(text.contains("./gone.js"), "{text}");
    let text = refused(&Source::script(
        "import { x } from '../../../../../../etc/hostname';",
    ));
    assert!(text.contains("an import names nothing in the firmware"), "{text}");
}

#[test]
fn an_import_does_not_tell_which_files_exist() {
    let outside = tempfile::tempdir().unwrap();
    let there = outside.path().join("there.js");
    std::fs::write(&there, "export const secret = 1;").unwrap();
    let answer = |path: &std::path::Path, script: &str| {
        let path = path.display().to_string();
        refused(&Source::script(script.replace("PATH", &path))).replace(&path, "PATH")
    };
    for script in [
        "import x from 'PATH';",
        "import x from '../../../../../../../..PATH';",
        "import '/etc/passwd'; import 'PATH';",
        "export * from 'PATH';",
        "await import('PATH');",
        "try { await import('PATH'); } catch (error) { throw new Error('told: ' + error.message); }",
        "try { await eval('import(\\'PATH\\')'); } catch (error) { throw new Error('told: ' + error.message); }",
    ] {
        let (found, missing) = (
            answer(&there, script),
            answer(&outside.path().join("other.js"), script),
        );
        assert_eq!(found, missing, "{script}");
        assert!(
            !found.contains("secret") && !found.contains("not under module root"),
            "{found}"
        );
    }
    let text = refused(&Source::script("import x from '/etc/passwd';"));
    assert!(text.contains("an import names nothing in the firmware"), "{text}");
}

#[test]
fn a_top_level_may_ask_the_device_and_its_own_faults_are_still_found() {
    let manifest = "name = \"a\"\n[capabilities]\ngpio = [\"led\"]\n";
    let check = |script: &str| build(&Source::script(script).with_manifest(manifest).unwrap()).map(drop);
    for script in [
        "send_msg({}); log(Date.now(), Math.random()); setTimeout(() => {}, 1); state.set('n', 1);",
        "const led = gpio.output('led'); led.high();",
        "const every = config.get('interval').s;",
        "function init() { throw new Error('not run by a build'); }",
    ] {
        assert!(check(script).is_ok(), "{script}: {:?}", check(script));
    }
    for (script, expected) in [
        ("\nconst pin = gpio.output('other');", "main.js:2:"),
        ("\nconst bus = i2c.open('sensors');", "main.js:2:"),
        ("const led = gpio.output('led');\nlet led;", "main.js:2:"),
        ("const n = state.get('n').length;", "main.js:1:"),
        (
            "if (Date.now() === 1700000000000) throw new Error('a fixed date');",
            "main.js:1:",
        ),
    ] {
        match check(script) {
            Err(BuildError::Script(text)) => assert!(text.starts_with(expected), "{script}: {text}"),
            other => panic!("{script}: {other:?}"),
        }
    }
}

#[test]
fn an_endless_top_level_ends_at_its_budget_with_its_place() {
    let started = Instant::now();
    let source = Source::script("function spin() {\n  for (;;) {}\n}\nspin();");
    let error = build_within(&source, Duration::from_secs(1)).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, BuildError::Script(_))
            && text.starts_with("main.js:2:")
            && text.contains("the top level of the script did not end")
            && text.contains("the limit is 1000 ms"),
        "{text}"
    );
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_top_level_that_eats_memory_is_refused() {
    let text = refused(&Source::script(
        "const all = []; for (;;) all.push(new Array(10000).fill(1.5));",
    ));
    assert!(text.contains("out of memory"), "{text}");
}

#[test]
fn a_top_level_that_recurses_is_refused() {
    let text = refused(&Source::script(
        "function deeper(n) { return deeper(n + 1) + 1; }\ndeeper(0);",
    ));
    assert!(text.contains("main.js") && text.contains("stack"), "{text}");
}

#[test]
fn misbehaviour_at_run_time_is_contained() {
    let firmware = Board::firmware(&Source::script(
        "function spin() { for (;;) {} }
         function recurse() { return recurse() + 1; }
         function hog() { const all = []; for (;;) all.push(new Array(10000).fill(1.5)); }
         function flood() { for (let i = 0; i < 1000; i++) log(i); }
         function huge() { send_msg({ text: 'x'.repeat(3000000) }); }
         function fine() { send_msg({ fine: true }); }",
    ));
    let limits = Limits {
        handle: Duration::from_millis(500),
        ..Limits::default()
    };
    let board = || {
        let mut board = Board::on(&firmware, limits.clone());
        board.instance.init().unwrap();
        board
    };
    let trap = |command: &str| match board().handle(command, json!({})).unwrap_err() {
        CallError::Trap(report) => report.code,
        other => panic!("{other}"),
    };
    assert_eq!(trap("spin"), TrapCode::TimeBudget);
    let CallError::Fault(Fault::Failed(text)) = board().handle("recurse", json!({})).unwrap_err() else {
        panic!("no fault")
    };
    assert!(text.starts_with("RangeError"), "{text}");

    let mut greedy = board();
    let CallError::Fault(Fault::Failed(text)) = greedy.handle("hog", json!({})).unwrap_err() else {
        panic!("no fault")
    };
    assert!(text.contains("out of memory"), "{text}");

    let mut loud = board();
    loud.handle("flood", json!({})).unwrap();
    assert!(loud.lines().len() < 500);
    let CallError::Fault(Fault::Limit(text)) = loud.handle("huge", json!({})).unwrap_err() else {
        panic!("no limit")
    };
    assert!(text.contains("the limit is 1048576"), "{text}");
    loud.handle("fine", json!({})).unwrap();
    assert_eq!(loud.sent(), [r#"{"fine":true}"#]);
}
