//! Bytes of the messages about a virtual board.

use iottly_protocol::Down;
use iottly_protocol::board::{
    BoardInput, BoardMessage, BoardOrder, BoardPin, BoardPwm, BoardSensor, BoardState, PinDirection,
    PinFitting,
};

#[test]
fn an_order_and_its_inputs() {
    let order = BoardOrder {
        number: 7,
        watch_ms: 10_000,
        inputs: vec![
            BoardInput::Press {
                button: "button".into(),
                hold_ms: 200,
            },
            BoardInput::Release {
                button: "button".into(),
            },
            BoardInput::Sensor {
                name: "temperature".into(),
                value: -7.5,
            },
        ],
    };
    let golden = r#"{"v":1,"board":{"number":7,"watch_ms":10000,"inputs":[{"kind":"press","button":"button","hold_ms":200},{"kind":"release","button":"button"},{"kind":"sensor","name":"temperature","value":-7.5}]}}"#;
    assert_eq!(
        String::from_utf8(Down::Board(order.clone()).encode()).expect("utf-8"),
        golden
    );
    let Down::Board(read) = Down::decode(golden.as_bytes()).expect("decodes") else {
        panic!("an order")
    };
    assert_eq!(read, order);
    let later =
        r#"{"v":1,"board":{"number":7,"watch_ms":0,"later":true,"inputs":[{"kind":"shake","force":3}]}}"#;
    let Down::Board(read) = Down::decode(later.as_bytes()).expect("decodes") else {
        panic!("an order")
    };
    assert_eq!(read.inputs, [BoardInput::Unknown]);
}

#[test]
fn a_state() {
    let state = BoardState {
        applied: 7,
        header: vec!["GND".into(), "led".into()],
        pins: vec![BoardPin {
            label: "led".into(),
            fitting: PinFitting::Led,
            direction: PinDirection::Output,
            high: true,
        }],
        pwm: vec![BoardPwm {
            label: "fan".into(),
            hertz: 25_000,
            duty: 32_768,
        }],
        sensors: vec![BoardSensor {
            name: "temperature".into(),
            part: "i2c sensors".into(),
            unit: "°C".into(),
            value: 21.5,
            min: -40.0,
            max: 85.0,
        }],
    };
    let golden = r#"{"v":1,"state":{"applied":7,"header":["GND","led"],"pins":[{"label":"led","fitting":"led","direction":"output","high":true}],"pwm":[{"label":"fan","hertz":25000,"duty":32768}],"sensors":[{"name":"temperature","part":"i2c sensors","unit":"°C","value":21.5,"min":-40.0,"max":85.0}]}}"#;
    let message = BoardMessage::State(state.clone());
    assert_eq!(String::from_utf8(message.encode()).expect("utf-8"), golden);
    let BoardMessage::State(read) = BoardMessage::decode(golden.as_bytes()).expect("decodes");
    assert_eq!(read, state);
}
