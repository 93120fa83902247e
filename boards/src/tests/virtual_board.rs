//! The virtual board: the contract, and what a test can observe.

use std::time::Duration;

use crate::virtual_board::{Action, Bme280, Climate, Input, Script};
use crate::{Board, Pull, SerialSettings, UartError, VirtualBoard};
use bme280_rs::{Configuration, Oversampling, SensorMode};
use embedded_hal::delay::DelayNs;

use crate::contract::{self, Rig};

#[test]
fn it_keeps_the_contract() {
    let board = VirtualBoard::standard();
    board.set_pin("button", false).unwrap();
    contract::all(&Rig {
        board: &board,
        pulse: Some(("button", &|| {
            for high in [true, false] {
                board.set_pin("button", high).unwrap();
            }
        })),
        pin: Some(("button", &|high| board.set_pin("button", high).unwrap())),
        seen: Some(("led", &|| board.pin("led").unwrap())),
        i2c: Some(("sensors", 0x50, 0x51)),
        spi: Some("loop"),
        uart: Some("loop"),
        pwm: Some("fan"),
        adc: Some(("light", 1_650_000)),
        passed: &|_| {},
    });
}

struct NoDelay;

impl DelayNs for NoDelay {
    fn delay_ns(&mut self, _: u32) {}
}

#[test]
fn a_published_driver_reads_the_climate() {
    let sensor = Bme280::default();
    let board = VirtualBoard::new().with_i2c("sensors", 0x76, sensor.clone());
    let mut bus = board.i2c("sensors").unwrap();
    let mut driver = bme280_rs::Bme280::new(&mut *bus, NoDelay);
    driver.init().unwrap();
    let once = Oversampling::Oversample1;
    let configuration = Configuration::default()
        .with_temperature_oversampling(once)
        .with_pressure_oversampling(once)
        .with_humidity_oversampling(once)
        .with_sensor_mode(SensorMode::Normal);
    driver.set_sampling_configuration(configuration).unwrap();
    for (celsius, hectopascal, percent) in [
        (21.5, 1013.25, 45.0),
        (-12.0, 870.0, 80.0),
        (60.0, 1085.0, 5.0),
        (0.0, 500.0, 99.0),
    ] {
        sensor.set(Climate {
            celsius,
            hectopascal,
            percent,
        });
        let read = driver.read_sample().unwrap();
        let near = |read: Option<f32>, set: f64, within: f64| {
            read.is_some_and(|read| (f64::from(read) - set).abs() < within)
        };
        assert!(
            near(read.temperature, celsius, 0.05),
            "{:?} for {celsius}",
            read.temperature
        );
        assert!(
            near(read.pressure, hectopascal * 100.0, 20.0),
            "{:?} for {hectopascal}",
            read.pressure
        );
        assert!(
            near(read.humidity, percent, 0.2),
            "{:?} for {percent}",
            read.humidity
        );
    }
}

#[test]
fn a_sensor_holds_values_at_the_ends_of_its_range() {
    let sensor = Bme280::new(Climate {
        celsius: 200.0,
        hectopascal: 1.0,
        percent: -5.0,
    });
    assert_eq!(
        sensor.climate(),
        Climate {
            celsius: 85.0,
            hectopascal: 300.0,
            percent: 0.0
        }
    );
}

#[test]
fn what_firmware_does_is_recorded() {
    let board = VirtualBoard::standard();
    board.output("led", false).unwrap().set_high().unwrap();
    board
        .uart("loop", SerialSettings::default())
        .unwrap()
        .write(b"x")
        .unwrap();
    board.pwm("fan", 25).unwrap().set_duty_cycle_fully_on().unwrap();
    let (recorded, dropped) = board.record().take();
    let actions: Vec<_> = recorded.into_iter().map(|recorded| recorded.action).collect();
    let pin = |high| Action::Pin {
        label: "led".into(),
        high,
    };
    let pwm = |duty| Action::Pwm {
        label: "fan".into(),
        hertz: 25,
        duty,
    };
    assert_eq!(
        actions,
        [
            pin(false),
            pin(true),
            Action::Bytes {
                label: "loop".into(),
                bytes: b"x".into()
            },
            pwm(0),
            pwm(u16::MAX)
        ]
    );
    assert_eq!((dropped, board.pwm_state("fan")), (0, Ok(Some((25, u16::MAX)))));
}

#[test]
fn the_record_is_bounded_and_says_so() {
    let board = VirtualBoard::standard();
    let mut led = board.output("led", false).unwrap();
    (0..5000).for_each(|_| led.toggle().unwrap());
    let (recorded, dropped) = board.record().take();
    assert_eq!((recorded.len(), dropped), (4096, 5001 - 4096));
}

#[test]
fn a_script_plays_the_world() {
    let board = VirtualBoard::standard();
    let press = Input::Pin {
        label: "button".into(),
        high: true,
    };
    let mut script = Script::new([
        (Duration::from_millis(20), press),
        (
            Duration::from_millis(10),
            Input::Microvolts {
                label: "light".into(),
                microvolts: 7,
            },
        ),
    ]);
    while let Some(input) = script.due(Duration::from_millis(15)) {
        board.apply(&input).unwrap();
    }
    assert_eq!(
        (
            board.pin("button"),
            board.analog("light").unwrap().read_microvolts()
        ),
        (Ok(false), Ok(7))
    );
    assert_eq!(script.next_at(), Some(Duration::from_millis(20)));
    let absent = Input::Bytes {
        label: "gps".into(),
        bytes: vec![],
    };
    assert_eq!(
        board.apply(&absent).unwrap_err().to_string(),
        "the board has no serial port \"gps\""
    );
}

#[test]
fn a_pull_decides_until_the_world_drives_the_pin() {
    let board = VirtualBoard::standard();
    assert_eq!(board.input("button", Pull::Up).unwrap().is_high(), Ok(true));
    board.set_pin("button", false).unwrap();
    assert_eq!(board.input("button", Pull::Up).unwrap().is_high(), Ok(false));
}

#[test]
fn a_serial_port_that_is_not_read_loses_bytes_and_says_so() {
    let board = VirtualBoard::new().with_uart("gps", false);
    let mut port = board.uart("gps", SerialSettings::default()).unwrap();
    board.receive("gps", &[1; 5000]).unwrap();
    let mut bytes = [0; 8192];
    assert_eq!(port.read(&mut bytes), Err(UartError::Overrun));
    assert_eq!(port.read(&mut bytes), Ok(4096));
}
