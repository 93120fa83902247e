//! Texts of mails about alerts, and the pauses between attempts to send one.

use crate::model::{Alert, AlertSubject, UnixMs};

/// Shortest and longest pause between two attempts, in milliseconds.
const PAUSES: (UnixMs, UnixMs) = (10_000, 60 * 60 * 1000);
/// Number of attempts after which a mail is dropped: more than two days.
const ATTEMPTS: u32 = 60;

/// Returns subject and text of the mail about an alert. Names and details come from people and devices, so line breaks and
/// other control characters become spaces.
#[must_use]
pub fn mail_text(alert: &Alert, name: &str, ends: bool) -> (String, String) {
    let plain = |text: &str| -> String {
        let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        shown.collect()
    };
    let (rule, name, detail) = (plain(&alert.rule_name), plain(name), plain(&alert.detail));
    let state = if ends { "cleared" } else { "raised" };
    let subject = format!("[iottly] {state}: {rule}: {name}");
    let place = match alert.subject {
        AlertSubject::Device(device) => format!("device {name} ({device})"),
        AlertSubject::Group(group) => format!("deployment group {name} ({group})"),
        AlertSubject::Project => format!("project {name}"),
    };
    let text = format!(
        "Alert {state}\n\nrule: {rule} ({})\n{place}\nproject: {}\n{detail}\n\nalert: {}\n",
        alert.condition, alert.project, alert.id
    );
    (subject, text)
}

/// Returns the pause after the failed attempt with this number, from 0; none when it was the last.
#[must_use]
pub fn retry_after_ms(attempt: u32) -> Option<UnixMs> {
    let doubled = PAUSES.0.checked_shl(attempt.min(16)).unwrap_or(PAUSES.1);
    (attempt + 1 < ATTEMPTS).then_some(doubled.min(PAUSES.1))
}

#[cfg(test)]
mod tests {
    use iottly_protocol::{DeviceId, ProjectId};

    use super::*;
    use crate::model::{AlertId, AlertRuleId};

    #[test]
    fn a_mail_has_one_line_for_each_thing_whatever_the_device_says() {
        let alert = Alert {
            id: AlertId::from_bytes([1; 16]),
            project: ProjectId::from_bytes([2; 12]),
            rule: AlertRuleId::from_bytes([3; 16]),
            rule_name: "door open".into(),
            condition: "value".into(),
            subject: AlertSubject::Device(DeviceId::from_bytes([4; 16])),
            detail: "a\r\nBcc: others@example.org".into(),
            raised: 0,
            seen: 0,
            cleared: None,
            muted_until: None,
        };
        let (subject, text) = mail_text(&alert, "board\n7", false);
        assert_eq!(subject, "[iottly] raised: door open: board 7");
        assert!(text.contains("a  Bcc: others@example.org\n"), "{text}");
        assert_eq!(text.lines().count(), 8, "{text}");
        assert!(mail_text(&alert, "b", true).0.contains("cleared"));
    }

    #[test]
    fn attempts_become_rarer_and_end() {
        assert_eq!(retry_after_ms(0), Some(10_000));
        assert_eq!(retry_after_ms(1), Some(20_000));
        assert_eq!(retry_after_ms(30), Some(PAUSES.1));
        assert_eq!(retry_after_ms(ATTEMPTS - 1), None);
    }
}
