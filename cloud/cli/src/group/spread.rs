//! Rules of a rollout as options, and `iottly group policy`.

use std::io::Write;

use anyhow::Context;
use clap::Args;
use iottly_core::model::Policy;
use iottly_web::answers::{GroupDto, OnePolicy};
use serde_json::{Map, Value, json};

use super::Output;
use crate::answer::read;
use crate::exit::Failure;
use crate::remote::Api;

/// Parts of the policy that differ from the group's own.
#[derive(Args)]
pub(super) struct Spread {
    /// Number of devices that are updated first
    #[arg(long, value_name = "N")]
    canary: Option<u32>,
    /// Number of these that may fail
    #[arg(long, value_name = "N")]
    canary_failures: Option<u32>,
    /// End of a wave, in percent of the group (25%), or as a number of further devices (+10); may be given several times
    #[arg(long = "wave", value_name = "WAVE", value_parser = wave)]
    waves: Vec<Value>,
    /// Largest number of devices that update at the same time; 0 for no limit
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Percentage of the finished devices that may fail
    #[arg(long, value_name = "N")]
    failure_percent: Option<u8>,
    /// Number of finished devices from which the percentage counts
    #[arg(long, value_name = "N")]
    sample: Option<u32>,
    /// Number of retries of a device that failed
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Wait between two waves, in seconds
    #[arg(long, value_name = "S")]
    soak: Option<u64>,
    /// Time limit of an update, in seconds
    #[arg(long, value_name = "S")]
    deadline: Option<u64>,
    /// Duration of the release's trial on each device, in milliseconds
    #[arg(long, value_name = "MS")]
    grace_ms: Option<u64>,
}

impl Spread {
    /// Returns the fields of a policy that differ from the group's own.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let waves = (!self.waves.is_empty()).then(|| Value::from(self.waves.clone()));
        let number = |value: Option<u32>| value.map(Value::from);
        let fields = [
            ("canary", number(self.canary)),
            ("canary_failures", number(self.canary_failures)),
            ("waves", waves),
            ("concurrency", number(self.concurrency)),
            ("failure_percent", self.failure_percent.map(Value::from)),
            ("sample", number(self.sample)),
            ("retries", number(self.retries)),
            ("soak_s", self.soak.map(Value::from)),
            ("deadline_s", self.deadline.map(Value::from)),
            ("grace_ms", self.grace_ms.map(Value::from)),
        ];
        fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

/// Parses the end of a wave: a percentage of the group, or a number of further devices.
fn wave(text: &str) -> Result<Value, String> {
    let wrong = || {
        format!("{text:?} is neither a percentage, such as 25%, nor a number of further devices, such as +10")
    };
    if let Some(count) = text.strip_prefix('+') {
        let count: u32 = count.parse().map_err(|_| wrong())?;
        return Ok(json!({"count": count}));
    }
    let percent: u8 = text
        .strip_suffix('%')
        .unwrap_or(text)
        .parse()
        .map_err(|_| wrong())?;
    Ok(json!({"percent": percent}))
}

/// Returns the policy of a group with the given options in place of its own; none if there are no options.
pub(super) fn merged(api: &Api, group: &GroupDto, spread: &Spread) -> Result<Option<Value>, Failure> {
    let fields = spread.fields();
    if fields.is_empty() {
        return Ok(None);
    }
    let mut policy = own(api, group)?["policy"].take();
    for (name, value) in fields {
        policy[name] = value;
    }
    Ok(Some(policy))
}

fn own(api: &Api, group: &GroupDto) -> Result<Value, Failure> {
    api.get(&format!("/deploymentgroups/{}/policy", group.id))
}

/// Changes the policy of a group if there are options, and prints it.
pub(super) fn policy(api: &Api, group: &GroupDto, spread: &Spread, output: Output) -> Result<(), Failure> {
    let answer = match merged(api, group, spread)? {
        Some(policy) => api.put(
            &format!("/deploymentgroups/{}/policy", group.id),
            "application/json",
            policy.to_string().as_bytes(),
        )?,
        None => own(api, group)?,
    };
    let text = match output {
        Output::Json => answer.to_string(),
        Output::Text => shown(&read::<OnePolicy>(&answer)?.policy),
    };
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write to standard output")?;
    Ok(())
}

/// Returns a policy in lines of a name and a value.
fn shown(policy: &Policy) -> String {
    let fields = json!(policy);
    let fields = fields.as_object().into_iter().flatten();
    let lines: Vec<_> = fields
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| format!("{name:<18}{}", value_text(name, value)))
        .collect();
    lines.join("\n")
}

fn value_text(name: &str, value: &Value) -> String {
    let waves = value.as_array().filter(|_| name == "waves");
    let Some(waves) = waves else {
        return value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    };
    let ends: Vec<_> = waves
        .iter()
        .map(|wave| match (wave["percent"].as_u64(), wave["count"].as_u64()) {
            (Some(percent), _) => format!("{percent}%"),
            (None, Some(count)) => format!("+{count}"),
            (None, None) => wave.to_string(),
        })
        .collect();
    if ends.is_empty() {
        "none".to_owned()
    } else {
        ends.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_a_percentage_or_a_number_of_devices() {
        assert_eq!(wave("25%"), Ok(json!({"percent": 25})));
        assert_eq!(
            wave("25"),
            Ok(json!({"percent": 25})),
            "as before there were numbers of devices"
        );
        assert_eq!(wave("+10"), Ok(json!({"count": 10})));
        for wrong in ["", "+", "+10%", "300", "-1", "a few"] {
            assert!(wave(wrong).is_err(), "{wrong}");
        }
        let policy = json!({"canary": 1, "waves": [{"percent": 25}, {"count": 10}], "window": null});
        let shown = shown(&serde_json::from_value(policy).expect("a policy"));
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines.contains(&"canary            1"), "{shown}");
        assert!(lines.contains(&"waves             25% +10"), "{shown}");
        assert!(!shown.contains("window"), "{shown}");
    }
}
