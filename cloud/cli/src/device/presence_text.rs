//! Presence of a device in one line.

use iottly_web::answers::{DeviceRefusalDto, PresenceDto};

use crate::time_text::at;

/// Returns presence as the commands print it: the state, since when, and the last packet that proves it.
pub(super) fn presence(presence: &PresenceDto) -> String {
    let mut text = presence.state.to_string();
    if let Some(since) = presence.since {
        text += &format!(" since {}", at(since));
    }
    if let Some(planned) = &presence.planned {
        text += &format!(", until {}: {}", at(planned.until), planned.reason);
    }
    if let Some(proof) = &presence.proof {
        text += &format!(" (last packet: {}, {})", proof.packet, at(proof.at));
    }
    text
}

/// Returns the refusal of a device as the commands print it.
pub(super) fn refusal(refusal: &DeviceRefusalDto) -> String {
    let DeviceRefusalDto {
        at: time,
        from,
        step,
        reason,
    } = refusal;
    format!("{step}: {reason} ({}, from {from})", at(*time))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::answer::read;

    fn presence(value: &serde_json::Value) -> String {
        super::presence(&read(value).expect("a presence"))
    }

    #[test]
    fn presence_is_one_line_with_its_proof() {
        let at = json!({"$date": 1_492_598_878_133_i64});
        assert_eq!(
            presence(&json!({"state": "offline", "since": at, "proof": {"packet": "ping", "at": at}})),
            "offline since 2017-04-19T10:47:58.133Z (last packet: ping, 2017-04-19T10:47:58.133Z)"
        );
        assert_eq!(
            presence(
                &json!({"state": "absent", "since": null, "proof": null, "planned": {"from": at, "until": at, "reason": "moved"}})
            ),
            "absent, until 2017-04-19T10:47:58.133Z: moved"
        );
        assert_eq!(
            presence(&json!({"state": "offline", "since": null, "proof": null})),
            "offline"
        );
    }

    #[test]
    fn a_refusal_is_one_line() {
        let at = json!({"$date": 1_492_598_878_133_i64});
        let answer = json!({"at": at, "from": "10.0.0.7", "step": "login", "reason": "wrong secret"});
        assert_eq!(
            super::refusal(&read(&answer).expect("a refusal")),
            "login: wrong secret (2017-04-19T10:47:58.133Z, from 10.0.0.7)"
        );
    }
}
