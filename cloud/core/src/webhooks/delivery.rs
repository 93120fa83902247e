//! Deliveries as a worker sees them.

use iottly_protocol::DeviceId;

use crate::model::{MessageId, StoredMessage, UnixMs};

/// A claimed delivery.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Id of the message.
    pub message: MessageId,
    /// Device of the message.
    pub device: DeviceId,
    /// Timestamp of the message.
    pub timestamp: UnixMs,
    /// Number of attempts made.
    pub attempts: u32,
    /// True if the webhook's filter still has to be evaluated on the message.
    pub undecided: bool,
    /// True if the message was not read because the preceding ones were too many bytes; the delivery has to
    /// be released.
    pub unread: bool,
    /// Message; none when it was deleted meanwhile, or not read.
    pub body: Option<StoredMessage>,
}

/// State of a webhook's receiver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Number of consecutive failed attempts.
    pub failures: u32,
    /// Time of the next probe while the circuit breaker is open.
    pub probe_at: Option<UnixMs>,
    /// Time since which every attempt failed.
    pub failing_since: Option<UnixMs>,
}
