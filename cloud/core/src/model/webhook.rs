//! Webhooks, the state of their queues and their attempts. Secrets are sealed.

use std::fmt;

use iottly_protocol::{DeviceId, MessageKind, ProjectId};

use super::{MessageId, UnixMs, WebhookId};
use crate::seal::Sealed;

/// A webhook inside its project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WebhookKey {
    /// Project that owns the webhook.
    pub project: ProjectId,
    /// The webhook.
    pub hook: WebhookId,
}

/// Kind of messages that a webhook delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookKind {
    /// Messages of the platform and its agents.
    Iottly,
    /// Messages of firmware.
    User,
    /// All messages.
    All,
}

impl WebhookKind {
    /// Returns the word that the API uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iottly => "iottly",
            Self::User => "user",
            Self::All => "all",
        }
    }

    /// Returns the kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Iottly, Self::User, Self::All]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// Returns true if messages of this kind are delivered.
    #[must_use]
    pub const fn takes(self, kind: MessageKind) -> bool {
        match self {
            Self::Iottly => matches!(kind, MessageKind::IottlyAgent),
            Self::User => matches!(kind, MessageKind::UserDefined),
            Self::All => true,
        }
    }
}

/// Configuration of a webhook. Its secrets are sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Project and id.
    pub key: WebhookKey,
    /// Description, for people.
    pub description: String,
    /// URL that requests are sent to.
    pub url: String,
    /// Kind of messages that are delivered.
    pub kind: WebhookKind,
    /// Channel of the messages to deliver; none for all.
    pub channel: Option<String>,
    /// Filter that messages must match; none for all.
    pub filter: Option<String>,
    /// True to send only the payload instead of the whole message.
    pub payload_only: bool,
    /// True to deliver sequentially, in the order of the messages' ids.
    pub ordered: bool,
    /// True if the webhook is enabled.
    pub enabled: bool,
    /// Reason for which the webhook is disabled; empty while it is enabled.
    pub reason: String,
    /// Additional request headers: a JSON list of names and values.
    pub headers: Sealed,
    /// Secret for signing requests.
    pub secret: Sealed,
    /// Former secret, and the time until which requests are signed with it as well.
    pub former: Option<(Sealed, UnixMs)>,
    /// Creation time.
    pub created: UnixMs,
    /// Time of the last change.
    pub changed: UnixMs,
}

/// State of a webhook's deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebhookQueue {
    /// Number of deliveries that wait or are in progress.
    pub waiting: u64,
    /// Number of stored deliveries that failed or were skipped.
    pub failed: u64,
    /// Number of deliveries that were dropped because too many waited.
    pub dropped: u64,
    /// Number of messages that arrived while the webhook was disabled.
    pub skipped: u64,
    /// Time since which every attempt failed.
    pub failing_since: Option<UnixMs>,
    /// Number of consecutive failed attempts.
    pub failures: u32,
    /// Time of the next probe while the circuit breaker is open.
    pub probe_at: Option<UnixMs>,
    /// Time at which the next delivery is due; none when none waits.
    pub next_due: Option<UnixMs>,
}

/// A webhook with the state of its deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookState {
    /// Configuration of the webhook.
    pub hook: Webhook,
    /// State of the deliveries.
    pub queue: WebhookQueue,
}

/// A logged delivery attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// Number in the webhook's log, from 1 on.
    pub number: u64,
    /// Start of the attempt.
    pub at: UnixMs,
    /// Message that was delivered.
    pub message: MessageId,
    /// Device of the message; none for a test.
    pub device: Option<DeviceId>,
    /// Number of the attempt for this message, from 1 on.
    pub attempt: u32,
    /// `http_` and the status, or the kind of error.
    pub result: String,
    /// Duration, in milliseconds.
    pub millis: u64,
    /// Size of the request body, in bytes.
    pub bytes: u64,
    /// First KiB of the response, or the reason of an error.
    pub answer: String,
}

/// Selection of deliveries to repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Delivery of this message, even if it succeeded.
    One(MessageId),
    /// All deliveries since this time that failed or were skipped.
    FailedSince(UnixMs),
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(message) => write!(f, "message {message}"),
            Self::FailedSince(since) => write!(f, "failed since {since}"),
        }
    }
}
