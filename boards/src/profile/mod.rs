//! Profiles: which hardware the labels of a board mean. Pure but for reading a file.

mod builtin;
pub(crate) mod file;

use std::path::Path;

pub use builtin::{detect, names};
#[cfg(target_os = "linux")]
pub(crate) use file::DEFAULT_SPI_HERTZ;

/// Maximum size of a profile's file, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Description of a board: its labels, and the hardware that each of them means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Name, for example `raspberry-pi-4`.
    pub name: String,
    /// Beginnings of the texts in `/proc/device-tree/model` of the machines that the profile is for.
    pub models: Vec<String>,
    /// True if the system's own names are labels too, see [`Profile::read`].
    pub discover: bool,
    /// GPIO lines.
    pub pins: Vec<Pin>,
    /// I2C buses: nodes of `/dev`.
    pub i2c: Vec<Node>,
    /// SPI devices: nodes of `/dev`.
    pub spi: Vec<Spi>,
    /// Serial ports: nodes of `/dev`.
    pub uart: Vec<Node>,
    /// PWM outputs.
    pub pwm: Vec<Channel<u32>>,
    /// Analog inputs.
    pub adc: Vec<Channel<String>>,
    chips: Vec<file::Chip>,
}

/// GPIO line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Label that firmware uses, for example `GPIO17`.
    pub label: String,
    /// Second label, the position on the header: `pin11`.
    pub alias: Option<String>,
    /// Label of the chip; its number is not fixed.
    pub chip: String,
    /// Number of the line on the chip.
    pub line: u32,
    /// Electrical properties.
    pub wiring: Wiring,
}

/// Electrical properties of a GPIO line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wiring {
    /// True if a high level at the pin is `low` for firmware.
    pub active_low: bool,
    /// Way in which an output drives its levels.
    pub drive: Drive,
    /// Time for which a level has to last to count as an edge, in microseconds; 0 for none.
    pub debounce_us: u32,
}

/// Way in which an output drives its levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drive {
    /// Both levels are driven.
    #[default]
    PushPull,
    /// Only low is driven.
    OpenDrain,
    /// Only high is driven.
    OpenSource,
}

/// Node below `/dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Label that firmware uses.
    pub label: String,
    /// Path below `/dev`.
    pub node: String,
    /// Line of `config.txt` that makes the node appear.
    pub needs: Option<String>,
}

/// SPI device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spi {
    /// Node of the device.
    pub at: Node,
    /// Clock rate, in hertz.
    pub hertz: u32,
    /// Mode 0 to 3: clock polarity and phase.
    pub mode: u8,
}

/// Channel of a PWM chip or of an analog converter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel<C> {
    /// Label that firmware uses.
    pub label: String,
    /// Name of the device: of the hardware below a PWM chip, or in the file `name` of a converter.
    pub device: String,
    /// Channel of the device: a number, or a name such as `voltage0`.
    pub channel: C,
    /// Line of `config.txt` that makes the device appear.
    pub needs: Option<String>,
}

/// Reason why a profile is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("board profile {profile}: {reason}")]
pub struct ProfileError {
    /// Name or file of the profile.
    pub profile: String,
    /// Part and fault.
    pub reason: String,
}

impl Profile {
    /// Returns a profile that is compiled in.
    ///
    /// # Errors
    /// [`ProfileError`] with the names that exist.
    pub fn named(name: &str) -> Result<Self, ProfileError> {
        builtin::text(name).map_or_else(
            || {
                Err(ProfileError {
                    profile: name.to_owned(),
                    reason: format!("there is none of this name; there are {}", names().join(", ")),
                })
            },
            |text| Self::parse(name, text),
        )
    }

    /// Reads a profile from text. `base = "raspberry-pi-4"` in it adds its parts to those of a compiled-in profile.
    ///
    /// # Errors
    /// [`ProfileError`]; it names the part.
    pub fn parse(name: &str, text: &str) -> Result<Self, ProfileError> {
        file::parse(text).map_err(|reason| ProfileError {
            profile: name.to_owned(),
            reason,
        })
    }

    /// Reads a profile from a file of at most 64 KiB.
    ///
    /// With `discover = true` names of the system are labels too: `CHIP/LINE` of a GPIO line, nodes of `/dev` for I2C,
    /// SPI and serial ports, `DEVICE/CHANNEL` for PWM and analog inputs.
    ///
    /// # Errors
    /// [`ProfileError`]; it names file and part.
    pub fn read(path: &Path) -> Result<Self, ProfileError> {
        use std::io::Read as _;
        let error = |reason: String| ProfileError {
            profile: path.display().to_string(),
            reason,
        };
        let file = std::fs::File::open(path).map_err(|reason| error(reason.to_string()))?;
        let mut text = String::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|reason| error(reason.to_string()))?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(error("the file is larger than 64 KiB".to_owned()));
        }
        Self::parse(&path.display().to_string(), &text)
    }
}
