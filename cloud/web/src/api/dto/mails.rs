//! JSON types for mails about alerts.

use std::borrow::Cow;

use iottly_core::model::{AlertId, Mail, MailKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;

/// Mail with the state of its delivery.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Mail)]
pub struct MailDto {
    /// Alert that it is about; null for a test mail.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub alert: Option<AlertId>,
    /// `raised`, `cleared` or `test`.
    #[schema(value_type = String)]
    pub kind: Cow<'static, str>,
    /// Recipient.
    pub to: String,
    /// Subject line.
    pub subject: String,
    /// `queued`, `sent` (the mail server has taken it) or `refused`.
    #[schema(value_type = String)]
    pub state: Cow<'static, str>,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Time at which it was queued.
    pub queued: Date,
    /// Time of the next attempt, or the end of the one that runs; null once it was sent or refused.
    pub next: Option<Date>,
    /// Time at which it was sent or refused; null while it is queued.
    pub ended: Option<Date>,
    /// Reason of the last failure: what the mail server answered, for instance.
    pub reason: Option<String>,
}

impl From<Mail> for MailDto {
    fn from(mail: Mail) -> Self {
        Self {
            alert: (mail.kind != MailKind::Test).then_some(mail.alert),
            kind: mail.kind.as_str().into(),
            to: mail.recipient,
            subject: mail.subject,
            state: mail.state.as_str().into(),
            attempts: mail.attempts,
            queued: mail.queued.into(),
            next: mail.due.map(Into::into),
            ended: mail.ended.map(Into::into),
            reason: mail.reason,
        }
    }
}

/// Mails of a project, and what the cloud sends.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct MailList {
    /// Mails of the last seven days, the newest first.
    pub mails: Vec<MailDto>,
    /// Addresses that may get mails, for people; null if this cloud sends no mails.
    pub allowed: Option<String>,
    /// Number of mails that the project has had in this hour.
    pub in_this_hour: i64,
    /// Maximum number of mails of a project in an hour; beyond it, alerts are raised without a mail.
    pub per_hour: i64,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Test mail to send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TestMailSettings)]
pub(crate) struct TestMailBody {
    /// Address that gets it.
    pub(crate) to: String,
}
