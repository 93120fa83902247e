use std::fmt;

use serde::{Deserialize, Serialize};

use crate::tuf::{FetchError, TufError};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// Why an update is not running, or not yet. The names on the wire are never changed or reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name on the wire and in the API.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

reasons! {
    /// A signature or a threshold fails.
    BadSignature = "bad_signature",
    /// Signed by keys that this device does not trust yet.
    UnknownKey = "unknown_key",
    /// The directive or metadata is past its time, or not yet in it.
    Expired = "expired",
    /// No fresh metadata for too long.
    StaleMetadata = "stale_metadata",
    /// Metadata is older than what was trusted, or a directive's counter is not above the last one.
    Replay = "replay",
    /// The release is under the floor.
    BelowFloor = "below_floor",
    /// Board, interface, agent, data schema or capabilities do not fit; the detail names which.
    Incompatible = "incompatible",
    /// Not enough room.
    NoSpace = "no_space",
    /// A part of the download is not what was signed, again and again.
    ChunkCorrupt = "chunk_corrupt",
    /// The whole download is not what was signed.
    DigestMismatch = "digest_mismatch",
    /// More bytes than were signed or are allowed.
    TooLarge = "too_large",
    /// The deadline has passed; the detail names the state.
    Timeout = "timeout",
    /// The trial trapped, or the board restarted too often in it.
    CrashLoop = "crash_loop",
    /// Another health rule failed; the detail names it.
    Unhealthy = "unhealthy",
    /// Withdrawn by a directive.
    Cancelled = "cancelled",
    /// Another directive took its place.
    Superseded = "superseded",
    /// Waits for its maintenance window.
    Window = "window",
    /// Waits for the firmware to give its lock back.
    Lock = "lock",
    /// Waits for the time.
    Clock = "clock",
    /// Waits for its user.
    Consent = "consent",
    /// Waits for power.
    Power = "power",
    /// The file cannot be compiled or started on this device.
    Invalid = "invalid",
    /// A digest that was rolled back before; a directive that says so may try it again.
    Quarantined = "quarantined",
    /// The repository cannot be reached.
    Unreachable = "unreachable",
}

impl Reason {
    /// Whether the update waits instead of having ended.
    #[must_use]
    pub const fn is_waiting(self) -> bool {
        matches!(
            self,
            Self::Window | Self::Lock | Self::Clock | Self::Consent | Self::Power
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TufError {
    /// The reason that a device reports for it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Threshold {
                unknown_keys: true, ..
            } => Reason::UnknownKey,
            Self::Malformed { .. } | Self::Threshold { .. } | Self::Version { .. } | Self::Dropped { .. } => {
                Reason::BadSignature
            }
            Self::NotInSnapshot { .. } | Self::NoTarget { .. } => Reason::BadSignature,
            Self::Rollback { .. } => Reason::Replay,
            Self::Expired { .. } => Reason::Expired,
            Self::Digest { .. } => Reason::DigestMismatch,
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::Fetch {
                reason: FetchError::NotFound | FetchError::Failed(_),
                ..
            } => Reason::Unreachable,
            Self::Store { .. } => Reason::NoSpace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_names_are_these() {
        let names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(
            names.join(" "),
            "bad_signature unknown_key expired stale_metadata replay below_floor incompatible no_space chunk_corrupt \
             digest_mismatch too_large timeout crash_loop unhealthy cancelled superseded window lock clock consent power invalid \
             quarantined unreachable"
        );
        for reason in Reason::ALL {
            let text = serde_json::to_string(reason).expect("json");
            assert_eq!(text, format!("\"{reason}\""));
            assert_eq!(serde_json::from_str::<Reason>(&text).expect("own form"), *reason);
        }
    }
}
