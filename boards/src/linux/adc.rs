//! Analog inputs: converters of the kernel's industrial I/O, `/sys/bus/iio`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bound::Bounded;
use super::system::{Claim, text};
use crate::{AnalogInput, BoardError};

/// Maximum time of one conversion; a converter on a bus that hangs takes longer.
const READ_WAIT: Duration = Duration::from_secs(2);

/// Open input.
pub(super) struct Input {
    folder: PathBuf,
    channel: String,
    label: String,
    bounded: Bounded,
    _claim: Claim,
}

/// Returns the folder of the converter of this name; numbers of devices are not fixed.
pub(super) fn converter(devices: &Path, name: &str) -> io::Result<PathBuf> {
    for entry in std::fs::read_dir(devices)?.take(64) {
        let path = entry?.path();
        let is_it = path.file_name().is_some_and(|folder| folder == name)
            || text(&path.join("name")).is_ok_and(|found| found == name);
        if is_it {
            return Ok(path);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

impl Input {
    pub(super) fn open(
        folder: PathBuf,
        channel: &str,
        label: &str,
        bounded: Bounded,
        claim: Claim,
    ) -> io::Result<Self> {
        if !folder.join(format!("in_{channel}_raw")).exists() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self {
            folder,
            channel: channel.to_owned(),
            label: label.to_owned(),
            bounded,
            _claim: claim,
        })
    }
}

impl AnalogInput for Input {
    fn read_microvolts(&mut self) -> Result<i32, BoardError> {
        let (folder, channel, label) = (self.folder.clone(), self.channel.clone(), self.label.clone());
        self.bounded.run(&self.label, READ_WAIT, move || {
            read(&folder, &channel).map_err(|error| {
                BoardError::Io(format!("{label:?}: {} in_{channel}: {error}", folder.display()))
            })
        })
    }
}

/// Reads raw value, offset and scale; the kernel's product of them is in millivolts.
fn read(folder: &Path, channel: &str) -> io::Result<i32> {
    let number = |text: String| {
        text.trim()
            .parse::<f64>()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a number"))
    };
    // Scale and offset belong to the channel, or to all channels of its kind.
    let kind = channel.trim_end_matches(|c: char| c.is_ascii_digit());
    let shared = |what: &str| {
        [channel, kind]
            .iter()
            .find_map(|name| text(&folder.join(format!("in_{name}_{what}"))).ok())
            .map(number)
            .transpose()
    };
    let raw = number(text(&folder.join(format!("in_{channel}_raw")))?)?;
    let scale = shared("scale")?.unwrap_or(1.0);
    let offset = shared("offset")?.unwrap_or(0.0);
    let microvolts = (raw + offset) * scale * 1000.0;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "values beyond the type become its ends"
    )]
    Ok(microvolts.round() as i32)
}
