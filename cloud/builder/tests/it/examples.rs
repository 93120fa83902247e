//! The example firmwares, as a newcomer gets them.

use serde_json::{Value, json};

use crate::common::{Board, NOW_MS, example};

fn last(board: &Board) -> Value {
    serde_json::from_str(board.sent().last().unwrap()).unwrap()
}

#[test]
fn the_thermostat_measures_heats_and_takes_a_new_target() {
    let mut board = Board::start(&example("thermostat-js"));
    assert_eq!(board.tick(), Ok(1000));
    let reading = last(&board);
    assert_eq!(
        reading.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["temperature", "target", "heating"]
    );
    assert_eq!(
        (&reading["target"], &reading["heating"]),
        (&json!(20), &json!(true)),
        "18 degrees are too cold"
    );

    for second in 1..=600 {
        board.seen().now_ms = NOW_MS + second * 1000;
        assert_eq!(board.tick(), Ok(1000));
    }
    let warm = last(&board)["temperature"].as_f64().unwrap();
    assert!((19.0..21.0).contains(&warm), "{warm}");

    board.handle("set_target", json!({"celsius": "25.5"})).unwrap();
    let reply = &last(&board)["set_target"];
    assert_eq!(
        (&reply["accepted"], &reply["target"], &reply["heating"]),
        (&json!(true), &json!(25.5), &json!(true))
    );
    board.handle("set_target", json!({"celsius": 15})).unwrap();
    assert_eq!(last(&board)["set_target"]["heating"], json!(false));
}

#[test]
fn the_thermostat_says_what_is_wrong_with_a_target() {
    let mut board = Board::start(&example("thermostat-js"));
    for (celsius, error) in [
        (json!("warm"), "celsius is \"warm\", not a number"),
        (json!(""), "celsius is \"\", not a number"),
        (json!(null), "celsius is null, not a number"),
        (json!(90), "celsius is 90, it must lie between 5 and 30"),
    ] {
        board.handle("set_target", json!({ "celsius": celsius })).unwrap();
        assert_eq!(
            last(&board),
            json!({"set_target": {"accepted": false, "error": error}})
        );
    }
    board.tick().unwrap();
    assert_eq!(
        last(&board)["target"],
        json!(20),
        "a refused target changes nothing"
    );
}

#[test]
fn the_echo_firmware_answers() {
    let mut board = Board::start(&example("echo-js"));
    board.handle("echo", json!({"content": "hi there!"})).unwrap();
    assert_eq!(
        board.sent(),
        [
            r#"{"hello":"echo firmware is running"}"#,
            r#"{"ECHO":{"echo":{"content":"hi there!"}}}"#
        ]
    );
    assert_eq!(board.lines()[0].1, "echo number 1: hi there!");
}
