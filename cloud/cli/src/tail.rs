//! `iottly tail`: shows messages as they are stored, and the log lines of a device.

use std::io::{BufRead, BufReader, Write as _};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use crate::call::Call;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::escaped;
use crate::say::say;
use crate::table::plain;
use crate::time_text::time;

/// Maximum length of a line of the stream, in bytes: a message with the fields around it.
const MAX_LINE: u64 = 4 << 20;
/// Pause before the stream is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(crate) struct Options {
    /// Device, by name or id: its messages and log lines [default: the messages of all devices]
    device: Option<String>,
    #[command(flatten)]
    call: Call,
}

/// Runs until it is interrupted, or the cloud refuses.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let api = options.call.api()?;
    let path = match &options.device {
        Some(device) => format!("/device/{}/events", escaped(&device_id(&api, device)?)),
        None => "/events".to_owned(),
    };
    let mut body = api.stream(&path)?;
    loop {
        read(BufReader::new(body), &mut |event, data| {
            options.call.print(data, |data| printable(&text(event, data)))
        })?;
        say("lost the cloud; opening the stream again, messages of the meantime are in `iottly history`");
        body = loop {
            std::thread::sleep(REOPEN_AFTER);
            match api.stream(&path) {
                Ok(body) => break body,
                Err(Failure::Failed(_)) => {}
                Err(refused) => return Err(refused),
            }
        };
        say("the stream is back");
    }
}

/// Returns a line without characters with which a device could control the terminal.
fn printable(line: &str) -> String {
    match line.strip_suffix('\n') {
        Some(line) => plain(line) + "\n",
        None => plain(line),
    }
}

/// Returns the line for an event.
fn text(event: &str, data: &Value) -> String {
    let field = |key: &str| data[key].as_str().unwrap_or_default();
    let at = time(&data["at"]);
    match event {
        "message" => format!(
            "{at}  {}  {}  {}\n",
            field("device"),
            field("type"),
            data["payload"]
        ),
        "log" => format!(
            "{at}  {}  {:5}  {}\n",
            field("device"),
            field("level"),
            field("text")
        ),
        "lagged" => format!(
            "({} events were skipped: this terminal is too slow)\n",
            data["count"]
        ),
        _ => String::new(),
    }
}

/// Reads events until the stream ends or breaks, and hands each to `show` with its name.
pub(crate) fn read(
    mut stream: impl BufRead,
    show: &mut dyn FnMut(&str, &Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut event = String::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = std::io::Read::take(&mut stream, MAX_LINE).read_until(b'\n', &mut line);
        // A stream that breaks is opened again, as one that ends.
        if !matches!(read, Ok(1..)) || line.last() != Some(&b'\n') {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']);
        if let Some(name) = text.strip_prefix("event:") {
            name.trim_start().clone_into(&mut event);
        } else if let Some(data) = text.strip_prefix("data:") {
            let data: Value =
                serde_json::from_str(data.trim_start()).context("the cloud's event is not JSON")?;
            // Signs of life are for programs that wait for nothing else.
            if event != "beat" {
                show(&event, &data)?;
            }
            std::io::stdout()
                .flush()
                .context("cannot write to standard output")?;
        } else if text.is_empty() {
            event.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_until_the_stream_breaks() {
        let stream = b": watching\n\nevent: message\ndata: {\"device\":\"d\",\"at\":0,\"type\":\"userdefined\",\"payload\":{\"n\":1}}\n\n\
            event: log\r\ndata: {\"device\":\"d\",\"at\":0,\"level\":\"warn\",\"text\":\"hot\"}\r\n\r\n\
            event: lagged\ndata: {\"count\":3}\n\nevent: message\ndata: {\"cut";
        let mut shown = String::new();
        let read = read(&stream[..], &mut |event, data| {
            shown += &text(event, data);
            Ok(())
        });
        assert!(read.is_ok());
        assert_eq!(
            shown,
            "1970-01-01T00:00:00.000Z  d  userdefined  {\"n\":1}\n\
             1970-01-01T00:00:00.000Z  d  warn   hot\n\
             (3 events were skipped: this terminal is too slow)\n"
        );
    }
}
