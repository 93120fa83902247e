//! Deliveries as a worker sees them.

use iottly_protocol::DeviceId;

use crate::model::{MessageId, StoredMessage, UnixMs};

/// A delivery that is claimed.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The message's id.
    pub message: MessageId,
    /// Whose it is.
    pub device: DeviceId,
    /// The message's timestamp.
    pub timestamp: UnixMs,
    /// Attempts that were made.
    pub attempts: u32,
    /// Set when the webhook's filter has to be evaluated on the message first.
    pub undecided: bool,
    /// Set when the message was left out, since those before it were many bytes: the delivery has to be given
    /// back.
    pub unread: bool,
    /// The message; none when it was deleted meanwhile, or left out.
    pub body: Option<StoredMessage>,
}

/// How a webhook's receiver is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Attempts that failed in a row.
    pub failures: u32,
    /// While the circuit breaker is open: when the next probe is due.
    pub probe_at: Option<UnixMs>,
    /// Since when every attempt failed.
    pub failing_since: Option<UnixMs>,
}
