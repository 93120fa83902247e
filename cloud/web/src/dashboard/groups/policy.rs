//! The form of a group's rollout policy.

use iottly_core::model::{Policy, Wave};
use maud::{Markup, html};

use super::super::forms::Fields;
use super::flash::quoted;
use crate::error::ApiError;

/// Numbers of a policy: name, words, and unit.
const NUMBERS: [(&str, &str, &str); 9] = [
    ("canary", "Devices that are updated first", "devices"),
    ("canary_failures", "Of these may fail", "devices"),
    (
        "concurrency",
        "Update at the same time; 0 for no limit",
        "devices",
    ),
    ("failure_percent", "Halt when more than this fail", "%"),
    ("sample", "The percentage counts after", "devices"),
    ("retries", "Retries of a device that failed", "times"),
    ("soak_s", "Wait between two waves", "s"),
    ("grace_ms", "Trial of the release on each device", "ms"),
    ("deadline_s", "Time limit of an update", "s"),
];

/// Returns the fields of a policy.
pub(super) fn fields(policy: &Policy) -> Markup {
    let waves: Vec<_> = policy
        .waves
        .iter()
        .map(|wave| match wave {
            Wave::Percent(percent) => format!("{percent}%"),
            Wave::Count(count) => count.to_string(),
        })
        .collect();
    html! {
        div.fields {
            @for (name, words, unit) in NUMBERS {
                div.field {
                    label for=(name) { (words) }
                    div.unit { input id=(name) name=(name) type="number" min="0" required value=(number(policy, name)); span { (unit) } }
                }
            }
            div.field {
                label for="waves" { "Waves after the first devices" }
                input #waves name="waves" value=(waves.join(" ")) placeholder="25% 50%";
                p.hint { "Percentages of the group, or numbers of further devices. The rest follows the last wave." }
            }
        }
    }
}

/// Returns the command that sets these rules for a group.
pub(super) fn command(group: &str, policy: &Policy) -> String {
    let mut line = format!("iottly group policy {}", quoted(group));
    for (name, ..) in NUMBERS {
        let option = name.trim_end_matches("_s").replace('_', "-");
        line += &format!(" --{option} {}", number(policy, name));
    }
    for wave in &policy.waves {
        line += &match wave {
            Wave::Percent(percent) => format!(" --wave {percent}%"),
            Wave::Count(count) => format!(" --wave +{count}"),
        };
    }
    line
}

fn number(policy: &Policy, name: &str) -> u64 {
    match name {
        "canary" => policy.canary.into(),
        "canary_failures" => policy.canary_failures.into(),
        "concurrency" => policy.concurrency.into(),
        "failure_percent" => policy.failure_percent.into(),
        "sample" => policy.sample.into(),
        "retries" => policy.retries.into(),
        "soak_s" => policy.soak_s,
        "grace_ms" => policy.grace_ms,
        _ => policy.deadline_s,
    }
}

/// Returns the policy of a form; settings that the form does not have keep their values.
pub(super) fn parse(fields: &Fields, old: &Policy) -> Result<Policy, ApiError> {
    let wrong =
        |name: &str| ApiError::invalid("invalid_policy", format!("{name} is not a number that it can be"));
    let wide = |name: &str| -> Result<u64, ApiError> {
        let text = fields.get(name).unwrap_or_default().trim();
        text.parse().map_err(|_| wrong(name))
    };
    let narrow = |name: &str| wide(name).and_then(|number| u32::try_from(number).map_err(|_| wrong(name)));
    let mut waves = Vec::new();
    for word in fields.get("waves").unwrap_or_default().split_whitespace() {
        let wave = match word.strip_suffix('%') {
            Some(percent) => percent.parse().map(Wave::Percent),
            None => word.parse().map(Wave::Count),
        };
        waves.push(wave.map_err(|_| wrong("waves"))?);
    }
    let policy = Policy {
        canary: narrow("canary")?,
        canary_failures: narrow("canary_failures")?,
        concurrency: narrow("concurrency")?,
        failure_percent: u8::try_from(wide("failure_percent")?).map_err(|_| wrong("failure_percent"))?,
        sample: narrow("sample")?,
        retries: narrow("retries")?,
        soak_s: wide("soak_s")?,
        grace_ms: wide("grace_ms")?,
        deadline_s: wide("deadline_s")?,
        waves,
        ..old.clone()
    };
    policy
        .check()
        .map_err(|error| ApiError::invalid("invalid_policy", error.to_string()))?;
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_it_was_rendered() {
        let policy = Policy {
            canary: 2,
            waves: vec![Wave::Count(3), Wave::Percent(50)],
            concurrency: 10,
            silence_s: 99,
            ..Policy::default()
        };
        assert_eq!(
            command("north wing", &policy),
            "iottly group policy 'north wing' --canary 2 --canary-failures 0 --concurrency 10 --failure-percent 10 --sample 10 \
             --retries 0 --soak 0 --grace-ms 10000 --deadline 3600 --wave +3 --wave 50%"
        );
        let mut form: Vec<_> = NUMBERS
            .iter()
            .map(|(name, ..)| ((*name).to_owned(), number(&policy, name).to_string()))
            .collect();
        form.push(("waves".into(), "3 50%".into()));
        assert_eq!(parse(&Fields(form.clone()), &policy).expect("is one"), policy);
        form[3].1 = "101".into();
        assert!(
            parse(&Fields(form.clone()), &policy).is_err(),
            "the policy's own check"
        );
        form[3].1 = "many".into();
        assert!(parse(&Fields(form), &policy).is_err());
    }
}
