//! `iottly alert mail …`: mails about alerts, and a test of their delivery.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::Subcommand;
use iottly_web::answers::{MailDto, MailList};
use serde_json::json;

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::interrupt::Following;
use crate::say::say;
use crate::time_text::at;

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
        Command::List { call } => {
            let answer = call.api()?.get("/alerts/mails")?;
            let listed: MailList = read(&answer)?;
            call.print_lines("mails", &answer, line)?;
            if listed.allowed.is_none() {
                say("this cloud sends no mails (iottly serve --smtp-url)");
            }
            Ok(())
        }
        Command::Test { address, call } => test(address, call),
    }
}

fn test(address: &str, call: &Call) -> Result<(), Failure> {
    let api = call.api()?;
    api.post("/alerts/mails", &json!({"to": address}))?;
    let _following = Following::start(
        "the mail is sent all the same: `iottly alert mail list` shows what became of it".to_owned(),
    );
    let end = Instant::now() + WAIT;
    loop {
        let answer = api.get("/alerts/mails")?;
        let listed: MailList = read(&answer)?;
        // The newest is the one of this call, unless someone else tests the same address.
        let found = listed
            .mails
            .iter()
            .position(|mail| mail.kind == "test" && mail.to == address);
        let mail = found.map(|at| &listed.mails[at]);
        let reason = mail.and_then(|mail| mail.reason.as_deref()).unwrap_or_default();
        let failed = |text: String| Err(Failure::Failed(anyhow::anyhow!(text)));
        match (mail, mail.map_or("", |mail| &*mail.state)) {
            (Some(mail), "sent") => {
                let shown = json!({"mail": answer["mails"][found.unwrap_or_default()]});
                return call.print(&shown, |_| line(mail));
            }
            (_, "refused") => return failed(format!("the mail was refused: {reason}")),
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

fn line(mail: &MailDto) -> String {
    let mut out = format!(
        "{}  {:7}  {}  {}",
        at(mail.queued),
        mail.state,
        mail.to,
        mail.subject
    );
    if let Some(reason) = &mail.reason {
        write!(out, ": {reason}").expect("a string takes all");
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_one_line_with_the_reason() {
        let mail = json!({"alert": null, "kind": "test", "queued": {"$date": 0}, "state": "refused", "attempts": 1,
            "to": "a@example.org", "subject": "[iottly] test: p", "next": null, "ended": {"$date": 0},
            "reason": "550 no such user"});
        assert_eq!(
            line(&read(&mail).expect("a mail")),
            "1970-01-01T00:00:00.000Z  refused  a@example.org  [iottly] test: p: 550 no such user\n"
        );
    }
}
