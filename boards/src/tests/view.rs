//! View of a virtual board: what a person sees, and what a press or a new value changes for firmware.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::profile::{self, Profile};
use crate::virtual_board::{Direction, Fitting, PinView, SensorView};
use crate::{Board, Edge, LinuxBoard, Pull, VirtualBoard};

fn pin(board: &VirtualBoard, label: &str) -> PinView {
    let pins = board.view().pins;
    pins.into_iter().find(|pin| pin.label == label).unwrap()
}

fn sensor(board: &VirtualBoard, name: &str) -> SensorView {
    let sensors = board.view().sensors;
    sensors.into_iter().find(|sensor| sensor.name == name).unwrap()
}

#[test]
fn a_view_follows_the_firmware() {
    let board = VirtualBoard::standard();
    assert_eq!(pin(&board, "led").direction, Direction::Free);
    assert_eq!(pin(&board, "led").fitting, Fitting::Led);
    let led = board.output("led", true).unwrap();
    assert!(pin(&board, "led").high);
    assert_eq!(pin(&board, "led").direction, Direction::Output);
    drop(led);
    assert_eq!(pin(&board, "led").direction, Direction::Free);
    assert!(pin(&board, "led").high, "an output keeps its level");
    assert_eq!(board.view().pwm[0].hertz, 0);
    let mut fan = board.pwm("fan", 25_000).unwrap();
    fan.set_duty_cycle(32_768).unwrap();
    let fan = &board.view().pwm[0];
    assert_eq!((fan.label.as_str(), fan.hertz, fan.duty), ("fan", 25_000, 32_768));
}

#[test]
fn every_name_on_the_header_is_a_part_or_a_line_of_a_bus() {
    let view = VirtualBoard::standard().view();
    assert_eq!(view.header.len(), 20);
    for pin in &view.pins {
        assert!(view.header.contains(&pin.label), "{}", pin.label);
    }
}

#[test]
fn a_button_is_pressed_against_its_pull() {
    for (pull, pressed) in [(Pull::Down, true), (Pull::Up, false), (Pull::None, true)] {
        let board = VirtualBoard::standard();
        let mut button = board.input("button", pull).unwrap();
        let presses = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&presses);
        let edge = if pressed { Edge::Rising } else { Edge::Falling };
        let _watch = button
            .watch(
                edge,
                Box::new(move |_| _ = counted.fetch_add(1, Ordering::Relaxed)),
            )
            .unwrap();
        assert_eq!(button.is_high().unwrap(), !pressed, "{pull:?}");
        board.press("button", true).unwrap();
        board.press("button", true).unwrap();
        assert_eq!(button.is_high().unwrap(), pressed, "{pull:?}");
        board.press("button", false).unwrap();
        assert_eq!(button.is_high().unwrap(), !pressed, "{pull:?}");
        assert_eq!(presses.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn what_is_no_button_is_not_pressed() {
    let board = VirtualBoard::standard();
    let refused = |label: &str| board.press(label, true).unwrap_err().to_string();
    assert_eq!(refused("led"), "pin \"led\" has no button");
    assert_eq!(refused("doorbell"), "the board has no button \"doorbell\"");
    let _driven = board.output("button", false).unwrap();
    assert_eq!(
        refused("button"),
        "pin \"button\" has a button, but the firmware drives it"
    );
    assert!(!board.pin("button").unwrap());
}

#[test]
fn a_value_of_the_world_reaches_the_sensor() {
    let board = VirtualBoard::standard();
    board.set_sensor("temperature", -7.5).unwrap();
    board.set_sensor("humidity", 80.0).unwrap();
    board.set_sensor("light", 3.0).unwrap();
    assert_eq!(sensor(&board, "temperature").value, -7.5);
    assert_eq!(sensor(&board, "humidity").value, 80.0);
    assert_eq!(sensor(&board, "pressure").value, 1013.25);
    assert_eq!(
        board.analog("light").unwrap().read_microvolts().unwrap(),
        3_000_000
    );
    for (name, value) in [
        ("temperature", 85.1),
        ("temperature", f64::NAN),
        ("light", -0.1),
        ("light", f64::INFINITY),
    ] {
        let error = board.set_sensor(name, value).unwrap_err().to_string();
        assert!(error.contains(" goes from "), "{error}");
    }
    assert_eq!(
        board.set_sensor("wind", 1.0).unwrap_err().to_string(),
        "the board has no sensor \"wind\""
    );
}

#[test]
fn no_profile_of_real_hardware_is_seen_or_touched_from_afar() {
    for name in profile::names() {
        let board: Box<dyn Board> = Box::new(LinuxBoard::new(Profile::named(name).unwrap()));
        assert!(VirtualBoard::of(board.as_ref()).is_none(), "{name}");
    }
    let board: Box<dyn Board> = Box::new(VirtualBoard::standard());
    assert!(VirtualBoard::of(board.as_ref()).is_some());
}
