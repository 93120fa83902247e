//! The host of firmware on this machine: messages go to standard output, log lines to standard error.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use iottly_boards::{Board, VirtualBoard};
use iottly_sandbox::{Fault, Host, Level, Outgoing, StateStore, Waker};
use serde_json::json;

use super::state::LocalState;
use super::{Output, say};

/// Destination of messages. Clones share it, so that it survives a reload of the firmware.
#[derive(Clone)]
pub(super) struct Sink {
    output: Output,
    broken: Arc<OnceLock<io::ErrorKind>>,
}

impl Sink {
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            broken: Arc::default(),
        }
    }

    /// Returns the reason why standard output is closed, if it is.
    pub(super) fn broken(&self) -> Option<io::Error> {
        self.broken.get().map(|kind| (*kind).into())
    }

    /// Marks standard output as closed.
    pub(super) fn close(&self) {
        // Keeps the first reason.
        let _ = self.broken.set(io::ErrorKind::BrokenPipe);
    }

    fn print(&self, message: &Outgoing) -> io::Result<()> {
        let line = match self.output {
            Output::Payload => one_line(&message.payload),
            Output::Json => record(message),
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }
}

/// A firmware's host on this machine.
pub(super) struct LocalHost {
    /// Destination of messages.
    pub(super) sink: Sink,
    /// Board of the firmware.
    pub(super) board: VirtualBoard,
    /// Key-value state of the firmware.
    pub(super) state: LocalState,
    /// Callback for an event that waits for the firmware.
    pub(super) waker: Waker,
}

impl Host for LocalHost {
    fn send(&mut self, message: Outgoing) -> Result<(), Fault> {
        self.sink.print(&message).map_err(|error| {
            // Keeps the first reason.
            let _ = self.sink.broken.set(error.kind());
            Fault::Io(format!("standard output: {error}"))
        })
    }

    fn log(&mut self, level: Level, text: &str) {
        let name = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info ",
            Level::Warn => "warn ",
            Level::Error => "error",
        };
        say(&format!("{name} {}", printable(text)));
    }

    fn now_ms(&mut self) -> u64 {
        unix_ms()
    }

    fn board(&self) -> Option<Arc<dyn Board>> {
        Some(Arc::new(self.board.clone()))
    }

    fn state(&mut self) -> Option<&mut dyn StateStore> {
        Some(&mut self.state)
    }

    fn waker(&self) -> Option<Waker> {
        Some(Arc::clone(&self.waker))
    }
}

/// Returns the wall-clock time in unix milliseconds; a clock before 1970 counts as 1970.
#[expect(clippy::disallowed_methods, reason = "reads the wall clock for the firmware")]
pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the payload in one line. Line breaks are only between the tokens of JSON, where a space means the
/// same.
fn one_line(payload: &str) -> String {
    payload.replace(['\n', '\r'], " ")
}

fn record(message: &Outgoing) -> String {
    let head =
        json!({"at_ms": unix_ms(), "channel": message.channel, "durable": message.durable}).to_string();
    let head = head.strip_suffix('}').expect("an object ends with a brace");
    format!("{head},\"payload\":{}}}", one_line(&message.payload))
}

/// Replaces control characters, which could move the cursor of a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_control() && letter != '\n' && letter != '\t' {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_its_layout() {
        let payload = "{\n  \"a\": 1e300,\r\n \"b\": \"x\\ny\" }".to_owned();
        assert_eq!(one_line(&payload), r#"{   "a": 1e300,   "b": "x\ny" }"#);
        let line = record(&Outgoing {
            channel: Some("c\"".to_owned()),
            payload,
            durable: true,
        });
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(
            (&value["channel"], &value["payload"]["b"]),
            (&json!("c\""), &json!("x\ny"))
        );
    }

    #[test]
    fn a_log_line_does_not_steer_the_terminal() {
        assert_eq!(printable("a\tb\n\u{1b}[2Jc"), "a\tb\n\u{fffd}[2Jc");
    }
}
