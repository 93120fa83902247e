//! Texts and ids of mails about alerts.

use iottly_protocol::limits::clip;

use crate::model::{Alert, AlertSubject, MailKind, NewMail};

/// Maximum length of a name or a detail in a mail, in bytes.
const MAX_BYTES: usize = 512;

/// Returns a text as one line: line breaks, other control characters and marks that change the direction of writing become
/// spaces.
#[must_use]
pub fn plain(text: &str) -> String {
    let is_layout = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_layout(c) { ' ' } else { c }).collect()
}

/// Returns subject and text of the mail about an alert. Names and details come from people and devices.
#[must_use]
pub fn mail_text(alert: &Alert, name: &str, ends: bool) -> (String, String) {
    let line = |text: &str| plain(clip(text, MAX_BYTES));
    let (rule, name, detail) = (line(&alert.rule_name), line(name), line(&alert.detail));
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

/// Returns subject and text of a test mail that a person, or a token, of this name has asked for.
#[must_use]
pub fn test_text(project: &str, by: &str) -> (String, String) {
    let line = |text: &str| plain(clip(text, MAX_BYTES));
    (
        format!("[iottly] test: {}", line(project)),
        format!(
            "This mail tests the delivery of alerts.\n\nproject: {}\nasked for by: {}\n",
            line(project),
            line(by)
        ),
    )
}

/// Returns the `Message-ID` of a mail: the same for each attempt, another one for each recipient.
#[must_use]
pub fn message_id(mail: &NewMail, domain: &str) -> String {
    id(mail, mail.kind, domain)
}

/// Returns the `Message-ID` of the mail to which this one belongs: of the raise, for the mail about the end.
#[must_use]
pub fn raised_id(mail: &NewMail, domain: &str) -> Option<String> {
    (mail.kind == MailKind::Cleared).then(|| id(mail, MailKind::Raised, domain))
}

fn id(mail: &NewMail, kind: MailKind, domain: &str) -> String {
    let recipient = blake3::hash(mail.recipient.as_bytes()).to_hex();
    let recipient = recipient.get(..16).expect("a hash has 64 hex digits");
    format!("<{}.{}.{recipient}@{domain}>", mail.alert, kind.as_str())
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
        let (subject, text) = mail_text(&alert, "board\n7\u{202e}", false);
        assert_eq!(subject, "[iottly] raised: door open: board 7 ");
        assert!(text.contains("a  Bcc: others@example.org\n"), "{text}");
        assert_eq!(text.lines().count(), 8, "{text}");
        assert!(mail_text(&alert, "b", true).0.contains("cleared"));
    }

    #[test]
    fn a_message_id_stays_and_names_alert_kind_and_recipient() {
        let mail = |kind, recipient: &str, attempt| NewMail {
            project: ProjectId::from_bytes([2; 12]),
            alert: AlertId::from_bytes([1; 16]),
            kind,
            recipient: recipient.into(),
            subject: String::new(),
            text: String::new(),
            queued: 0,
            attempt,
        };
        let id = |kind, recipient, attempt| message_id(&mail(kind, recipient, attempt), "example.org");
        let first = id(MailKind::Raised, "a@example.org", 0);
        assert_eq!(first, id(MailKind::Raised, "a@example.org", 7));
        assert_ne!(first, id(MailKind::Raised, "b@example.org", 0));
        let end = mail(MailKind::Cleared, "a@example.org", 0);
        assert_ne!(first, message_id(&end, "example.org"));
        assert_eq!(raised_id(&end, "example.org"), Some(first));
        assert_eq!(
            raised_id(&mail(MailKind::Test, "a@example.org", 0), "example.org"),
            None
        );
    }
}
