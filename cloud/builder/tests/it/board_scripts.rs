//! Scripts on a board: pins, buses, timers, state, settings, and what the manifest does not ask for.

use std::time::{Duration, Instant};

use iottly_boards::VirtualBoard;
use iottly_boards::virtual_board::{Bme280, Climate};
use iottly_builder::Source;
use iottly_sandbox::{CallError, Fault, TrapCode};
use serde_json::json;

use crate::common::{Board, example};

const EVERYTHING: &str = r#"
name = "everything"
[capabilities]
gpio = ["led", "button"]
i2c = ["sensors"]
spi = ["loop"]
uart = ["loop"]
pwm = ["fan"]
adc = ["light"]
"#;

fn on_board(board: &VirtualBoard, script: &str) -> Board {
    Board::start_on(board, &Source::script(script).with_manifest(EVERYTHING).unwrap())
}

/// Delivers events until `messages` messages were sent.
fn wait_for(board: &mut Board, messages: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while board.sent().len() < messages {
        assert!(Instant::now() < deadline, "only {:?}", board.sent());
        board.instance.deliver().unwrap();
    }
    board.sent()
}

#[test]
fn pins_in_both_directions_and_their_edges() {
    let virtual_board = VirtualBoard::standard();
    let mut board = on_board(
        &virtual_board,
        "let led;
         function init() {
           led = gpio.output('led', true);
           gpio.input('button').onChange((high) => { led.value = !high; send_msg({ high, led: led.value }); });
         }
         function off() { led.low(); led.toggle(); led.toggle(); send_msg({ led: led.value }); }",
    );
    assert_eq!(virtual_board.pin("led"), Ok(true));
    virtual_board.set_pin("button", true).unwrap();
    virtual_board.set_pin("button", false).unwrap();
    assert_eq!(
        wait_for(&mut board, 2),
        [r#"{"high":true,"led":false}"#, r#"{"high":false,"led":true}"#]
    );
    board.handle("off", json!({})).unwrap();
    assert_eq!(virtual_board.pin("led"), Ok(false));
}

#[test]
fn buses_carry_bytes_and_say_what_went_wrong() {
    let sensor = Bme280::new(Climate::default());
    let virtual_board = VirtualBoard::standard().with_i2c("sensors", 0x77, sensor);
    let board = on_board(
        &virtual_board,
        "function init() {
           const bus = i2c.open('sensors');
           const id = bus.writeRead(0x77, [0xd0], 1);
           const several = bus.transaction(0x50, [[0x10, 1, 2], [0x10], 2]);
           let absent;
           try { bus.read(0x23, 1); } catch (e) { absent = [e.tag, e.code, e.message]; }
           const port = spi.open('loop');
           let silly;
           try { bus.read(0x50, 100000); } catch (e) { silly = e.tag; }
           send_msg({ id: id[0], several: [...several[0]], absent, spi: [...port.transfer([1, 2, 3])], silly });
         }",
    );
    let expected = json!({"id": 0x60, "several": [1, 2], "absent": ["io", "no-acknowledge", "i2c sensors: no-acknowledge (address)"],
        "spi": [1, 2, 3], "silly": "limit"});
    assert_eq!(board.sent(), [expected.to_string()]);
}

#[test]
fn serial_data_arrives_at_its_function() {
    let virtual_board = VirtualBoard::standard();
    let mut board = on_board(
        &virtual_board,
        "function init() {
           const port = uart.open('loop', { baud: 115200 });
           port.onData((bytes) => send_msg({ text: String.fromCharCode(...bytes) }));
           port.write('hello');
         }",
    );
    assert_eq!(wait_for(&mut board, 1), [r#"{"text":"hello"}"#]);
    virtual_board.receive("loop", b"again").unwrap();
    assert_eq!(wait_for(&mut board, 2)[1], r#"{"text":"again"}"#);
}

#[test]
fn outputs_and_inputs_in_between() {
    let virtual_board = VirtualBoard::standard();
    let board = on_board(
        &virtual_board,
        "function init() {
           const fan = pwm.open('fan', 25);
           fan.duty(0.5);
           send_msg({ volts: adc.open('light').read() });
         }",
    );
    assert_eq!(virtual_board.pwm_state("fan"), Ok(Some((25, 32768))));
    assert_eq!(board.sent(), [r#"{"volts":1.65}"#]);
}

#[test]
fn timers_run_and_stop() {
    let mut board = on_board(
        &VirtualBoard::new(),
        "let n = 0;
         function init() {
           const never = setTimeout(() => send_msg({ never: true }), 1);
           clearTimeout(never);
           const every = setInterval((word) => { send_msg({ [word]: ++n }); if (n === 2) clearInterval(every); }, 5, 'tick');
           setTimeout(() => send_msg({ last: n }), 200);
         }",
    );
    assert_eq!(
        wait_for(&mut board, 3),
        [r#"{"tick":1}"#, r#"{"tick":2}"#, r#"{"last":2}"#]
    );
}

#[test]
fn state_settings_and_names() {
    let board = on_board(
        &VirtualBoard::new(),
        "function init() {
           state.set('count', { n: 1, text: 'grüße \\u{1f600}' });
           state.set('other', 2);
           state.delete('other');
           let refused;
           try { state.set('', 1); } catch (e) { refused = e.tag; }
           send_msg({ kept: state.get('count'), gone: state.get('other', 'none'), keys: state.keys(), refused,
                      set: config.get('interval'), unset: config.get('nothing', 7), version: config.version,
                      device: identity.device, board: identity.board, digest: identity.firmware.length });
         }",
    );
    let expected = json!({"kept": {"n": 1, "text": "grüße \u{1f600}"}, "gone": "none", "keys": ["count"], "refused": "invalid",
        "set": {"s": 5}, "unset": 7, "version": 3, "device": "local", "board": "virtual", "digest": 64});
    assert_eq!(board.sent(), [expected.to_string()]);
}

#[test]
fn what_the_manifest_does_not_ask_for_is_a_fault_with_its_name() {
    let mut board = Board::run(
        "function init() { try { gpio.output('led'); } catch (e) { send_msg({ tag: e.tag, message: e.message }); } }
         function more() { spi.open('loop'); }",
    );
    let denied =
        |interface: &str| format!("{interface}: firmware.toml names no label of it, see [capabilities]");
    assert_eq!(
        board.sent(),
        [json!({"tag": "denied", "message": denied("gpio")}).to_string()]
    );
    assert_eq!(
        board.handle("more", json!({})),
        Err(CallError::Fault(Fault::Denied(denied("spi"))))
    );
}

#[test]
fn an_exception_in_an_event_names_its_line_and_the_firmware_goes_on() {
    let mut board = on_board(
        &VirtualBoard::new(),
        "function init() {\n  setTimeout(() => { throw new Error('late'); }, 0);\n}",
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    let error = loop {
        assert!(Instant::now() < deadline, "no event came");
        if let Err(error) = board.instance.deliver() {
            break error;
        }
    };
    assert!(
        error.to_string().contains("late") && error.to_string().contains("main.js:2"),
        "{error}"
    );
    assert_eq!(board.instance.deliver(), Ok(false));
}

#[test]
fn the_bad_citizen_is_stopped_by_name_at_everything_it_does() {
    let virtual_board = VirtualBoard::standard();
    let firmware = Board::firmware(&example("bad-citizen"));
    let outcome = |command: &str| {
        let mut board = Board::start_firmware_on(&firmware, &virtual_board);
        (board.handle(command, json!({})).unwrap_err(), board)
    };
    for (command, codes) in [
        ("spin", &[TrapCode::TimeBudget][..]),
        ("pester", &[TrapCode::HostCalls, TrapCode::TimeBudget]),
    ] {
        let CallError::Trap(report) = outcome(command).0 else {
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
        let CallError::Fault(Fault::Limit(text)) = outcome(command).0 else {
            panic!("{command}: no limit")
        };
        assert!(text.contains(part), "{command}: {text}");
    }
    for command in ["trespass", "elsewhere"] {
        let error = outcome(command).0;
        assert!(
            matches!(error, CallError::Fault(Fault::Denied(_))),
            "{command}: {error}"
        );
    }
    for (command, part) in [("dive", "RangeError"), ("hog", "out of memory")] {
        let error = outcome(command).0.to_string();
        assert!(error.contains(part), "{command}: {error}");
    }
    let mut board = Board::start_firmware_on(&firmware, &virtual_board);
    board.handle("chatter", json!({})).unwrap();
    assert!(board.lines().len() < 500, "{}", board.lines().len());
    assert_eq!(virtual_board.pin("heater"), Ok(false));
}
