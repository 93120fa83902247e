//! JSON types for mails about alerts.

use iottly_core::model::{AlertId, Mail, MailKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;

/// Mail with the state of its delivery.
#[derive(Serialize, ToSchema)]
#[schema(as = Mail)]
pub(crate) struct MailDto {
    /// Alert that it is about; null for a test mail.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) alert: Option<AlertId>,
    /// `raised`, `cleared` or `test`.
    #[schema(value_type = String)]
    pub(crate) kind: &'static str,
    /// Recipient.
    pub(crate) to: String,
    /// Subject line.
    pub(crate) subject: String,
    /// `queued`, `sent` (the mail server has taken it) or `refused`.
    #[schema(value_type = String)]
    pub(crate) state: &'static str,
    /// Number of attempts so far.
    pub(crate) attempts: u32,
    /// Time at which it was queued.
    pub(crate) queued: Date,
    /// Time of the next attempt, or the end of the one that runs; null once it was sent or refused.
    pub(crate) next: Option<Date>,
    /// Time at which it was sent or refused; null while it is queued.
    pub(crate) ended: Option<Date>,
    /// Reason of the last failure: what the mail server answered, for instance.
    pub(crate) reason: Option<String>,
}

impl From<Mail> for MailDto {
    fn from(mail: Mail) -> Self {
        Self {
            alert: (mail.kind != MailKind::Test).then_some(mail.alert),
            kind: mail.kind.as_str(),
            to: mail.recipient,
            subject: mail.subject,
            state: mail.state.as_str(),
            attempts: mail.attempts,
            queued: mail.queued.into(),
            next: mail.due.map(Into::into),
            ended: mail.ended.map(Into::into),
            reason: mail.reason,
        }
    }
}

/// Mails of a project, and what the cloud sends.
#[derive(Serialize, ToSchema)]
pub(crate) struct MailList {
    /// Mails of the last seven days, the newest first.
    pub(crate) mails: Vec<MailDto>,
    /// Addresses that may get mails, for people; null if this cloud sends no mails.
    pub(crate) allowed: Option<String>,
    /// Number of mails that the project has had in this hour.
    pub(crate) in_this_hour: i64,
    /// Maximum number of mails of a project in an hour; beyond it, alerts are raised without a mail.
    pub(crate) per_hour: i64,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Test mail to send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TestMailSettings)]
pub(crate) struct TestMailBody {
    /// Address that gets it.
    pub(crate) to: String,
}
