use std::fmt;

use iottly_protocol::{DeviceId, MessageKind, ProjectId};

use super::{MessageId, UnixMs, WebhookId};
use crate::seal::Sealed;

/// A webhook inside its project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HookKey {
    /// The owner.
    pub project: ProjectId,
    /// The webhook.
    pub hook: WebhookId,
}

/// Which messages a webhook is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    /// Those of the platform and its agents.
    Iottly,
    /// Those of firmware.
    User,
    /// All.
    All,
}

impl HookKind {
    /// The word that the API uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iottly => "iottly",
            Self::User => "user",
            Self::All => "all",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Iottly, Self::User, Self::All]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// Says whether messages of this kind are meant.
    #[must_use]
    pub const fn takes(self, kind: MessageKind) -> bool {
        match self {
            Self::Iottly => matches!(kind, MessageKind::IottlyAgent),
            Self::User => matches!(kind, MessageKind::UserDefined),
            Self::All => true,
        }
    }
}

/// A webhook as it is configured. Its secrets are sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Project and id.
    pub key: HookKey,
    /// For people.
    pub description: String,
    /// Where requests go.
    pub url: String,
    /// Which messages it is for.
    pub kind: HookKind,
    /// Only messages of this channel; none for all.
    pub channel: Option<String>,
    /// Only messages that match this filter's text.
    pub filter: Option<String>,
    /// Sends the payload in place of the whole message.
    pub payload_only: bool,
    /// Sends one after the other, in the order of the messages' ids.
    pub ordered: bool,
    /// Whether it sends.
    pub enabled: bool,
    /// Why it does not; empty while it does.
    pub reason: String,
    /// A JSON list of names and values.
    pub headers: Sealed,
    /// What it signs with.
    pub secret: Sealed,
    /// The secret before, and until when it signs as well.
    pub former: Option<(Sealed, UnixMs)>,
    /// When it was made.
    pub created: UnixMs,
    /// When it was changed last.
    pub changed: UnixMs,
}

/// How the deliveries of a webhook are doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HookQueue {
    /// Deliveries that wait or are on their way.
    pub waiting: u64,
    /// Deliveries that failed or were skipped and are kept.
    pub failed: u64,
    /// Deliveries that were dropped because too many waited.
    pub dropped: u64,
    /// Messages that came while it was disabled.
    pub skipped: u64,
    /// Since when every attempt failed.
    pub failing_since: Option<UnixMs>,
    /// Attempts that failed in a row.
    pub failures: u32,
    /// While the circuit breaker is open: when the next probe is due.
    pub probe_at: Option<UnixMs>,
    /// When the next delivery is due; none when none waits.
    pub next_due: Option<UnixMs>,
}

/// A webhook with its deliveries in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookState {
    /// How it is configured.
    pub hook: Webhook,
    /// How its deliveries are doing.
    pub queue: HookQueue,
}

/// An attempt to deliver, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookAttempt {
    /// Its number in the webhook's log, from 1 on.
    pub number: u64,
    /// When it began.
    pub at: UnixMs,
    /// The message.
    pub message: MessageId,
    /// Whose message it is; none for a test.
    pub device: Option<DeviceId>,
    /// Which attempt for this message it was, from 1 on.
    pub attempt: u32,
    /// `http_` and the status, or the kind of error.
    pub result: String,
    /// How long it took, milliseconds.
    pub millis: u64,
    /// Bytes of the request's body.
    pub bytes: u64,
    /// The first KiB of the answer, or the reason of an error.
    pub answer: String,
}

/// Which deliveries are to be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Of this message, also when it was delivered.
    One(MessageId),
    /// All that failed or were skipped from this moment on.
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
