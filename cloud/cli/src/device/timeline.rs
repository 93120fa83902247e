//! `iottly device timeline`: what happened to a device, newest first.

use std::fmt::Write as _;

use clap::Args;
use iottly_web::answers::TimelineDto;

use crate::call::Call;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::escaped;
use crate::table::plain;
use crate::time_text::at;

#[derive(Args)]
pub(super) struct TimelineOptions {
    /// Device, by name or id
    device: String,
    #[command(flatten)]
    call: Call,
    /// Length of the time before --to, such as 1h, 24h or 30d
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: String,
    /// Beginning, in place of --since: ISO 8601 or Unix milliseconds
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End; now by default
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Maximum number of events
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
}

pub(super) fn run(options: &TimelineOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let mut path = format!(
        "/device/{}/timeline?numEvents={}",
        escaped(&device_id(&api, &options.device)?),
        options.limit
    );
    let begin = match &options.from {
        Some(from) => ("from", from),
        None => ("since", &options.since),
    };
    for (name, value) in [Some(begin), options.to.as_ref().map(|to| ("to", to))]
        .into_iter()
        .flatten()
    {
        write!(path, "&{name}={}", escaped(value)).expect("a string takes all");
    }
    let answer = api.get(&path)?;
    if options.call.is_table() {
        return options.call.print_as(&answer, table);
    }
    options.call.print_list("events", &answer, |_| String::new())
}

/// Returns an event a line, and how to read on.
fn table(answer: &TimelineDto) -> String {
    let mut out = String::new();
    for event in &answer.events {
        let detail = match &*event.detail {
            "" => String::new(),
            detail => format!(" ({detail})"),
        };
        let end = match (event.until, event.lasts) {
            (Some(until), _) => format!(" until {}", at(until)),
            (None, true) => " until now".to_owned(),
            (None, false) => String::new(),
        };
        let line = format!(
            "{}  {:<8}  {}{detail}{end}",
            at(event.at),
            event.lane,
            event.title
        );
        // Texts come from devices and must not steer the terminal.
        writeln!(out, "{}", plain(&line)).expect("a string takes all");
    }
    if out.is_empty() {
        out += "nothing happened in this time\n";
    }
    if let Some(next) = answer.next {
        writeln!(out, "older events: --from {} --to {next}", answer.from.at()).expect("a string takes all");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_line_without_control_characters() {
        let answer = |events: serde_json::Value| {
            let whole = json!({"status": 200, "from": {"$date": 0}, "to": {"$date": 1}, "presence": [], "releases": [],
                "events": events, "next": null});
            table(&crate::answer::read(&whole).expect("a timeline"))
        };
        let events = json!([
            {"at": {"$date": 1_492_598_878_133_i64}, "until": null, "lasts": false, "lane": "failures", "tone": "bad", "title": "loop failed: \u{1b}[2J", "detail": "x"},
        ]);
        assert_eq!(
            answer(events),
            "2017-04-19T10:47:58.133Z  failures  loop failed:  [2J (x)\n"
        );
        assert_eq!(answer(json!([])), "nothing happened in this time\n");
    }
}
