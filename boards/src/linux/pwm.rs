//! PWM outputs: `/sys/class/pwm`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use embedded_hal::pwm::{ErrorType, SetDutyCycle};

use super::system::{Claim, text};
use crate::{BoardError, PwmOutput};

/// Nanoseconds of a second.
const SECOND_NS: u32 = 1_000_000_000;
/// Number and length of the waits for the permissions of an output's files, which udev sets after they appear.
const TRIES: (u32, Duration) = (50, Duration::from_millis(20));

/// Open output.
pub(super) struct Output {
    folder: PathBuf,
    label: String,
    period_ns: u32,
    duty: u16,
    _claim: Claim,
}

/// Returns the folder of the chip whose hardware has this name; numbers of chips are not fixed.
pub(super) fn chip(class: &Path, device: &str) -> io::Result<PathBuf> {
    for entry in std::fs::read_dir(class)?.take(64) {
        let path = entry?.path();
        let is_it = path.file_name().is_some_and(|name| name == device)
            || std::fs::canonicalize(path.join("device"))
                .is_ok_and(|hardware| hardware.file_name().is_some_and(|name| name == device));
        if is_it {
            return Ok(path);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

impl Output {
    /// Opens a channel of a chip with duty 0.
    pub(super) fn open(chip: &Path, channel: u32, hertz: u32, label: &str, claim: Claim) -> io::Result<Self> {
        let folder = chip.join(format!("pwm{channel}"));
        if !folder.exists() {
            std::fs::write(chip.join("export"), channel.to_string())?;
        }
        let mut output = Self {
            folder,
            label: label.to_owned(),
            period_ns: 0,
            duty: 0,
            _claim: claim,
        };
        let mut tries = 0;
        while let Err(error) = output.write("duty_cycle", 0) {
            tries += 1;
            if tries >= TRIES.0 || error.kind() != io::ErrorKind::PermissionDenied {
                return Err(error);
            }
            std::thread::sleep(TRIES.1);
        }
        output.set_period(hertz)?;
        output.write("enable", 1)?;
        Ok(output)
    }

    fn set_period(&mut self, hertz: u32) -> io::Result<()> {
        let period_ns = SECOND_NS.checked_div(hertz).filter(|period| *period > 0);
        let period_ns = period_ns.ok_or(io::ErrorKind::InvalidInput)?;
        // The kernel refuses a period that is shorter than the pulse.
        self.write("duty_cycle", 0)?;
        self.write("period", period_ns)?;
        self.period_ns = period_ns;
        self.write_duty()
    }

    fn write_duty(&self) -> io::Result<()> {
        let pulse = u64::from(self.period_ns) * u64::from(self.duty) / u64::from(u16::MAX);
        self.write("duty_cycle", u32::try_from(pulse).unwrap_or(self.period_ns))
    }

    fn write(&self, file: &str, value: u32) -> io::Result<()> {
        let file = self.folder.join(file);
        if !file.exists() {
            return Err(io::ErrorKind::NotFound.into());
        }
        std::fs::write(file, value.to_string())
    }

    fn failure(&self, error: &io::Error) -> BoardError {
        BoardError::Io(format!("{:?}: {}: {error}", self.label, self.folder.display()))
    }
}

/// Returns the error of a frequency that an output does not make.
pub(super) fn unsupported(label: &str, hertz: u32) -> BoardError {
    BoardError::Unsupported(format!("{label:?} cannot make {hertz} Hz"))
}

impl ErrorType for Output {
    type Error = BoardError;
}

impl SetDutyCycle for Output {
    fn max_duty_cycle(&self) -> u16 {
        u16::MAX
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), BoardError> {
        let before = std::mem::replace(&mut self.duty, duty);
        self.write_duty().map_err(|error| {
            self.duty = before;
            self.failure(&error)
        })
    }
}

impl PwmOutput for Output {
    fn set_frequency(&mut self, hertz: u32) -> Result<(), BoardError> {
        self.set_period(hertz).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => unsupported(&self.label, hertz),
            _ => self.failure(&error),
        })
    }
}

/// Returns `true` if another program has the channel exported and running.
pub(super) fn is_running(chip: &Path, channel: u32) -> bool {
    text(&chip.join(format!("pwm{channel}/enable"))).is_ok_and(|enabled| enabled == "1")
}
