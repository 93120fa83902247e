//! `iottly history`, `iottly logs` and `iottly export`: what a device has sent.

use std::fmt::Write as _;
use std::io::{BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use anyhow::Context;
use clap::Args;
use iottly_filter::date;
use iottly_web::answers::{Date, DeviceLogDto, HistoryPage, LogDto, LogEvent, MessageDto, ProjectLogs};
use serde_json::json;
use ureq::BodyReader;

use crate::answer::{list, read};
use crate::call::Call;
use crate::exit::Failure;
use crate::job::{self, Wait};
use crate::named_device::device_id;
use crate::progress::Progress;
use crate::remote::{Api, escaped};
use crate::say::say;
use crate::table::plain;
use crate::tail;
use crate::time_text::at;

/// Maximum number of entries of one page of the API.
const PAGE: u32 = 100;
/// Size of a piece of an export, in bytes.
const PIECE: usize = 64 << 10;

#[derive(Args)]
pub(crate) struct HistoryOptions {
    /// Device, by name or id
    device: String,
    #[command(flatten)]
    call: Call,
    /// Number of entries, the newest first; 10,000 at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    last: u32,
    /// Conditions such as `temp>30 at>2026-11-26`, or a MongoDB filter as JSON
    #[arg(long, value_name = "CONDITIONS")]
    filter: Option<String>,
}

pub(crate) fn history(options: &HistoryOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let id = device_id(&api, &options.device)?;
    let (mut found, mut before) = (0, None::<String>);
    let mut pages = options.call.pages("messages");
    while found < options.last {
        let page = PAGE.min(options.last - found);
        let mut path = format!("/messages/{}?numMessages={page}", escaped(&id));
        if let Some(filter) = &options.filter {
            write!(path, "&queryJson={}", escaped(filter)).expect("a string takes all");
        }
        if let Some(before) = &before {
            write!(path, "&before={}", escaped(before)).expect("a string takes all");
        }
        let answer = api.get(&path)?;
        let HistoryPage { messages, next } = read(&answer)?;
        found += u32::try_from(messages.len()).unwrap_or(u32::MAX);
        pages.print(list(&answer, "messages")?, |_| {
            messages.iter().map(message_line).collect()
        })?;
        match next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    pages.end()
}

fn message_line(message: &MessageDto<'_>) -> String {
    let (time, kind) = (at(message.timestamp), message.kind.as_str());
    plain(&format!("{time}  {kind}  {}", message.payload)) + "\n"
}

#[derive(Args)]
pub(crate) struct LogsOptions {
    /// Device, by name or id; without it, the lines of all devices
    device: Option<String>,
    #[command(flatten)]
    call: Call,
    /// Least severe level of the lines; only without a device
    #[arg(long, value_parser = ["trace", "debug", "info", "warn", "error"], conflicts_with = "device")]
    level: Option<String>,
    /// Text that the lines contain; only without a device
    #[arg(long, conflicts_with = "device")]
    search: Option<String>,
    /// Place in the log before which the lines are, as the note of the command says it; only without a device
    #[arg(long, value_name = "PLACE", conflicts_with = "device")]
    before: Option<String>,
    /// Show further lines of the device as they are stored, until it is interrupted
    #[arg(long, short, requires = "device")]
    follow: bool,
    /// Number of lines, the newest last; 1,000 at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    last: u32,
}

pub(crate) fn logs(options: &LogsOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let device = match &options.device {
        Some(device) => Some(device_id(&api, device)?),
        None => None,
    };
    let mut path = match &device {
        Some(id) => format!("/device/{}/logs", escaped(id)),
        None => "/logs".to_owned(),
    };
    path += &format!("?numLines={}", options.last);
    let asked = [
        ("level", &options.level),
        ("search", &options.search),
        ("before", &options.before),
    ];
    for (name, value) in asked {
        if let Some(value) = value {
            path += &format!("&{name}={}", escaped(value));
        }
    }
    // Opened before the lines are read, so that none falls between the two.
    let events = device.map(|id| format!("/device/{}/events", escaped(&id)));
    let stream = match &events {
        Some(events) if options.follow => Some((events, api.stream(events)?)),
        _ => None,
    };
    let answer = api.get(&path)?;
    // As in a file: the newest line is next to the prompt.
    let lines: Vec<_> = list(&answer, "logs")?.iter().rev().cloned().collect();
    let newest_last = json!({"logs": lines});
    if options.device.is_some() {
        options.call.print_lines("logs", &newest_last, line)?;
    } else {
        let ProjectLogs { next, .. } = read(&answer)?;
        options
            .call
            .print_lines("logs", &newest_last, |named: &DeviceLogDto| {
                format!(
                    "{}  {:16}  {}",
                    at(named.line.devicetimestamp),
                    plain(&named.name),
                    said(&named.line)
                )
            })?;
        if let Some(next) = next {
            say(&format!("`--before {next}` shows older lines"));
        }
    }
    match stream {
        Some((events, stream)) => follow(&options.call, &api, events, stream),
        None => Ok(()),
    }
}

fn line(line: &LogDto) -> String {
    format!("{}  {}", at(line.devicetimestamp), said(line))
}

/// Returns the level and the text of a line, with the end of the line.
fn said(line: &LogDto) -> String {
    format!("{:5}  {}\n", tail::word(line.level), plain(&line.text))
}

/// Shows the lines of a device as they are stored, until it is interrupted, or the cloud refuses.
fn follow(call: &Call, api: &Api, path: &str, mut stream: BodyReader<'static>) -> Result<(), Failure> {
    loop {
        let lost = tail::read(BufReader::new(stream), &mut |event, data| {
            if event != "log" {
                return Ok(());
            }
            let event: LogEvent = read(data)?;
            let shown = LogDto {
                level: event.level,
                text: event.text.into_owned(),
                devicetimestamp: Date::from(event.at),
                timestamp: Date::from(event.at),
            };
            call.print(&json!(shown), |_| line(&shown))
        })?;
        say(&format!("{lost}; opening the stream again"));
        stream = tail::reopen(api, path)?;
        say("the stream is back; lines of the meantime are not shown here: `iottly logs` has them");
    }
}

#[derive(Args)]
pub(crate) struct ExportOptions {
    /// Device, by name or id
    #[arg(required_unless_present = "job")]
    device: Option<String>,
    /// Have a job of the cloud write the histories of many devices into a file, and fetch it: JSON lines, with gzip
    #[arg(long, conflicts_with = "filter")]
    job: bool,
    /// Conditions on the devices of the job, such as `group:demo` [default: all devices]
    #[arg(long, value_name = "CONDITIONS", requires = "job", conflicts_with = "device")]
    devices: Option<String>,
    /// File to write [default: messages-JOB.jsonl.gz]
    #[arg(long, value_name = "FILE", requires = "job")]
    file: Option<String>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    call: Call,
    /// Earliest time, inclusive: ISO 8601 or Unix milliseconds
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Latest time, exclusive
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Conditions such as `temp>30 at>2026-11-26`, or a MongoDB filter as JSON
    #[arg(long, value_name = "CONDITIONS")]
    filter: Option<String>,
}

/// Writes the history as it comes, one JSON object a line. An export that ends too early is an error.
pub(crate) fn export(options: &ExportOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let Some(device) = options.device.as_ref().filter(|_| !options.job) else {
        return export_job(&api, options);
    };
    let id = device_id(&api, device)?;
    let mut path = format!("/device/{}/messages/export", escaped(&id));
    let asked = [
        ("from", &options.from),
        ("to", &options.to),
        ("queryJson", &options.filter),
    ];
    let mut mark = '?';
    for (name, value) in asked {
        if let Some(value) = value {
            write!(path, "{mark}{name}={}", escaped(value)).expect("a string takes all");
            mark = '&';
        }
    }
    let mut body = api.download(&path)?;
    let mut out = std::io::stdout().lock();
    let mut piece = vec![0; PIECE];
    // Where the export itself is on the terminal, a bar would be drawn over it.
    let progress = (!std::io::stdout().is_terminal()).then(|| Progress::of_bytes("export", None));
    loop {
        let length = body
            .read(&mut piece)
            .context("the export is incomplete: the cloud or the network ended it")?;
        if length == 0 {
            return Ok(out.flush().context("cannot write to standard output")?);
        }
        out.write_all(&piece[..length])
            .context("cannot write to standard output")?;
        if let Some(progress) = &progress {
            progress.add(length as u64);
        }
    }
}

/// Starts a job that exports, waits for it, and fetches its file.
fn export_job(api: &Api, options: &ExportOptions) -> Result<(), Failure> {
    let mut body = json!({"kind": "export"});
    match &options.device {
        Some(device) => body["devices"] = json!([device_id(api, device)?]),
        None => body["filter"] = json!(options.devices.as_deref().unwrap_or_default()),
    }
    for (name, given) in [("from", &options.from), ("to", &options.to)] {
        if let Some(text) = given {
            let moment = text.parse().or_else(|_| date::parse(text));
            body[name] =
                json!(moment.map_err(|reason| Failure::Invalid(format!("--{name} {text:?}: {reason}")))?);
        }
    }
    let Some(id) = job::start(&options.call, api, &body, &options.wait)? else {
        return Ok(());
    };
    let file = options.file.clone();
    let file = file.unwrap_or_else(|| format!("messages-{id}.jsonl.gz"));
    job::download(api, &id, Path::new(&file))
}
