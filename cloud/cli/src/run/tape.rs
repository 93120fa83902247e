//! Recording and replay of a run's inputs: one line each, `{"at_ms": 1500, "input": {"set_target":
//! {"celsius": 22}}}`, with the time since the start of the run.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::worker::Input;
use super::{BYTE_ORDER_MARK, commands};
use crate::exit::Failure;

/// Longest line that is read, in bytes.
const MAX_LINE: usize = 128 << 10;
/// Largest number of inputs of one file.
const MAX_INPUTS: usize = 100_000;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at_ms: u64,
    input: Box<RawValue>,
}

/// Records the inputs of a run.
pub(super) struct Recorder {
    file: File,
    began: Instant,
}

impl Recorder {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            file,
            began: Instant::now(),
        })
    }

    /// Records one valid line.
    pub(super) fn keep(&mut self, text: &str) -> io::Result<()> {
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let input = RawValue::from_string(text.trim().to_owned())?;
        let mut line = serde_json::to_vec(&Line { at_ms, input })?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// Inputs to replay, each with its time.
pub(super) struct Tape(Vec<(Duration, Input)>);

impl Tape {
    /// Reads and checks a whole file, so that an error in it is reported before anything runs.
    ///
    /// # Errors
    /// [`Failure::NotFound`] without the file, [`Failure::Invalid`] with the line that is wrong.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let Ok(file) = File::open(path) else {
            return Err(Failure::NotFound(format!("{}: no such file", path.display())));
        };
        let mut inputs = Vec::new();
        for (number, line) in (1..).zip(BufReader::new(file).lines()) {
            let invalid = |reason: String| Failure::Invalid(format!("{}:{number}: {reason}", path.display()));
            let line = line.map_err(|error| invalid(error.to_string()))?;
            let line = if number == 1 {
                line.trim_start_matches(BYTE_ORDER_MARK)
            } else {
                line.as_str()
            };
            if line.len() > MAX_LINE || inputs.len() >= MAX_INPUTS {
                return Err(invalid(format!(
                    "more than {MAX_INPUTS} inputs, or a line of more than {MAX_LINE} bytes"
                )));
            }
            if line.trim().is_empty() {
                continue;
            }
            let Line { at_ms, input } =
                serde_json::from_str(line).map_err(|error| invalid(error.to_string()))?;
            inputs.push((
                Duration::from_millis(at_ms),
                commands::parse(input.get()).map_err(invalid)?,
            ));
        }
        inputs.sort_by_key(|(at, _)| *at);
        Ok(Self(inputs))
    }

    /// Replays the inputs at their times, on a thread of its own.
    pub(super) fn play(self, to: SyncSender<Input>) -> anyhow::Result<()> {
        let began = Instant::now();
        let play = move || {
            for (at, input) in self.0 {
                thread::sleep(at.saturating_sub(began.elapsed()));
                if to.send(input).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("replay".to_owned())
            .spawn(play)
            .map_err(|error| anyhow!("cannot start a thread for the replay: {error}"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_can_be_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut recorder = Recorder::create(file.path()).unwrap();
        recorder.keep(" {\"@pin\": {\"button\": true}}\n").unwrap();
        recorder.keep("{\"beep\": {}}").unwrap();
        let Ok(tape) = Tape::read(file.path()) else {
            panic!("unreadable")
        };
        assert_eq!(tape.0.len(), 2);
        assert!(matches!(&tape.0[0].1, Input::World(inputs) if inputs.len() == 1));
        assert!(matches!(&tape.0[1].1, Input::Command(command) if command.name == "beep"));
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, reason) in [
            (
                "{\"at_ms\": 1, \"input\": {\"a\": {}}}\n{\"at_ms\": 2}\n",
                ":2: missing field `input`",
            ),
            (
                "{\"at_ms\": 1, \"input\": {\"@pin\": {\"a\": 7}}}\n",
                ":1: @pin a: 7 is not a level",
            ),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let Err(failure) = Tape::read(file.path()) else {
                panic!("{text} was taken")
            };
            assert!(failure.to_string().contains(reason), "{failure}");
        }
        assert!(matches!(
            Tape::read(Path::new("/nowhere")),
            Err(Failure::NotFound(_))
        ));
    }
}
