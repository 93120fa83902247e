//! GPIO lines of character devices: finding chips, and outputs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use embedded_hal::digital::{ErrorType, OutputPin, StatefulOutputPin};
use gpiocdev::line::{Bias, EventClock, Value};
use gpiocdev::{Chip, Request};

use super::system::{Claim, System, locked};
use crate::profile::{Drive, Pin, Wiring};
use crate::{BoardError, OutputPort, Pull};

/// Name under which the kernel lists lines of this program.
pub(super) const CONSUMER: &str = "iottly";
/// Maximum number of chips that are looked at.
const MAX_CHIPS: usize = 64;
/// Number of edges that the kernel keeps for a line while they are not read.
const KEPT_EDGES: u32 = 64;

/// Outputs that were closed. Their lines stay requested, because the kernel may make a free line an input.
#[derive(Clone, Default)]
pub(super) struct Parked(Arc<Mutex<BTreeMap<Line, (Wiring, Request)>>>);

/// Path of the chip, and number of the line.
type Line = (PathBuf, u32);

/// Chip of this machine.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) label: String,
    pub(super) name: String,
    pub(super) lines: u32,
}

/// Returns the chips that this user may open, and the error of the first that it may not.
pub(super) fn chips(system: &System) -> (Vec<Found>, Option<(PathBuf, std::io::Error)>) {
    let (mut found, mut refused) = (Vec::new(), None);
    let Ok(entries) = std::fs::read_dir(system.dev("")) else {
        return (found, refused);
    };
    let is_chip = |name: &str| {
        name.strip_prefix("gpiochip")
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()))
    };
    let chips = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_chip));
    for entry in chips.take(MAX_CHIPS) {
        // Links are second names of the same chip.
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            continue;
        }
        let path = entry.path();
        match std::fs::File::open(&path) {
            Err(error) => refused = refused.or(Some((path, error))),
            Ok(_) => {
                let info = Chip::from_path(&path).and_then(|chip| chip.info());
                found.extend(info.ok().map(|info| Found {
                    path,
                    label: info.label,
                    name: info.name,
                    lines: info.num_lines,
                }));
            }
        }
    }
    (found, refused)
}

/// Returns the path of a pin's chip, and checks that it has the line.
pub(super) fn chip_of(system: &System, profile: &str, label: &str, pin: &Pin) -> Result<PathBuf, BoardError> {
    let (found, refused) = chips(system);
    let mut fitting = found
        .iter()
        .filter(|chip| chip.label == pin.chip || chip.name == pin.chip);
    let Some(chip) = fitting.next() else {
        if let Some((path, error)) = refused {
            return Err(system.refusal(label, &path, None, &error));
        }
        if found.is_empty() {
            let absent = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(system.refusal(label, &system.dev("gpiochip*"), None, &absent));
        }
        let labels: Vec<_> = found.iter().map(|chip| chip.label.as_str()).collect();
        return Err(BoardError::WrongProfile {
            label: label.to_owned(),
            profile: profile.to_owned(),
            chip: pin.chip.clone(),
            found: labels.join(", "),
        });
    };
    if fitting.next().is_some() {
        return Err(BoardError::Unsupported(format!(
            "{label:?}: several GPIO chips have the label {:?}; name one by its number, gpiochipN",
            pin.chip
        )));
    }
    if pin.line >= chip.lines {
        return Err(BoardError::Unsupported(format!(
            "{label:?}: chip {:?} has {} lines from 0, none {}",
            pin.chip, chip.lines, pin.line
        )));
    }
    Ok(chip.path.clone())
}

/// Open output.
struct Output {
    line: u32,
    chip: PathBuf,
    wiring: Wiring,
    /// Present until the output is dropped.
    request: Option<Request>,
    high: bool,
    label: String,
    parked: Parked,
    _claim: Claim,
}

pub(super) fn output(
    chip: PathBuf,
    pin: &Pin,
    label: &str,
    high: bool,
    parked: &Parked,
    claim: Claim,
) -> Result<OutputPort, BoardError> {
    let value = Value::from(high);
    let held = locked(&parked.0).remove(&(chip.clone(), pin.line));
    // A second label of the line may have other wiring; its request replaces the held one.
    let request = match held.filter(|(wiring, _)| *wiring == pin.wiring) {
        Some((_, request)) => {
            request
                .set_value(pin.line, value)
                .map_err(|error| failure(label, &error))?;
            request
        }
        None => {
            let mut builder = builder(&chip, pin);
            builder.as_output(value).with_drive(match pin.wiring.drive {
                Drive::PushPull => gpiocdev::line::Drive::PushPull,
                Drive::OpenDrain => gpiocdev::line::Drive::OpenDrain,
                Drive::OpenSource => gpiocdev::line::Drive::OpenSource,
            });
            builder
                .request()
                .map_err(|error| refused(&chip, pin.line, label, &error))?
        }
    };
    Ok(Box::new(Output {
        line: pin.line,
        chip,
        wiring: pin.wiring,
        request: Some(request),
        high,
        label: label.to_owned(),
        parked: parked.clone(),
        _claim: claim,
    }))
}

/// Requests a line as an input whose edges carry the time of the clock that [`std::time::Instant`] has.
pub(super) fn request_input(
    chip: &PathBuf,
    pin: &Pin,
    label: &str,
    pull: Pull,
    parked: &Parked,
) -> Result<Request, BoardError> {
    // The line is free again before it is requested in the other direction.
    drop(locked(&parked.0).remove(&(chip.clone(), pin.line)));
    let mut builder = builder(chip, pin);
    builder.as_input().with_event_clock(EventClock::Monotonic);
    match pull {
        Pull::None => {}
        Pull::Up => _ = builder.with_bias(Bias::PullUp),
        Pull::Down => _ = builder.with_bias(Bias::PullDown),
    }
    let Wiring { debounce_us, .. } = pin.wiring;
    if debounce_us > 0 {
        builder.with_debounce_period(std::time::Duration::from_micros(debounce_us.into()));
    }
    builder
        .request()
        .map_err(|error| refused(chip, pin.line, label, &error))
}

fn builder(chip: &PathBuf, pin: &Pin) -> gpiocdev::request::Builder {
    let mut builder = Request::builder();
    builder
        .on_chip(chip)
        .with_consumer(CONSUMER)
        .with_kernel_event_buffer_size(KEPT_EDGES)
        .with_line(pin.line);
    if pin.wiring.active_low {
        builder.as_active_low();
    }
    builder
}

/// Returns the error of a line that cannot be requested; a line in use has the name of its user.
fn refused(chip: &PathBuf, line: u32, label: &str, error: &gpiocdev::Error) -> BoardError {
    if number(error) == Some(libc::EBUSY) {
        let info = Chip::from_path(chip).and_then(|chip| chip.line_info(line));
        let by = info.map(|info| info.consumer).unwrap_or_default();
        return BoardError::Busy {
            label: label.to_owned(),
            by: if by.is_empty() {
                "the kernel".to_owned()
            } else {
                by
            },
        };
    }
    failure(label, error)
}

pub(super) fn failure(label: &str, error: &gpiocdev::Error) -> BoardError {
    match number(error) {
        // A chip without this bias, drive or debounce.
        Some(libc::EOPNOTSUPP | libc::EINVAL) => {
            BoardError::Unsupported(format!("{label:?}: the GPIO chip cannot do this ({error})"))
        }
        _ => BoardError::Io(format!("{label:?}: {error}")),
    }
}

/// Returns the system's number of an error.
fn number(error: &gpiocdev::Error) -> Option<i32> {
    match error {
        gpiocdev::Error::Os(number) => Some(number.0),
        gpiocdev::Error::Uapi(_, error) => {
            // The type of this error is not exported by the crate; its text ends with the number.
            let text = error.to_string();
            let digits = text.rsplit_once("(os error ")?.1;
            digits.trim_end_matches(')').parse().ok()
        }
        _ => None,
    }
}

impl Output {
    fn set(&mut self, high: bool) -> Result<(), BoardError> {
        if let Some(request) = &self.request {
            request
                .set_value(self.line, Value::from(high))
                .map_err(|error| failure(&self.label, &error))?;
        }
        self.high = high;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            locked(&self.parked.0).insert((self.chip.clone(), self.line), (self.wiring, request));
        }
    }
}

impl ErrorType for Output {
    type Error = BoardError;
}

impl OutputPin for Output {
    fn set_low(&mut self) -> Result<(), BoardError> {
        self.set(false)
    }

    fn set_high(&mut self) -> Result<(), BoardError> {
        self.set(true)
    }
}

impl StatefulOutputPin for Output {
    fn is_set_high(&mut self) -> Result<bool, BoardError> {
        Ok(self.high)
    }

    fn is_set_low(&mut self) -> Result<bool, BoardError> {
        Ok(!self.high)
    }
}
