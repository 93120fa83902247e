//! Text for the answers of the webhook commands.

use serde_json::Value;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Shows a new secret.
pub(super) fn secret(answer: &Value) -> String {
    format!(
        "webhook {}\nsecret  {}\n",
        text(&answer["id"]),
        text(&answer["secret"])
    )
}

pub(super) fn row(hook: &Value) -> Vec<String> {
    let state = match (hook["enabled"] == true, text(&hook["breaker"])) {
        (false, _) => format!("off: {}", text(&hook["disabled_reason"])),
        (true, "open") => "failing".to_owned(),
        (true, _) => "on".to_owned(),
    };
    let (kind, channel) = (text(&hook["type"]), text(&hook["channel"]));
    let counts = ["waiting", "failed", "dropped", "skipped"]
        .map(|name| format!("{name} {}", hook[name]))
        .join(", ");
    vec![
        text(&hook["id"]).to_owned(),
        state,
        text(&hook["url"]).to_owned(),
        format!("type {kind}, channel {channel}"),
        counts,
    ]
}

pub(super) fn attempt(attempt: &Value) -> String {
    let answer: String = text(&attempt["answer"])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(120)
        .collect();
    let (result, message) = (text(&attempt["result"]), text(&attempt["message"]));
    format!(
        "{result}  {} ms  message {message}  attempt {}  {answer}\n",
        attempt["milliseconds"], attempt["attempt"]
    )
}

pub(super) fn log(answer: &Value) -> String {
    answer["attempts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(attempt)
        .collect()
}
