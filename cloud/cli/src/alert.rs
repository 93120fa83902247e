//! `iottly alert …`: lists alerts, mutes them, and manages the rules that raise them, over the REST API.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use iottly_web::answers::{AlertDto, AlertList, AlertRuleDto, Date, OneAlertRule};
use serde_json::json;

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::escaped;
use crate::say::say;
use crate::time_text::at;
use crate::time_text::{moment, now};

mod mail;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists alerts, the newest first
    List {
        #[command(flatten)]
        call: Call,
        /// Alerts to list: raised, cleared or all
        #[arg(long, default_value = "raised", value_parser = ["raised", "cleared", "all"])]
        state: String,
        /// Device, by name or id
        #[arg(long)]
        device: Option<String>,
        /// Id of the rule that raised them
        #[arg(long)]
        rule: Option<String>,
        /// Maximum number of alerts
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Id of the alert behind which the list continues
        #[arg(long, value_name = "ALERT")]
        before: Option<String>,
    },
    /// Manages the rules that raise alerts
    Rule {
        #[command(subcommand)]
        command: RuleCommand,
    },
    /// Lists mails about alerts, and sends a test
    Mail {
        #[command(subcommand)]
        command: mail::Command,
    },
    /// Mutes an alert, or a rule with all its alerts: no entry, delivery or mail until then
    Mute {
        /// Id of the alert or of the rule
        id: String,
        #[command(flatten)]
        call: Call,
        /// End of the mute: a time such as 2026-12-24T18:00:00Z, or from now on such as 90m, 2h or 3d
        #[arg(long, value_name = "TIME")]
        until: String,
    },
    /// Ends the mute of an alert or of a rule
    Unmute {
        /// Id of the alert or of the rule
        id: String,
        #[command(flatten)]
        call: Call,
    },
}

#[derive(Subcommand)]
enum RuleCommand {
    /// Lists the rules
    List {
        #[command(flatten)]
        call: Call,
    },
    /// Adds a rule; it watches the whole project unless a device or a group is given
    Add(AddOptions),
    /// Removes a rule and clears its alerts
    Rm {
        /// Id of the rule
        id: String,
        #[command(flatten)]
        call: Call,
    },
}

#[derive(Args)]
struct AddOptions {
    /// Name of the rule
    name: String,
    #[command(flatten)]
    call: Call,
    /// Condition that raises an alert
    #[arg(long = "when", value_parser = ["offline", "no_data", "gap", "queue_age", "trap", "rollout_halted", "certificate", "value"])]
    condition: String,
    /// Length of time of the condition, such as 30s, 5m, 2h or 3d
    #[arg(long, value_name = "LENGTH")]
    after: Option<String>,
    /// Conditions of value on a message, such as `temp>30 door:open`, or a MongoDB filter as JSON
    #[arg(long)]
    filter: Option<String>,
    /// Filter that clears an alert of the condition value [default: ten quiet minutes]
    #[arg(long, value_name = "FILTER")]
    clear: Option<String>,
    /// Device to watch, by name or id
    #[arg(long, conflicts_with = "group")]
    device: Option<String>,
    /// Deployment group to watch, by name or id
    #[arg(long)]
    group: Option<String>,
    /// Address that gets a mail; may be given several times
    #[arg(long = "mail", value_name = "ADDRESS")]
    mails: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::List {
            call,
            state,
            device,
            rule,
            limit,
            before,
        } => {
            let api = call.api()?;
            let mut path = format!("/alerts?state={state}&limit={limit}");
            if let Some(before) = before {
                write!(path, "&before={}", escaped(before)).expect("a string takes all");
            }
            if let Some(device) = device {
                write!(path, "&device={}", escaped(&device_id(&api, device)?)).expect("a string takes all");
            }
            if let Some(rule) = rule {
                write!(path, "&rule={}", escaped(rule)).expect("a string takes all");
            }
            let head = ["ID", "STATE", "RAISED", "DEVICE", "RULE", "DETAIL"];
            let answer = api.get(&path)?;
            let listed: AlertList = read(&answer)?;
            call.print_table("alerts", &answer, &head, alert)?;
            // The cloud does not say whether there are older ones; a full list may have been cut.
            if let Some(last) = listed
                .alerts
                .last()
                .filter(|_| listed.alerts.len() >= *limit as usize)
            {
                say(&format!(
                    "the limit of {limit} was reached: there may be older alerts; `--before {}` continues the list, `--limit` changes it",
                    last.id
                ));
            }
            Ok(())
        }
        Command::Rule { command } => rule(command),
        Command::Mail { command } => mail::run(command),
        Command::Mute { id, call, until } => {
            let until = moment(until, now()).map_err(Failure::Invalid)?;
            let body = json!({"until": until});
            let api = call.api()?;
            let answer = api.post(&format!("{}/mute", place(call, id)?), &body)?;
            call.print(&answer, |_| format!("mute until {}\n", at(Date::from(until))))
        }
        Command::Unmute { id, call } => {
            let answer = call.api()?.delete(&format!("{}/mute", place(call, id)?))?;
            call.print(&answer, |_| "not mute\n".to_owned())
        }
    }
}

/// Returns the path of the rule with an id, or else of the alert.
fn place(call: &Call, id: &str) -> Result<String, Failure> {
    let rules = call.api()?.get("/alerts/rules")?;
    let known: Vec<AlertRuleDto> = read(&rules["rules"])?;
    let kind = if known.iter().any(|rule| rule.id.to_string() == id) {
        "/alerts/rules"
    } else {
        "/alerts"
    };
    Ok(format!("{kind}/{}", escaped(id)))
}

fn rule(command: &RuleCommand) -> Result<(), Failure> {
    match command {
        RuleCommand::List { call } => {
            let head = ["ID", "CONDITION", "WATCHES", "NAME", "MAILS TO"];
            call.print_table("rules", &call.api()?.get("/alerts/rules")?, &head, rule_row)
        }
        RuleCommand::Add(options) => add(options),
        RuleCommand::Rm { id, call } => {
            let answer = call.api()?.delete(&format!("/alerts/rules/{}", escaped(id)))?;
            call.print(&answer, |_| "removed\n".to_owned())
        }
    }
}

fn add(options: &AddOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let mut body = json!({"name": options.name, "condition": options.condition});
    if let Some(after) = &options.after {
        let length = moment(after, 0).map_err(|_| {
            Failure::Invalid(format!(
                "--after {after:?} is no length of time such as 30s, 5m, 2h or 3d"
            ))
        })?;
        body["after_ms"] = json!(length);
    }
    for (name, filter) in [("filter", &options.filter), ("clear", &options.clear)] {
        if let Some(filter) = filter {
            body[name] = json!(filter);
        }
    }
    if let Some(device) = &options.device {
        body["device"] = json!(device_id(&api, device)?);
    }
    if let Some(group) = &options.group {
        body["deployment_group"] = json!(api.group(group)?.id);
    }
    if !options.mails.is_empty() {
        body["mails"] = json!(options.mails);
    }
    let answer = api.post("/alerts/rules", &body)?;
    options.call.print_as(&answer, |answer: &OneAlertRule| {
        rule_row(&answer.rule).join("  ").trim_end().to_owned() + "\n"
    })
}

fn alert(alert: &AlertDto) -> Vec<String> {
    let mute = if alert.muted_until.is_none() {
        ""
    } else {
        " (mute)"
    };
    vec![
        alert.id.to_string(),
        alert.state.to_string(),
        at(alert.raised),
        alert
            .device
            .map_or_else(|| "-".to_owned(), |device| device.to_string()),
        alert.name.clone(),
        alert.detail.clone() + mute,
    ]
}

fn rule_row(rule: &AlertRuleDto) -> Vec<String> {
    let after = rule.after_ms.map(|after| format!(" {} s", after / 1000));
    let filter = rule.filter.as_ref().map(|filter| format!(" {filter}"));
    let scope = match (rule.device, rule.deployment_group) {
        (Some(device), _) => format!("device {device}"),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "project".to_owned(),
    };
    let mute = if rule.muted_until.is_none() {
        ""
    } else {
        "  (mute)"
    };
    let unexamined = match rule.unexamined {
        0 => String::new(),
        count => format!(" (not applied to {count} messages)"),
    };
    vec![
        rule.id.to_string(),
        rule.condition.to_string() + &after.unwrap_or_default() + &filter.unwrap_or_default() + &unexamined,
        scope,
        rule.name.clone() + mute,
        rule.mails.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "8a0d2a5c-7ad6-4ad2-8c0f-9a4f3f3a0001";

    #[test]
    fn rules_and_alerts_are_one_line_each() {
        let rule = json!({"id": ID, "name": "away", "condition": "offline", "after_ms": 60_000, "device": null,
            "deployment_group": ID, "mails": [], "muted_until": {"$date": 1}, "created": {"$date": 0}});
        assert_eq!(
            rule_row(&read(&rule).expect("a rule")).join("  ").trim_end(),
            format!("{ID}  offline 60 s  group {ID}  away  (mute)")
        );
        let value = json!({"id": ID, "name": "hot", "condition": "value", "filter": {"temp": {"$gt": 30}}, "mails": ["a@b"],
            "created": {"$date": 0}, "unexamined": 12});
        assert_eq!(
            rule_row(&read(&value).expect("a rule")).join("  "),
            format!(
                "{ID}  value {{\"temp\":{{\"$gt\":30}}}} (not applied to 12 messages)  project  hot  a@b"
            )
        );
        let raised = json!({"id": ID, "state": "raised", "rule": ID, "condition": "offline", "raised": {"$date": 0},
            "seen": {"$date": 0}, "device": ID, "name": "away", "detail": "offline for longer than 60 s", "muted_until": null});
        assert_eq!(
            alert(&read(&raised).expect("an alert")).join("  "),
            format!("{ID}  raised  1970-01-01T00:00:00.000Z  {ID}  away  offline for longer than 60 s")
        );
    }
}
