//! Text for the answers of the webhook commands.

use std::fmt::Write as _;

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

pub(super) fn list(answer: &Value) -> String {
    let mut out = String::new();
    for hook in answer["webhooks"].as_array().into_iter().flatten() {
        let state = match (hook["enabled"] == true, text(&hook["breaker"])) {
            (false, _) => format!("off: {}", text(&hook["disabled_reason"])),
            (true, "open") => "failing".to_owned(),
            (true, _) => "on".to_owned(),
        };
        let (id, url, kind, channel) = (
            text(&hook["id"]),
            text(&hook["url"]),
            text(&hook["type"]),
            text(&hook["channel"]),
        );
        let counts = ["waiting", "failed", "dropped", "skipped"]
            .map(|name| format!("{name} {}", hook[name]))
            .join(", ");
        writeln!(
            out,
            "{id}  {state}  {url}  type {kind}, channel {channel}  {counts}"
        )
        .expect("a string takes all");
    }
    out
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
