//! Runs the contract of boards on the hardware of the machine that it is started on, and prints what has passed.
//!
//! ```text
//! contract BOARD [WIRING…]
//!
//! BOARD            virtual, auto, the name of a profile, or the file of one
//! list             prints the parts of the board
//! seen=LABEL       an output; its level is read from outside, in the kernel's list of GPIO lines (debugfs)
//! pulse=LABEL      a low input that someone makes high for a moment after the line PULSE was printed
//! pin=LABEL=OTHER  an input that is connected to the output OTHER
//! uart=LABEL       a serial port whose lines are connected to each other; likewise spi=LABEL
//! pwm=LABEL        a PWM output
//! drive=LABEL      drives an output high and low ten times
//! hold=LABEL       opens an output, prints HELD, and keeps it for ten seconds
//! refused=LABEL    prints the error of opening an output
//! silent=LABEL     prints the error of an I2C bus on which nothing answers at address 0x50, and the time it took
//! ```

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use iottly_boards::contract::{self, Rig};
use iottly_boards::profile::Profile;
use iottly_boards::{Board, LinuxBoard, State, VirtualBoard};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let board = args.next().ok_or("usage: contract BOARD [WIRING…]")?;
    let wiring: Vec<String> = args.collect();
    if board == "virtual" {
        let board = VirtualBoard::standard();
        let world = World {
            level: &|label| board.pin(label).ok(),
            press: &|label| {
                for high in [true, false] {
                    // The contract opens the pin first, so it exists.
                    let _ = board.set_pin(label, high);
                }
            },
        };
        return check(&board, &world, &wiring);
    }
    let profile = match board.as_str() {
        "auto" => Profile::named(LinuxBoard::detect().1)?,
        file if Path::new(file).exists() => Profile::read(Path::new(file))?,
        name => Profile::named(name)?,
    };
    let linux = LinuxBoard::new(profile);
    let world = World {
        level: &|_| level_in_kernel(),
        press: &|_| say("PULSE"),
    };
    check(&linux, &world, &wiring)
}

/// The board, seen and touched from outside.
struct World<'a> {
    /// Returns the level of a pin.
    level: &'a dyn Fn(&str) -> Option<bool>,
    /// Makes a pin high for a moment.
    press: &'a dyn Fn(&str),
}

fn check(board: &dyn Board, world: &World<'_>, wiring: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    say(&format!("board {}", board.kind()));
    let value = |key: &str| {
        wiring
            .iter()
            .find_map(|wire| wire.strip_prefix(key)?.strip_prefix('='))
    };
    if wiring.iter().any(|wire| wire == "list") {
        for part in board.parts() {
            let state = match part.state {
                State::Free => "free".to_owned(),
                State::Used(by) => format!("in use by {by}"),
                State::Refused(why) => why,
            };
            let alias = part.alias.unwrap_or_default();
            say(&format!(
                "{} {} {alias} ({}): {state}",
                part.interface, part.label, part.device
            ));
        }
    }
    if let Some(label) = value("refused") {
        match board.output(label, false) {
            Ok(_) => return Err(format!("{label} can be opened").into()),
            Err(error) => say(&format!("refused: {error}")),
        }
        return Ok(());
    }
    if let Some(label) = value("silent") {
        let start = std::time::Instant::now();
        match board.i2c(label)?.write(0x50, &[0]) {
            Ok(()) => return Err(format!("{label} has a device at 0x50").into()),
            Err(error) => say(&format!(
                "silent after {} ms: {error}",
                start.elapsed().as_millis()
            )),
        }
        return Ok(());
    }
    if let Some(label) = value("hold") {
        let _held = board.output(label, true)?;
        say("HELD");
        std::thread::sleep(Duration::from_secs(10));
        return Ok(());
    }
    if let Some(label) = value("drive") {
        let mut output = board.output(label, false)?;
        for step in 0..20 {
            output.set_state((step % 2 == 0).into())?;
            let level = (world.level)(label);
            if level != Some(step % 2 == 0) {
                return Err(format!("step {step}: the kernel sees {level:?}").into());
            }
        }
        say("driven high and low ten times, each level seen by the kernel");
    }
    let pair = value("pin").and_then(|pair| pair.split_once('='));
    let other = pair.map(|(_, other)| board.output(other, false)).transpose()?;
    let other = std::cell::RefCell::new(other);
    let drive = |high: bool| {
        if let Some(other) = other.borrow_mut().as_mut() {
            other
                .set_state(high.into())
                .expect("the other end of the wire can be driven");
        }
    };
    let press = || (world.press)(value("pulse").unwrap_or_default());
    let see = || (world.level)(value("seen").unwrap_or_default()) == Some(true);
    contract::all(&Rig {
        pin: pair.map(|(pin, _)| (pin, &drive as &dyn Fn(bool))),
        pulse: value("pulse").map(|pin| (pin, &press as &dyn Fn())),
        seen: value("seen").map(|pin| (pin, &see as &dyn Fn() -> bool)),
        uart: value("uart"),
        spi: value("spi"),
        pwm: value("pwm"),
        passed: &|name| say(&format!("passed: {name}")),
        ..Rig::new(board)
    });
    say("the board keeps the contract");
    Ok(())
}

/// Returns the level of the line that this program drives, as the kernel reads it from the chip.
fn level_in_kernel() -> Option<bool> {
    let lines = std::fs::read_to_string("/sys/kernel/debug/gpio").ok()?;
    let line = lines
        .lines()
        .find(|line| line.contains("|iottly") && line.contains(" out "))?;
    // The list has the level at the pin.
    Some(line.contains(" out hi") != line.contains("ACTIVE LOW"))
}

fn say(text: &str) {
    // Without a reader there is no one to report to.
    let _ = writeln!(std::io::stdout(), "{text}");
}
