//! `iottly alert …`: lists alerts, mutes them, and manages the rules that raise them, over the REST API.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::call::Call;
use crate::device::absence::{moment, now};
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::escaped;
use crate::time_text::time;

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
        Command::List { call, state, device } => {
            let api = call.api()?;
            let mut path = format!("/alerts?state={state}");
            if let Some(device) = device {
                write!(path, "&device={}", escaped(&device_id(&api, device)?)).expect("a string takes all");
            }
            let head = ["ID", "STATE", "RAISED", "DEVICE", "RULE", "DETAIL"];
            call.print_table("alerts", &api.get(&path)?, &head, alert)
        }
        Command::Rule { command } => rule(command),
        Command::Mail { command } => mail::run(command),
        Command::Mute { id, call, until } => {
            let until = moment(until, now()).map_err(Failure::Invalid)?;
            let body = json!({"until": until});
            let api = call.api()?;
            let answer = api.post(&format!("{}/mute", place(call, id)?), &body)?;
            call.print(&answer, |_| format!("mute until {}\n", time(&json!(until))))
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
    let known = rules["rules"].as_array().into_iter().flatten();
    let kind = if known.into_iter().any(|rule| rule["id"] == id) {
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
    options.call.print(&answer, |answer| {
        rule_row(&answer["rule"]).join("  ").trim_end().to_owned() + "\n"
    })
}

fn alert(alert: &Value) -> Vec<String> {
    let text = |key: &str| alert[key].as_str().unwrap_or("-").to_owned();
    let mute = if alert["muted_until"].is_null() {
        ""
    } else {
        " (mute)"
    };
    vec![
        text("id"),
        text("state"),
        time(&alert["raised"]),
        text("device"),
        text("name"),
        text("detail") + mute,
    ]
}

fn rule_row(rule: &Value) -> Vec<String> {
    let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    let after = match rule["after_ms"].as_i64() {
        Some(after) => format!(" {} s", after / 1000),
        None => String::new(),
    };
    let scope = match (rule["device"].as_str(), rule["deployment_group"].as_str()) {
        (Some(device), _) => format!("device {device}"),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "project".to_owned(),
    };
    let mute = if rule["muted_until"].is_null() {
        ""
    } else {
        "  (mute)"
    };
    let filter = match &rule["filter"] {
        Value::Null => String::new(),
        filter => format!(" {filter}"),
    };
    let mails: Vec<_> = rule["mails"].as_array().into_iter().flatten().collect();
    let mails: Vec<_> = mails.into_iter().filter_map(Value::as_str).collect();
    vec![
        text("id"),
        text("condition") + &after + &filter,
        scope,
        text("name") + mute,
        mails.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_alerts_are_one_line_each() {
        let rule = json!({"id": "1", "name": "away", "condition": "offline", "after_ms": 60_000, "device": null,
            "deployment_group": "g", "muted_until": {"$date": 1}});
        assert_eq!(
            rule_row(&rule).join("  ").trim_end(),
            "1  offline 60 s  group g  away  (mute)"
        );
        let raised = json!({"id": "2", "state": "raised", "raised": {"$date": 0}, "device": "d", "name": "away",
            "detail": "offline for longer than 60 s", "muted_until": null});
        assert_eq!(
            alert(&raised).join("  "),
            "2  raised  1970-01-01T00:00:00.000Z  d  away  offline for longer than 60 s"
        );
    }
}
