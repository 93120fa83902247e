//! A mail as the mail server gets it.

use std::time::{Duration, UNIX_EPOCH};

use iottly_core::mail::{message_id, raised_id};
use iottly_core::model::NewMail;
use lettre::Message;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};

use super::MailConfig;

/// Maximum size of a mail, in bytes.
const MAX_BYTES: usize = 32 * 1024;

/// Returns envelope and bytes of a mail; names in it come from people and devices, and lettre encodes them.
///
/// # Errors
/// The reason for which the mail cannot be sent, ever.
pub(super) fn built(mail: &NewMail, config: &MailConfig) -> Result<(Envelope, Vec<u8>), String> {
    let address = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
    let (from, to) = (address(&config.from)?, address(&mail.recipient)?);
    let queued = UNIX_EPOCH + Duration::from_millis(u64::try_from(mail.queued).unwrap_or(0));
    let raw = |name, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
    let mut builder = Message::builder()
        .from(Mailbox::new(Some("iottly".to_owned()), from))
        .to(Mailbox::new(None, to))
        .date(queued)
        .message_id(Some(message_id(mail, config.domain())))
        .subject(mail.subject.clone())
        .raw_header(raw("Auto-Submitted", "auto-generated"))
        .header(ContentType::TEXT_PLAIN)
        .header(ContentTransferEncoding::QuotedPrintable);
    if let Some(raised) = raised_id(mail, config.domain()) {
        builder = builder.in_reply_to(raised.clone()).references(raised);
    }
    let message = builder
        .body(mail.text.clone())
        .map_err(|error| error.to_string())?;
    let bytes = message.formatted();
    if bytes.len() > MAX_BYTES {
        return Err(format!("the mail is larger than {MAX_BYTES} bytes"));
    }
    Ok((message.envelope().clone(), bytes))
}

#[cfg(test)]
mod tests {
    use iottly_core::mail::MailServer;
    use iottly_core::model::{AlertId, MailKind};
    use iottly_protocol::ProjectId;

    use super::*;

    #[test]
    fn strangers_names_add_no_header() {
        let server = MailServer::parse("smtp+plain://localhost", false).expect("a server");
        let config = MailConfig::new(server, None, "iot@example.org", &[]).expect("settings");
        let mail = NewMail {
            project: ProjectId::from_bytes([1; 12]),
            alert: AlertId::from_bytes([2; 16]),
            kind: MailKind::Cleared,
            recipient: "anne@example.org".into(),
            subject: "pump\r\nBcc: x@evil.example\r\n\r\nbody =?utf-8?q?x?= ü".into(),
            text: "line\r\n.\r\nMAIL FROM:<x@evil.example>\n".into(),
            queued: 1_795_000_000_000,
            attempt: 3,
        };
        let (envelope, bytes) = built(&mail, &config).expect("a mail");
        assert_eq!(envelope.to().len(), 1);
        let text = String::from_utf8(bytes).expect("ASCII");
        assert!(text.is_ascii());
        let (head, _) = text.split_once("\r\n\r\n").expect("a head");
        let names: Vec<_> = head
            .split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split(':').next().unwrap_or_default())
            .collect();
        assert!(!names.contains(&"Bcc"), "{head}");
        for name in [
            "From",
            "To",
            "Date",
            "Message-ID",
            "Subject",
            "In-Reply-To",
            "References",
            "Auto-Submitted",
        ] {
            let found = names.iter().filter(|known| **known == name).count();
            assert_eq!(found, 1, "{name}: {head}");
        }
        let again = NewMail { attempt: 4, ..mail };
        let (_, again) = built(&again, &config).expect("a mail");
        assert_eq!(text.as_bytes(), again, "each attempt sends the same bytes");
    }
}
