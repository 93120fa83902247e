//! Mails about alerts.

use iottly_protocol::ProjectId;

use super::{AlertId, UnixMs};

/// Maximum number of recipients of a rule.
pub const MAX_RECIPIENTS: usize = 10;
/// Maximum number of mails of a project in an hour; beyond it, alerts are raised without a mail and test mails are refused.
pub const MAX_MAILS_PER_HOUR: i64 = 100;
/// Time after which a mail that was sent or refused is forgotten, in milliseconds: seven days.
pub const MAIL_KEPT_MS: UnixMs = 7 * 24 * 60 * 60 * 1000;

/// Reason of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MailKind {
    /// An alert was raised.
    Raised,
    /// An alert was cleared.
    Cleared,
    /// A person tests the delivery.
    Test,
}

impl MailKind {
    /// Returns the word in the API and in message ids.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cleared => "cleared",
            Self::Test => "test",
        }
    }
}

/// Mail that waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMail {
    /// Project of the alert.
    pub project: ProjectId,
    /// The alert; for a test mail, an id of its own.
    pub alert: AlertId,
    /// Reason of the mail.
    pub kind: MailKind,
    /// Recipient.
    pub recipient: String,
    /// Subject line.
    pub subject: String,
    /// Text.
    pub text: String,
    /// Time at which it was queued.
    pub queued: UnixMs,
    /// Number of attempts before this one.
    pub attempt: u32,
}

/// Result of an attempt to send a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailResult {
    /// The mail server has taken it.
    Sent,
    /// Time of the next attempt.
    Retry {
        /// Time of the next attempt.
        due: UnixMs,
        /// Reason of the failure.
        reason: String,
    },
    /// End without a further attempt.
    Refused {
        /// Reason of the refusal.
        reason: String,
    },
}

/// State of the delivery of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailState {
    /// Waits for its first or next attempt.
    Queued,
    /// The mail server has taken it.
    Sent,
    /// The mail server has refused it for good, or it was tried for too long.
    Refused,
}

impl MailState {
    /// Returns the word in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Refused => "refused",
        }
    }
}

/// Mail with the state of its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The alert; for a test mail, an id of its own.
    pub alert: AlertId,
    /// Reason of the mail.
    pub kind: MailKind,
    /// Recipient.
    pub recipient: String,
    /// Subject line.
    pub subject: String,
    /// State of the delivery.
    pub state: MailState,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Time at which it was queued.
    pub queued: UnixMs,
    /// Time of the next attempt, or the end of the one that runs; none once it has ended.
    pub due: Option<UnixMs>,
    /// Time at which it was sent or refused.
    pub ended: Option<UnixMs>,
    /// Reason of the last failure.
    pub reason: Option<String>,
}
