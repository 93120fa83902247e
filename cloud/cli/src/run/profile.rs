//! Profiles of the virtual board: the standard one, or a file.
//!
//! ```toml
//! pins = ["led", "button"]
//! spi = ["loop"]                   # returns what it receives
//! pwm = ["fan"]
//! analog = { light = 1_650_000 }   # microvolts
//! uart = { console = { loopback = true } }
//!
//! [[i2c]]
//! bus = "sensors"
//! address = 0x76
//! device = "bme280"                # or "registers": 256 bytes of memory
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use iottly_boards::VirtualBoard;
use iottly_boards::virtual_board::{Bme280, Loopback, RegisterMap};
use serde::Deserialize;

use crate::exit::Failure;

/// Largest size of a file, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Addresses of devices on an I2C bus; the others are reserved.
const I2C_ADDRESSES: std::ops::RangeInclusive<u8> = 0x08..=0x77;

/// The board that firmware runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Profile {
    /// The standard board, with a device of each kind.
    Standard,
    /// Board that the file describes.
    File(PathBuf),
}

impl From<&str> for Profile {
    fn from(text: &str) -> Self {
        if text == "standard" {
            Self::Standard
        } else {
            Self::File(text.into())
        }
    }
}

impl Profile {
    /// Creates the board.
    ///
    /// # Errors
    /// [`Failure::NotFound`] without the file, [`Failure::Invalid`] when it is not valid.
    pub(super) fn board(&self) -> Result<VirtualBoard, Failure> {
        match self {
            Self::Standard => Ok(VirtualBoard::standard()),
            Self::File(path) => read(path),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Parts {
    pins: Vec<String>,
    spi: Vec<String>,
    pwm: Vec<String>,
    analog: BTreeMap<String, i32>,
    uart: BTreeMap<String, Port>,
    i2c: Vec<OnBus>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Port {
    loopback: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnBus {
    bus: String,
    address: u8,
    device: Device,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Device {
    Bme280,
    Registers,
}

fn read(path: &Path) -> Result<VirtualBoard, Failure> {
    let invalid = |reason: &str| Failure::Invalid(format!("board {}: {reason}", path.display()));
    let Ok(found) = std::fs::metadata(path) else {
        return Err(Failure::NotFound(format!(
            "board {}: neither \"standard\" nor a file",
            path.display()
        )));
    };
    if found.len() > MAX_FILE_BYTES {
        return Err(invalid("the file is larger than 64 KiB"));
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let parts: Parts = toml::from_str(&text).map_err(|error| invalid(error.to_string().trim_end()))?;
    if let Some(wrong) = parts
        .i2c
        .iter()
        .find(|device| !I2C_ADDRESSES.contains(&device.address))
    {
        return Err(invalid(&format!(
            "i2c address {:#04x} is not between 0x08 and 0x77",
            wrong.address
        )));
    }
    Ok(assemble(&parts))
}

fn assemble(parts: &Parts) -> VirtualBoard {
    let mut board = VirtualBoard::new();
    for label in &parts.pins {
        board = board.with_pin(label);
    }
    for label in &parts.spi {
        board = board.with_spi(label, Loopback);
    }
    for label in &parts.pwm {
        board = board.with_pwm(label);
    }
    for (label, microvolts) in &parts.analog {
        board = board.with_analog(label, *microvolts);
    }
    for (label, port) in &parts.uart {
        board = board.with_uart(label, port.loopback);
    }
    for OnBus { bus, address, device } in &parts.i2c {
        board = match device {
            Device::Bme280 => board.with_i2c(bus, *address, Bme280::default()),
            Device::Registers => board.with_i2c(bus, *address, RegisterMap::new(256)),
        };
    }
    board
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<VirtualBoard, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Profile::File(file.path().to_owned())
            .board()
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_file_describes_the_board() {
        let board = file(
            "pins = [\"lamp\"]\nspi = [\"loop\"]\npwm = [\"fan\"]\nanalog = { light = 5 }\nuart.console.loopback = true\n
             [[i2c]]\nbus = \"sensors\"\naddress = 0x76\ndevice = \"bme280\"\n",
        );
        let board = board.unwrap();
        assert_eq!(board.pin("lamp"), Ok(false));
        assert!(board.pin("led").is_err(), "the standard board is not mixed in");
    }

    #[test]
    fn errors_in_a_file_are_named() {
        for (text, reason) in [
            ("pin = [\"a\"]", "unknown field `pin`"),
            ("[[i2c]]\nbus = \"a\"\naddress = 5\ndevice = \"bme280\"", "0x05"),
            (
                "[[i2c]]\nbus = \"a\"\naddress = 16\ndevice = \"toaster\"",
                "toaster",
            ),
        ] {
            let Err(error) = file(text) else {
                panic!("{text} was taken")
            };
            assert!(error.contains(reason), "{error}");
        }
        assert!(matches!(
            Profile::from("/nowhere/at/all").board(),
            Err(Failure::NotFound(_))
        ));
        assert_eq!(Profile::from("standard"), Profile::Standard);
    }
}
