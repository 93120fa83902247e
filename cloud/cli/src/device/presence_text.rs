//! Presence of a device in one line.

use serde_json::Value;

use crate::time_text::time;

/// Returns presence as the commands print it: the state, since when, and the last packet that proves it.
pub(super) fn presence(value: &Value) -> String {
    let state = value["state"].as_str().unwrap_or("unknown");
    let mut text = state.to_owned();
    if !value["since"].is_null() {
        text += &format!(" since {}", time(&value["since"]));
    }
    if let Some(reason) = value["planned"]["reason"].as_str() {
        text += &format!(", until {}: {reason}", time(&value["planned"]["until"]));
    }
    if let Some(packet) = value["proof"]["packet"].as_str() {
        text += &format!(" (last packet: {packet}, {})", time(&value["proof"]["at"]));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn presence_is_one_line_with_its_proof() {
        let at = json!({"$date": 1_492_598_878_133_i64});
        assert_eq!(
            presence(&json!({"state": "offline", "since": at, "proof": {"packet": "ping", "at": at}})),
            "offline since 2017-04-19T10:47:58.133Z (last packet: ping, 2017-04-19T10:47:58.133Z)"
        );
        assert_eq!(
            presence(
                &json!({"state": "absent", "since": null, "proof": null, "planned": {"until": at, "reason": "moved"}})
            ),
            "absent, until 2017-04-19T10:47:58.133Z: moved"
        );
        assert_eq!(
            presence(&json!({"state": "offline", "since": null, "proof": null})),
            "offline"
        );
    }
}
