//! Scripts from text to running firmware: built, and run on the real engine in the sandbox.

use iottly_builder::Source;
use iottly_sandbox::{CallError, Fault, Level, Limits};
use serde_json::json;

use crate::common::{Board, build, sections};

#[test]
fn an_empty_script_answers_echo_and_nothing_else() {
    let mut board = Board::run("");
    board.handle("echo", json!({"content": "hi there!"})).unwrap();
    assert_eq!(board.sent(), [r#"{"ECHO":{"echo":{"content":"hi there!"}}}"#]);
    assert_eq!(
        board.handle("reboot", json!({})),
        Err(CallError::Fault(Fault::Unsupported(
            "no handler for \"reboot\"".into()
        )))
    );
    assert!(board.lines().is_empty(), "{:?}", board.lines());
    assert_eq!(
        board.tick(),
        Ok(86_400_000),
        "without a loop there is nothing to do"
    );
    assert_eq!(board.instance.health(), Ok(()));
}

#[test]
fn a_script_may_define_its_own_echo() {
    let mut board = Board::run("function echo(command) { send_msg({ mine: command.echo.content }); }");
    board.handle("echo", json!({"content": 7})).unwrap();
    assert_eq!(board.sent(), [r#"{"mine":7}"#]);
}

#[test]
fn plain_functions_are_found_by_their_names() {
    let mut board = Board::run(
        "let count = 0;
         function init() { send_msg({ init: true }, 'life'); }
         function loop() { count += 1; send_msg({ count }); return count * 100; }
         const set_speed = (command) => send_msg({ speed: command.set_speed.rpm, order: Object.keys(command.set_speed) });
         function shutdown(reason) { send_msg({ bye: reason }); }",
    );
    assert_eq!((board.tick(), board.tick()), (Ok(100), Ok(200)));
    board
        .handle("set_speed", json!({"rpm": "900", "b": 1, "a": 2}))
        .unwrap();
    board.instance.shutdown("update").unwrap();
    assert_eq!(
        board.sent(),
        [
            r#"{"init":true}"#,
            r#"{"count":1}"#,
            r#"{"count":2}"#,
            r#"{"speed":"900","order":["rpm","b","a"]}"#,
            r#"{"bye":"update"}"#
        ]
    );
    assert_eq!(board.seen().sent[0].channel.as_deref(), Some("life"));
}

#[test]
fn the_platforms_own_functions_are_no_commands() {
    let mut board = Board::run("function init() {} function loop() {}");
    for name in [
        "init",
        "loop",
        "send_msg",
        "eval",
        "log",
        "Fault",
        "parseInt",
        "Date",
        "__iottly_find",
        "constructor",
        "a b",
        "x;y",
        "this",
        "while",
    ] {
        let outcome = board.handle(name, json!({}));
        assert_eq!(
            outcome,
            Err(CallError::Fault(Fault::Unsupported(format!(
                "no handler for {name:?}"
            )))),
            "{name}"
        );
    }
    assert!(board.sent().is_empty());
}

#[test]
fn loop_runs_every_second_unless_it_says_otherwise() {
    let mut board = Board::run(
        "let wait; function set_wait(command) { wait = command.set_wait.ms; } function loop() { return wait; }",
    );
    assert_eq!(board.tick(), Ok(1000));
    for (ms, expected) in [
        (json!(0), 1),
        (json!(20.4), 20),
        (json!(1e12), 86_400_000),
        (json!(-5), 1000),
        (json!("soon"), 1000),
    ] {
        board.handle("set_wait", json!({ "ms": ms })).unwrap();
        assert_eq!(board.tick(), Ok(expected), "{ms}");
    }
}

#[test]
fn modules_are_imported_from_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("lib")).unwrap();
    std::fs::write(
        dir.path().join("main.js"),
        "import { double } from './lib/math.js';\nfunction loop() { return double(21); }",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("lib/math.js"),
        "export const double = (n) => n * 2;",
    )
    .unwrap();
    assert_eq!(
        Board::start(&Source::from_dir(dir.path()).unwrap()).tick(),
        Ok(42)
    );
}

#[test]
fn sections_become_one_script() {
    let source = sections(
        "let n = 1;",
        "function init() { n = 2; }",
        "function loop() { return n; }",
        &[("bump", "function bump() { n += 1; }")],
    );
    let mut board = Board::start(&source);
    board.handle("bump", json!({})).unwrap();
    assert_eq!(board.tick(), Ok(3));
}

#[test]
fn an_exception_is_logged_with_its_line_and_reaches_the_host() {
    let mut board =
        Board::run("let n = 0;\nfunction loop() {\n  n += 1;\n  if (n === 1) missing();\n  return n;\n}");
    let CallError::Fault(Fault::Failed(text)) = board.tick().unwrap_err() else {
        panic!("no fault")
    };
    assert!(text.contains("missing") && text.contains("(main.js:4"), "{text}");
    let (level, line) = board.lines().remove(0);
    assert!(
        level == Level::Error && line.contains("missing") && line.contains("main.js:4"),
        "{line}"
    );
    assert_eq!(board.tick(), Ok(2), "an exception does not end the firmware");
}

#[test]
fn an_exception_in_a_section_names_the_section() {
    let source = sections(
        "",
        "\n\nfunction init() { throw new Error('no sensor'); }",
        "",
        &[("echo", "\nfunction echo() {\n  null.x; }")],
    );
    let mut board = Board::load(&source);
    let text = board.instance.init().unwrap_err().to_string();
    assert!(text.contains("no sensor") && text.contains("(init:3"), "{text}");
    let text = board.handle("echo", json!({})).unwrap_err().to_string();
    assert!(text.contains("(echo:3"), "{text}");
}

#[test]
fn whatever_is_thrown_is_told() {
    let mut board = Board::run(
        "function text() { throw 'words'; }
         function nothing() { throw undefined; }
         function object() { throw { a: 1 }; }
         function fault() { throw new Fault('denied', 'not today'); }
         function busy() { throw new Fault('busy'); }
         function odd() { throw new Fault('no such kind', 'x'); }
         async function later() {}
         function health() { return 'sensor is gone'; }",
    );
    let failed = |text: &str| CallError::Fault(Fault::Failed(text.into()));
    let mut thrown = |command: &str| board.handle(command, json!({})).unwrap_err();
    assert_eq!(thrown("text"), failed("Error: words"));
    assert_eq!(thrown("nothing"), failed("Error: undefined"));
    assert_eq!(thrown("object"), failed(r#"Error: {"a":1}"#));
    assert_eq!(
        thrown("fault"),
        CallError::Fault(Fault::Denied("not today".into()))
    );
    assert_eq!(thrown("busy"), CallError::Fault(Fault::Busy));
    assert!(
        matches!(thrown("odd"), CallError::Fault(Fault::Failed(text)) if text.starts_with("Fault: x at odd (main.js:6"))
    );
    assert!(thrown("later").to_string().contains("later is async"));
    assert_eq!(
        board.instance.health(),
        Err(CallError::Fault(Fault::Failed("sensor is gone".into())))
    );
    assert_eq!(board.lines().len(), 8, "each of them is logged");
}

#[test]
fn a_refused_message_can_be_caught() {
    let mut board = Board::run(
        "function loop() { try { send_msg({ big: 'x'.repeat(2000000) }); } catch (e) { log(e.name, e.tag); return 7; } }
         function bad() { send_msg('text'); }
         function full() { send_msg({ a: 1 }); }
         function durable() { send_msg({ a: 1 }, { durable: true, channel: 'c' }); send_msg({ b: 2 }, {}); }",
    );
    assert_eq!(board.tick(), Ok(7));
    assert_eq!(board.lines()[0].1, "Fault limit");
    assert!(
        board
            .handle("bad", json!({}))
            .unwrap_err()
            .to_string()
            .contains("send_msg takes an object, not string")
    );
    board.seen().refuse = Some(Fault::Io("the disk is gone".into()));
    assert_eq!(
        board.handle("full", json!({})),
        Err(CallError::Fault(Fault::Io("the disk is gone".into())))
    );
    board.seen().refuse = None;
    board.handle("durable", json!({})).unwrap();
    let seen = board.seen();
    let kinds: Vec<_> = seen
        .sent
        .iter()
        .map(|message| (message.channel.as_deref(), message.durable))
        .collect();
    assert_eq!(kinds, [(Some("c"), true), (None, false)]);
}

#[test]
fn the_clock_is_the_devices() {
    let mut board = Board::run(
        "function loop() { send_msg({ now: Date.now(), year: new Date().getFullYear(), then: new Date(0).toISOString() }); }",
    );
    board.tick().unwrap();
    assert_eq!(
        board.sent(),
        [r#"{"now":1700000000000,"year":2023,"then":"1970-01-01T00:00:00.000Z"}"#]
    );
}

#[test]
fn every_start_has_its_own_random_numbers() {
    let firmware = Board::firmware(&Source::script(
        "function loop() {
           const r = [0, 0, 0, 0].map(Math.random), spread = new Array(10).fill(0);
           for (let i = 0; i < 20000; i++) spread[Math.floor(Math.random() * 10)]++;
           send_msg({ r, spread });
         }",
    ));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let mut board = Board::on(&firmware, Limits::default());
        board.instance.init().unwrap();
        board.tick().unwrap();
        let message: serde_json::Value = serde_json::from_str(&board.sent()[0]).unwrap();
        for count in message["spread"].as_array().unwrap() {
            assert!((1700..2300).contains(&count.as_u64().unwrap()), "{message}");
        }
        for number in message["r"].as_array().unwrap() {
            let number = number.as_f64().unwrap();
            assert!((0.0..1.0).contains(&number));
            assert!(seen.insert(number.to_bits()), "{number} came twice");
        }
    }
}

#[test]
fn the_log_takes_anything() {
    let mut board = Board::run(
        "console.log('early', 1);
         function loop() { log('a', 1, { b: [2] }, null, undefined); log.warn('w'); console.error(new Error('e')); const o = {}; o.o = o; log(o); }",
    );
    board.tick().unwrap();
    let lines = board.lines();
    let texts: Vec<_> = lines
        .iter()
        .map(|(level, text)| (*level, text.lines().next().unwrap_or_default()))
        .collect();
    assert_eq!(
        texts,
        [
            (Level::Info, "early 1"),
            (Level::Info, r#"a 1 {"b":[2]} null undefined"#),
            (Level::Warn, "w"),
            (Level::Error, "Error: e"),
            (Level::Info, "[object Object]")
        ]
    );
}

#[test]
fn a_file_shares_the_scope_of_all_sections_and_errors_name_it() {
    let source = |file: &str| {
        Source::sections([
            ("global", "let limit = 20;"),
            ("filters.js", file),
            ("init", ""),
            (
                "loop",
                "function loop() { send_msg({ warm: warm(21) }); return 500; }",
            ),
        ])
    };
    let mut board = Board::start(&source("// is warmer\nfunction warm(t) { return t > limit; }"));
    assert_eq!(board.tick(), Ok(500));
    assert_eq!(board.sent(), [r#"{"warm":true}"#]);
    let error = build(&source("// two\n  let = 1;")).expect_err("it is no function");
    let text = error.to_string();
    assert!(text.starts_with("filters.js:2"), "{text}");
}
