//! `iottly tail`: shows messages as they are stored, and the log lines of a device.

use std::io::{BufRead, BufReader, ErrorKind, Write as _};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use iottly_core::model::MessageId;
use iottly_protocol::Level;
use iottly_web::answers::{Date, HistoryPage, LaggedEvent, LogEvent, MessageEvent};
use serde_json::{Value, json};
use ureq::BodyReader;

use crate::answer;
use crate::call::Call;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::{Api, escaped};
use crate::say::say;
use crate::table::plain;
use crate::time_text::at;

/// Maximum length of a line of the stream, in bytes: a message with the fields around it.
const MAX_LINE: u64 = 4 << 20;
/// Pause before the stream is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// Number of messages of a page of the history.
const PAGE: usize = 100;
/// Maximum number of missed messages that are read from the history.
const MAX_MISSED: usize = 10_000;

#[derive(Args)]
pub(crate) struct Options {
    /// Device, by name or id: its messages and log lines [default: the messages of all devices]
    device: Option<String>,
    /// Show only messages that match: conditions such as `group:demo temp>30`, or a filter as JSON
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    #[command(flatten)]
    call: Call,
}

/// Runs until it is interrupted, or the cloud refuses.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let api = options.call.api()?;
    let device = match &options.device {
        Some(device) => Some(device_id(&api, device)?),
        None => None,
    };
    let path = match &device {
        Some(id) => format!("/device/{}/events", escaped(id)),
        None => "/events".to_owned(),
    };
    let path = match &options.filter {
        Some(filter) => format!("{path}?filter={}", escaped(filter)),
        None => path,
    };
    let history = device.map(|id| match &options.filter {
        Some(filter) => format!("/messages/{}?queryJson={}&", escaped(&id), escaped(filter)),
        None => format!("/messages/{}?", escaped(&id)),
    });
    let mut shown = match &history {
        Some(history) => newest(&api, history)?,
        None => None,
    };
    let mut body = api.stream(&path)?;
    loop {
        let lost = read(BufReader::new(body), &mut |event, data| {
            if event == "message" {
                let place = place(&answer::read(data)?);
                // The history has shown it already.
                if history.is_some() && Some(place) <= shown {
                    return Ok(());
                }
                shown = Some(place);
            }
            let text = text(event, data)?;
            options.call.print(data, |_| printable(&text))
        })?;
        say(&format!("{lost}; opening the stream again"));
        body = reopen(&api, &path)?;
        match &history {
            Some(history) => missed(&options.call, &api, history, &mut shown)?,
            None => say(
                "the stream is back; messages of the meantime are not shown here: `iottly history DEVICE` has them",
            ),
        }
    }
}

/// Opens a stream again, as often as it takes.
///
/// # Errors
/// The cloud refuses it.
pub(crate) fn reopen(api: &Api, path: &str) -> Result<BodyReader<'static>, Failure> {
    loop {
        std::thread::sleep(REOPEN_AFTER);
        match api.stream(path) {
            Err(Failure::Failed(_)) => {}
            answered => return answered,
        }
    }
}

/// Place of a message in the history of its device.
type Place = (i64, MessageId);

fn place(message: &MessageEvent<'_>) -> Place {
    (message.at, message.id)
}

/// Returns the place of a device's newest message.
fn newest(api: &Api, history: &str) -> Result<Option<Place>, Failure> {
    let page: HistoryPage = answer::read(&api.get(&format!("{history}numMessages=1"))?)?;
    Ok(page
        .messages
        .first()
        .map(|message| (message.timestamp.at(), message.id.id)))
}

/// Shows the messages of a device that were stored while there was no stream, oldest first.
fn missed(call: &Call, api: &Api, history: &str, shown: &mut Option<Place>) -> Result<(), Failure> {
    let (mut found, mut before) = (Vec::new(), String::new());
    let is_whole = 'pages: loop {
        let answer = api.get(&format!("{history}numMessages={PAGE}{before}"))?;
        let page: HistoryPage = answer::read(&answer)?;
        for message in page.messages {
            if Some((message.timestamp.at(), message.id.id)) <= *shown {
                break 'pages true;
            }
            if found.len() == MAX_MISSED {
                break 'pages false;
            }
            found.push(message);
        }
        match page.next {
            Some(next) => before = format!("&before={}", escaped(&next)),
            None => break true,
        }
    };
    say(&format!(
        "the stream is back; {} messages of the meantime are shown{}, log lines of the meantime are in `iottly logs`",
        found.len(),
        if is_whole {
            ""
        } else {
            ", older ones are in `iottly history`"
        },
    ));
    for message in found.iter().rev() {
        *shown = Some((message.timestamp.at(), message.id.id));
        let event = json!({
            "id": message.id.id.to_string(),
            "device": message.from,
            "at": message.timestamp.at(),
            "firmware": message.firmware,
            "type": message.kind,
            "channel": message.channel,
            "payload": message.payload,
        });
        let text = text("message", &event)?;
        call.print(&event, |_| printable(&text))?;
    }
    Ok(())
}

/// Returns a line without characters with which a device could control the terminal.
fn printable(line: &str) -> String {
    match line.strip_suffix('\n') {
        Some(line) => plain(line) + "\n",
        None => plain(line),
    }
}

/// Returns the line for an event.
fn text(event: &str, data: &Value) -> Result<String, Failure> {
    Ok(match event {
        "message" => {
            let message: MessageEvent = answer::read(data)?;
            let time = at(Date::from(message.at));
            let (device, kind) = (message.device, message.kind.as_str());
            format!("{time}  {device}  {kind}  {}\n", message.payload)
        }
        "log" => {
            let line: LogEvent = answer::read(data)?;
            let time = at(Date::from(line.at));
            format!("{time}  {}  {:5}  {}\n", line.device, word(line.level), line.text)
        }
        "lagged" => {
            let lagged: LaggedEvent = answer::read(data)?;
            format!(
                "({} events were skipped: this terminal is too slow)\n",
                lagged.count
            )
        }
        "undecided" => format!(
            "{}  {}  (a message was left out: the filter needs too many steps for it)\n",
            time(&data["at"]),
            data["device"].as_str().unwrap_or_default()
        ),
        _ => String::new(),
    })
}

/// Returns the name of a level in the API.
pub(crate) const fn word(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// End of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The cloud or the network has ended it.
    Ended,
    /// Nothing came for longer than the cloud's signs of life allow.
    Silent,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ended => "the connection to the cloud has ended",
            Self::Silent => "the cloud sends no sign of life, the connection is cut",
        })
    }
}

/// Returns true for the end of the longest silence.
fn is_silence(error: &std::io::Error) -> bool {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<ureq::Error>());
    matches!(cause, Some(ureq::Error::Timeout(_))) || error.kind() == ErrorKind::TimedOut
}

/// Reads events until the stream ends, breaks or is silent, and hands each to `show` with its name.
pub(crate) fn read(
    mut stream: impl BufRead,
    show: &mut dyn FnMut(&str, &Value) -> Result<(), Failure>,
) -> Result<Lost, Failure> {
    let mut event = String::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = std::io::Read::take(&mut stream, MAX_LINE).read_until(b'\n', &mut line);
        // A stream that breaks is opened again, as one that ends.
        match read {
            Err(error) if is_silence(&error) => return Ok(Lost::Silent),
            Ok(1..) if line.last() == Some(&b'\n') => {}
            _ => return Ok(Lost::Ended),
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']);
        if let Some(name) = text.strip_prefix("event:") {
            name.trim_start().clone_into(&mut event);
        } else if let Some(data) = text.strip_prefix("data:") {
            let data: Value =
                serde_json::from_str(data.trim_start()).context("the cloud's event is not JSON")?;
            show(&event, &data)?;
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

    const DEVICE: &str = "16825a35-0000-4000-8000-000000000001";

    #[test]
    fn events_are_read_until_the_stream_breaks() {
        let stream = format!(
            ": watching\n\nevent: message\ndata: {{\"id\":\"5a0000000000000000000001\",\"device\":\"{DEVICE}\",\"at\":0,\"firmware\":null,\"type\":\"userdefined\",\"channel\":null,\"payload\":{{\"n\":1}}}}\n\n\
            event: log\r\ndata: {{\"device\":\"{DEVICE}\",\"at\":0,\"firmware\":null,\"level\":\"warn\",\"text\":\"hot\"}}\r\n\r\n\
            event: lagged\ndata: {{\"count\":3}}\n\nevent: message\ndata: {{\"cut"
        );
        let mut shown = String::new();
        let read = read(stream.as_bytes(), &mut |event, data| {
            shown += &text(event, data)?;
            Ok(())
        });
        assert!(matches!(read, Ok(Lost::Ended)));
        assert_eq!(
            shown,
            format!(
                "1970-01-01T00:00:00.000Z  {DEVICE}  userdefined  {{\"n\":1}}\n\
                 1970-01-01T00:00:00.000Z  {DEVICE}  warn   hot\n\
                 (3 events were skipped: this terminal is too slow)\n"
            )
        );
    }

    #[test]
    fn an_event_of_another_version_is_an_error_and_not_an_empty_cell() {
        let error = text("log", &json!({"device": DEVICE, "at": 0, "level": "warn"})).expect_err("no text");
        assert!(error.to_string().contains("missing field `text`"), "{error}");
    }
}
