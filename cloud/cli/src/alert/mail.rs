//! `iottly alert mail …`: mails about alerts, and a test of their delivery.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::{Value, json};

use crate::call::Call;
use crate::exit::Failure;
use crate::time_text::time;

/// Time for which the end of a test mail is awaited.
const WAIT: Duration = Duration::from_secs(60);
/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Subcommand)]
pub(super) enum Command {
    /// Lists mails of the last seven days with the state of their delivery, the newest first
    List {
        #[command(flatten)]
        call: Call,
    },
    /// Sends a test mail and shows whether the mail server takes it
    Test {
        /// Address that gets it
        address: String,
        #[command(flatten)]
        call: Call,
    },
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List { call } => call.print_list("mails", &call.api()?.get("/alerts/mails")?, lines),
        Command::Test { address, call } => test(address, call),
    }
}

fn test(address: &str, call: &Call) -> Result<(), Failure> {
    let api = call.api()?;
    api.post("/alerts/mails", &json!({"to": address}))?;
    let end = Instant::now() + WAIT;
    loop {
        let listed = api.get("/alerts/mails")?;
        let known = listed["mails"].as_array().into_iter().flatten();
        // The newest is the one of this call, unless someone else tests the same address.
        let mail = known
            .into_iter()
            .find(|mail| mail["kind"] == "test" && mail["to"] == address);
        let state = mail.map_or("", |mail| mail["state"].as_str().unwrap_or_default());
        let reason = mail.and_then(|mail| mail["reason"].as_str()).unwrap_or_default();
        let failed = |text: String| Err(Failure::Failed(anyhow::anyhow!(text)));
        match state {
            "sent" => return call.print(&json!({"mail": mail}), |answer| line(&answer["mail"])),
            "refused" => return failed(format!("the mail was refused: {reason}")),
            _ if Instant::now() < end => std::thread::sleep(EVERY),
            _ => {
                return failed(format!(
                    "the mail was not sent within {} s and is tried again later: {reason}",
                    WAIT.as_secs()
                ));
            }
        }
    }
}

fn lines(answer: &Value) -> String {
    let mut out: String = answer["mails"]
        .as_array()
        .into_iter()
        .flatten()
        .map(line)
        .collect();
    if answer["allowed"].is_null() {
        out.push_str("this cloud sends no mails (iottly serve --smtp-url)\n");
    }
    out
}

fn line(mail: &Value) -> String {
    let text = |key: &str| mail[key].as_str().unwrap_or_default();
    let mut out = format!(
        "{}  {:7}  {}  {}",
        time(&mail["queued"]),
        text("state"),
        text("to"),
        text("subject")
    );
    if !mail["reason"].is_null() {
        write!(out, ": {}", text("reason")).expect("a string takes all");
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_one_line_with_the_reason() {
        let listed = json!({"allowed": null, "mails": [{"queued": {"$date": 0}, "state": "refused", "to": "a@example.org",
            "subject": "[iottly] test: p", "reason": "550 no such user"}]});
        assert_eq!(
            lines(&listed),
            "1970-01-01T00:00:00.000Z  refused  a@example.org  [iottly] test: p: 550 no such user\n\
             this cloud sends no mails (iottly serve --smtp-url)\n"
        );
    }
}
