//! Contract of every board: the checks that an implementation has to pass, with its parts wired as a [`Rig`] says.
//!
//! The checks panic, as tests do. They are part of the library so that a program can run them on a board's own
//! hardware.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Board, BoardError, Edge, Pull, SerialSettings, Tell};
use embedded_hal::i2c::{Error as _, ErrorKind, Operation};
use embedded_hal::spi::Operation as SpiOperation;

/// Board and access to its parts from outside. Parts that are not wired are not checked.
#[derive(Clone, Copy)]
pub struct Rig<'a> {
    /// The board.
    pub board: &'a dyn Board,
    /// Pin, and what drives it from outside.
    pub pin: Option<(&'a str, &'a dyn Fn(bool))>,
    /// Pin that is low, and what makes it high for a moment.
    pub pulse: Option<(&'a str, &'a dyn Fn())>,
    /// Pin, and what reads its level from outside.
    pub seen: Option<(&'a str, &'a dyn Fn() -> bool)>,
    /// I2C bus with 256 byte registers at this address, and an address without a device.
    pub i2c: Option<(&'a str, u8, u8)>,
    /// SPI device that returns what it receives.
    pub spi: Option<&'a str>,
    /// Serial port that returns what it receives.
    pub uart: Option<&'a str>,
    /// PWM output.
    pub pwm: Option<&'a str>,
    /// Analog input and the microvolts at it.
    pub adc: Option<(&'a str, i32)>,
    /// Receives the name of each check that has passed.
    pub passed: &'a dyn Fn(&str),
}

impl<'a> Rig<'a> {
    /// Returns a rig without wired parts.
    #[must_use]
    pub fn new(board: &'a dyn Board) -> Self {
        Self {
            board,
            pin: None,
            pulse: None,
            seen: None,
            i2c: None,
            spi: None,
            uart: None,
            pwm: None,
            adc: None,
            passed: &|_| {},
        }
    }
}

/// Runs all checks of the wired parts.
///
/// # Panics
/// If the board breaks the contract.
pub fn all(rig: &Rig<'_>) {
    absent_labels_are_named(rig.board);
    (rig.passed)("absent labels are named");
    if let Some((label, see)) = rig.seen {
        an_output_is_seen_outside(rig.board, label, see);
        (rig.passed)("an output is seen outside, has one owner and keeps its level");
    }
    if let Some((label, pulse)) = rig.pulse {
        a_pulse_is_two_edges(rig.board, label, pulse);
        (rig.passed)("a pulse is a rising and a falling edge, with their times");
    }
    if let Some((label, drive)) = rig.pin {
        an_input_sees_the_world(rig.board, label, drive);
        (rig.passed)("an input sees the world");
        edges_are_told(rig.board, label, drive);
        (rig.passed)("edges are reported until the last watch is dropped");
    }
    if let Some((label, address, vacant)) = rig.i2c {
        registers_over_i2c(rig.board, label, address, vacant);
        (rig.passed)("registers over I2C, a shared bus, no acknowledgement");
    }
    if let Some(label) = rig.spi {
        spi_gives_back(rig.board, label);
        (rig.passed)("SPI gives back what it receives");
    }
    if let Some(label) = rig.uart {
        uart_gives_back(rig.board, label);
        (rig.passed)("a serial port gives back what it receives");
    }
    if let Some(label) = rig.pwm {
        pwm_takes_duty_and_frequency(rig.board, label);
        (rig.passed)("a PWM output takes duty and frequency");
    }
    if let Some((label, microvolts)) = rig.adc {
        assert_eq!(
            done("open the analog input", rig.board.analog(label)).read_microvolts(),
            Ok(microvolts)
        );
        (rig.passed)("an analog input is read in microvolts");
    }
}

fn absent_labels_are_named(board: &dyn Board) {
    let absent = |error: Option<BoardError>| match error {
        Some(BoardError::Missing { label, .. }) => assert_eq!(label, "no such thing"),
        other => panic!("{other:?}"),
    };
    let label = "no such thing";
    absent(board.output(label, false).err());
    absent(board.input(label, Pull::None).err());
    absent(board.i2c(label).err());
    absent(board.spi(label).err());
    absent(board.uart(label, SerialSettings::default()).err());
    absent(board.pwm(label, 100).err());
    absent(board.analog(label).err());
}

fn an_output_is_seen_outside(board: &dyn Board, label: &str, see: &dyn Fn() -> bool) {
    let mut output = done("open the output high", board.output(label, true));
    assert!(see(), "driven at once");
    done("set the output low", output.set_low());
    assert!(!see() && done("read back the output", output.is_set_low()));
    done("toggle the output", output.toggle());
    assert!(see() && done("read back the output", output.is_set_high()));
    assert_eq!(
        board.output(label, false).err(),
        Some(BoardError::InUse {
            label: label.to_owned()
        })
    );
    drop(output);
    assert!(see(), "it keeps its level");
    drop(done("open the output again", board.output(label, false)));
}

fn an_input_sees_the_world(board: &dyn Board, label: &str, drive: &dyn Fn(bool)) {
    let mut input = done("open the input", board.input(label, Pull::None));
    for high in [true, false, true] {
        drive(high);
        assert_eq!((input.is_high(), input.is_low()), (Ok(high), Ok(!high)));
    }
    assert!(matches!(
        board.input(label, Pull::None).err(),
        Some(BoardError::InUse { .. })
    ));
}

fn edges_are_told(board: &dyn Board, label: &str, drive: &dyn Fn(bool)) {
    let mut input = done("open the input", board.input(label, Pull::None));
    drive(false);
    let rising = counter();
    let falling = counter();
    let watches = (
        done("watch rising edges", input.watch(Edge::Rising, rising.1)),
        done("watch falling edges", input.watch(Edge::Falling, falling.1)),
    );
    for high in [true, false, true] {
        drive(high);
    }
    wait_for(|| rising.0.load(Ordering::SeqCst) == 2 && falling.0.load(Ordering::SeqCst) == 1);
    drop(watches);
    drive(false);
    drive(true);
    assert_eq!(
        (rising.0.load(Ordering::SeqCst), falling.0.load(Ordering::SeqCst)),
        (2, 1),
        "no watch is left"
    );
}

fn a_pulse_is_two_edges(board: &dyn Board, label: &str, pulse: &dyn Fn()) {
    let mut input = done("open the input", board.input(label, Pull::None));
    assert_eq!(input.is_low(), Ok(true));
    let start = Instant::now();
    let (rising, falling) = (times(), times());
    let _watches = (
        done("watch rising edges", input.watch(Edge::Rising, rising.1)),
        done("watch falling edges", input.watch(Edge::Falling, falling.1)),
    );
    pulse();
    wait_for(|| !locked(&rising.0).is_empty() && !locked(&falling.0).is_empty());
    let (rising, falling) = (locked(&rising.0), locked(&falling.0));
    assert_eq!((rising.len(), falling.len()), (1, 1));
    assert!(start < rising[0] && rising[0] < falling[0] && falling[0] < Instant::now());
}

fn registers_over_i2c(board: &dyn Board, label: &str, address: u8, vacant: u8) {
    let mut bus = done("open the I2C bus", board.i2c(label));
    done("write registers", bus.write(address, &[0x10, 1, 2, 3]));
    let mut read = [0; 2];
    done("read registers", bus.write_read(address, &[0x11], &mut read));
    assert_eq!(read, [2, 3]);
    let mut other = done("open the I2C bus", board.i2c(label));
    let mut first = [0];
    let mut rest = [0; 2];
    let mut operations = [
        Operation::Write(&[0x10]),
        Operation::Read(&mut first),
        Operation::Read(&mut rest),
    ];
    done(
        "do three operations in one transaction",
        other.transaction(address, &mut operations),
    );
    assert_eq!(
        (first, rest),
        ([1], [2, 3]),
        "a bus is shared, and reads continue where they were"
    );
    let error = bus.write(vacant, &[0]).expect_err("no device has this address");
    // Some drivers of the kernel do not tell address and data apart.
    assert!(matches!(error.kind(), ErrorKind::NoAcknowledge(_)), "{error}");
}

fn spi_gives_back(board: &dyn Board, label: &str) {
    let mut device = done("open the SPI device", board.spi(label));
    let mut bytes = [1, 2, 3];
    done("transfer bytes over SPI", device.transfer_in_place(&mut bytes));
    assert_eq!(bytes, [1, 2, 3]);
    let mut read = [9; 2];
    let mut operations = [
        SpiOperation::Write(&[7]),
        SpiOperation::DelayNs(10),
        SpiOperation::Transfer(&mut read, &[4, 5]),
    ];
    done("do a transaction over SPI", device.transaction(&mut operations));
    assert_eq!(read, [4, 5]);
    assert!(matches!(board.spi(label).err(), Some(BoardError::InUse { .. })));
}

fn uart_gives_back(board: &dyn Board, label: &str) {
    let mut port = done(
        "open the serial port",
        board.uart(label, SerialSettings::default()),
    );
    let (told, tell) = counter();
    let _watch = done("watch the serial port", port.watch(tell));
    assert_eq!(port.read(&mut [0; 8]), Ok(0), "reading does not wait");
    done("write to the serial port", port.write(b"hello"));
    wait_for(|| told.load(Ordering::SeqCst) > 0);
    let mut got = Vec::<u8>::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    while got.len() < 5 {
        assert!(Instant::now() < deadline, "only {got:?}");
        let mut bytes = [0; 3];
        let count = done("read from the serial port", port.read(&mut bytes));
        got.extend(&bytes[..count]);
    }
    assert_eq!(got, b"hello");
    assert!(matches!(
        board.uart(label, SerialSettings::default()).err(),
        Some(BoardError::InUse { .. })
    ));
    drop((_watch, port));
    let silly = SerialSettings {
        baud: 0,
        ..SerialSettings::default()
    };
    assert!(matches!(
        board.uart(label, silly).err(),
        Some(BoardError::Unsupported(_))
    ));
}

fn pwm_takes_duty_and_frequency(board: &dyn Board, label: &str) {
    let mut output = done("open the PWM output", board.pwm(label, 1000));
    done("set the duty cycle", output.set_duty_cycle_percent(25));
    done("set the frequency", output.set_frequency(50));
    assert!(matches!(output.set_frequency(0), Err(BoardError::Unsupported(_))));
    assert!(matches!(
        board.pwm(label, 1000).err(),
        Some(BoardError::InUse { .. })
    ));
}

/// Returns the result of a step that a board which keeps the contract can do.
fn done<T, E: Debug>(step: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("failed to {step}: {error:?}"),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn counter() -> (Arc<AtomicU32>, Tell) {
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    (
        count,
        Box::new(move |_| _ = counted.fetch_add(1, Ordering::SeqCst)),
    )
}

fn times() -> (Arc<Mutex<Vec<Instant>>>, Tell) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&times);
    (times, Box::new(move |at| locked(&kept).push(at)))
}

fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "nothing happened within 20 s");
        std::thread::yield_now();
    }
}
