//! Texts and values that a script passes to the device: odd ones are made well-formed or refused, and never trap.

use iottly_boards::VirtualBoard;
use iottly_builder::Source;
use iottly_sandbox::{CallError, Fault};
use serde_json::json;

use crate::common::Board;

/// Half of a surrogate pair, as a script makes it by cutting a text in the middle of an emoji.
const HALF: &str = "'🔥'.slice(0, 1)";

#[test]
fn a_text_cut_in_the_middle_of_an_emoji_arrives_mended() {
    let mut board = Board::run(
        "function loop() { send_msg({ label: 'boiler 🔥 hot'.slice(0, 8), ['k' + '🔥'.slice(1)]: 1 }, 'c' + '🔥'.slice(1)); log('🔥'.slice(0, 1)); }",
    );
    assert_eq!(board.tick(), Ok(1000));
    assert_eq!(board.sent(), [r#"{"label":"boiler \ufffd","k\ufffd":1}"#]);
    assert_eq!(board.seen().sent[0].channel.as_deref(), Some("c\u{fffd}"));
    assert_eq!(board.lines()[0].1, "\u{fffd}");
}

#[test]
fn halves_of_characters_go_through_every_function_that_takes_a_text() {
    let script = format!(
        "const half = {HALF};
         function init() {{
             log(half, [half], {{ [half]: half }}, Symbol(half), new Error(half));
             for (const level of ['trace', 'debug', 'info', 'warn', 'error']) console[level](half);
             state.set('a' + half, half); state.get('a' + half); state.keys(half); state.delete('b' + half);
             config.get(half);
             const tries = [
                 () => gpio.output(half), () => gpio.input(half, half), () => i2c.open(half), () => spi.open(half),
                 () => uart.open(half, {{ parity: half }}), () => pwm.open(half, half), () => adc.open(half),
                 () => send_msg({{}}, half.repeat(200)), () => setTimeout(() => 0, half),
             ];
             let refused = 0;
             for (const one of tries) try {{ one(); }} catch (error) {{ refused += 1; }}
             send_msg({{ kept: state.get('a' + half), refused }});
         }}
         function thrown() {{ throw half; }}
         function error() {{ throw new Error(half); }}
         function fault() {{ throw new Fault('denied', half); }}
         function health() {{ return half; }}
         function shutdown() {{ throw half; }}"
    );
    let manifest = "name = \"x\"\nlang = \"js\"\n[capabilities]\ngpio = [\"led\"]\ni2c = [\"a\"]\nspi = [\"a\"]\nuart = [\"a\"]\npwm = [\"a\"]\nadc = [\"a\"]\n";
    let source = Source::script(script).with_manifest(manifest).unwrap();
    let mut board = Board::start_on(&VirtualBoard::standard(), &source);
    let sent = board.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(
        sent[0].starts_with(r#"{"kept":"\ufffd","refused":8"#),
        "{}",
        sent[0]
    );
    for (command, text) in [
        ("thrown", "Error: \u{fffd}"),
        ("error", "\u{fffd}"),
        ("fault", "denied: \u{fffd}"),
    ] {
        let Err(CallError::Fault(fault)) = board.handle(command, json!({})) else {
            panic!("{command} is not a fault")
        };
        assert!(fault.to_string().contains(text), "{command}: {fault}");
    }
    assert_eq!(
        board.instance.health(),
        Err(CallError::Fault(Fault::Failed("\u{fffd}".into())))
    );
    assert!(matches!(
        board.instance.shutdown("the end"),
        Err(CallError::Fault(_))
    ));
    assert!(board.lines().iter().all(|(_, line)| !line.is_empty()));
}

#[test]
fn odd_values_are_refused_by_name_and_end_nothing() {
    let odd = [
        "undefined",
        "null",
        "NaN",
        "-1",
        "1.5",
        "1e300",
        "Infinity",
        "{}",
        "[]",
        "() => 1",
        "Symbol('s')",
        "10n",
        "true",
        "'text'",
        "Object.create(null)",
        "new Proxy({}, {})",
        "{ toString() { throw 1; } }",
        "{ valueOf() { return {}; } }",
        "new Date(NaN)",
    ];
    let calls = [
        "send_msg(x)",
        "send_msg({}, x)",
        "send_msg({}, { channel: x })",
        "send_msg({ toJSON: () => x })",
        "log(x)",
        "console.error(x, x)",
        "state.set(x, x)",
        "state.get(x)",
        "state.keys(x)",
        "state.delete(x)",
        "config.get(x)",
        "setTimeout(x, x)",
        "setTimeout(() => 0, x)",
        "setInterval(() => 0, x)",
        "clearTimeout(x)",
        "gpio.output(x, x)",
        "gpio.input(x, x)",
        "gpio.input('button', x)",
        "i2c.open(x)",
        "bus.read(x, x)",
        "bus.write(80, x)",
        "bus.transaction(80, x)",
        "bus.transaction(80, [x])",
        "spi.open(x)",
        "uart.open(x, x)",
        "uart.open('loop', { baud: x })",
        "uart.open('loop', { stopBits: x })",
        "uart.open('loop', { parity: x })",
        "pwm.open(x, x)",
        "pwm.open('fan', x)",
        "adc.open(x)",
        "new Fault(x, x)",
        "performance.now(x)",
        "new Date(x)",
    ];
    let script = format!(
        "let bus; const odd = [{}];
         const calls = {{ {} }};
         function init() {{ bus = i2c.open('sensors'); }}
         function attempt(command) {{ calls['c' + command.attempt.call](odd[command.attempt.value]); }}
         function toss(command) {{ throw odd[command.toss.value]; }}
         function fault(command) {{ const f = new Fault('denied', 'x'); f.message = odd[command.fault.value]; f.tag = command.fault.tag ? odd[command.fault.value] : f.tag; throw f; }}
         let answer; function set(command) {{ answer = odd[command.set.value]; }}
         function loop() {{ return answer; }}
         function health() {{ return answer; }}",
        odd.map(|value| format!("({value})")).join(", "),
        calls.iter().enumerate().map(|(at, call)| format!("c{at}: (x) => {call}")).collect::<Vec<_>>().join(", "),
    );
    let manifest = "name = \"x\"\nlang = \"js\"\n[capabilities]\ngpio = [\"led\", \"button\"]\ni2c = [\"sensors\"]\nspi = [\"loop\"]\nuart = [\"loop\"]\npwm = [\"fan\"]\nadc = [\"light\"]\n";
    let source = Source::script(script).with_manifest(manifest).unwrap();
    let mut board = Board::start_on(&VirtualBoard::standard(), &source);
    let alive = |board: &mut Board, what: &str, command: &str, values: serde_json::Value| match board
        .handle(command, values)
    {
        Ok(()) | Err(CallError::Fault(_)) => {}
        Err(error) => panic!("{what}: {error}"),
    };
    for (call, text) in calls.iter().enumerate() {
        for (value, odd) in odd.iter().enumerate() {
            alive(
                &mut board,
                &format!("{text} with {odd}"),
                "attempt",
                json!({ "call": call, "value": value }),
            );
        }
    }
    for (value, odd) in odd.iter().enumerate() {
        alive(
            &mut board,
            &format!("throw {odd}"),
            "toss",
            json!({ "value": value }),
        );
        alive(
            &mut board,
            &format!("a fault of {odd}"),
            "fault",
            json!({ "value": value }),
        );
        alive(
            &mut board,
            &format!("a fault of kind {odd}"),
            "fault",
            json!({ "value": value, "tag": true }),
        );
        alive(&mut board, odd, "set", json!({ "value": value }));
        assert!(
            matches!(board.tick(), Ok(_) | Err(CallError::Fault(_))),
            "a loop that returns {odd}"
        );
        assert!(
            matches!(board.instance.health(), Ok(()) | Err(CallError::Fault(_))),
            "a health() that returns {odd}"
        );
    }
}

#[test]
fn a_script_that_breaks_the_language_breaks_itself_only() {
    let mut board = Board::run(
        "function wreck() {
             const broken = () => { throw new Error('broken'); };
             for (const thing of [String.prototype, RegExp.prototype]) {
                 for (const name of Object.getOwnPropertyNames(thing)) { try { if (name !== 'constructor') thing[name] = broken; } catch {} }
             }
             JSON.stringify = JSON.parse = Math.min = Math.max = Math.round = broken;
             globalThis.send_msg = broken; globalThis.String = broken; globalThis.Number = broken;
         }
         function after() { throw new Error('still told'); }
         function loop() { return 70; }",
    );
    let _ = board.handle("wreck", json!({}));
    for _ in 0..3 {
        let outcome = board.handle("after", json!({}));
        assert!(matches!(outcome, Err(CallError::Fault(_))), "{outcome:?}");
        let outcome = board.tick();
        assert!(matches!(outcome, Ok(_) | Err(CallError::Fault(_))), "{outcome:?}");
    }
}
