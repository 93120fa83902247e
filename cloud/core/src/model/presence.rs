//! Proofs of devices' links, and planned absences.

use super::UnixMs;

/// Longest planned absence, in milliseconds: a year.
pub const MAX_ABSENCE_MS: UnixMs = 366 * 24 * 60 * 60 * 1000;

/// Kind of a packet that a device sent; a whole packet proves that the link worked when it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// Beginning of a connection.
    Connect,
    /// Message of the device.
    Publish,
    /// Confirmation of a message from the cloud.
    Puback,
    /// Request for the messages of a topic.
    Subscribe,
    /// Sign of life on an idle link.
    Ping,
    /// Orderly end of a connection.
    Disconnect,
    /// Any other packet.
    Other,
}

impl Packet {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Publish,
        Self::Puback,
        Self::Subscribe,
        Self::Ping,
        Self::Disconnect,
        Self::Other,
    ];

    /// Returns the word in the API and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Publish => "publish",
            Self::Puback => "puback",
            Self::Subscribe => "subscribe",
            Self::Ping => "ping",
            Self::Disconnect => "disconnect",
            Self::Other => "other",
        }
    }

    /// Returns the kind of this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Last packet that the cloud received of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Kind of the packet.
    pub packet: Packet,
    /// Time of its receipt.
    pub at: UnixMs,
}

/// Planned absence of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// Time from which the device may be away.
    pub from: UnixMs,
    /// End of the absence.
    pub until: UnixMs,
    /// Reason, in the words of the person who planned it.
    pub reason: String,
}

impl Absence {
    /// Returns true if the device may be away at `now`.
    #[must_use]
    pub const fn covers(&self, now: UnixMs) -> bool {
        self.from <= now && now < self.until
    }
}
