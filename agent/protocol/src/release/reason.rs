//! Reasons for a refusal, a wait or a failure of an update. Words only; the rules are where they apply.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::tuf::{FetchError, TufError};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// Reason why an update is not running, or not yet. The names on the wire are never changed or
        /// reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the name on the wire and in the API.
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
    /// A signature is wrong or a threshold is not reached.
    BadSignature = "bad_signature",
    /// The document is signed by keys that this device does not trust yet.
    UnknownKey = "unknown_key",
    /// The directive or metadata has expired, or is not valid yet.
    Expired = "expired",
    /// The metadata has not been refreshed for too long.
    StaleMetadata = "stale_metadata",
    /// Metadata is older than what was trusted, or a directive's counter is not above the last one.
    Replay = "replay",
    /// The release is below the floor.
    BelowFloor = "below_floor",
    /// Board, interface, agent, data schema or capabilities do not fit; the detail names which.
    Incompatible = "incompatible",
    /// There is not enough free space.
    NoSpace = "no_space",
    /// A part of the download is repeatedly not what was signed.
    ChunkCorrupt = "chunk_corrupt",
    /// The whole download is not what was signed.
    DigestMismatch = "digest_mismatch",
    /// The file has more bytes than were signed or are allowed.
    TooLarge = "too_large",
    /// The deadline has passed; the detail names the step.
    Timeout = "timeout",
    /// The trial trapped, or the board restarted too often during it.
    CrashLoop = "crash_loop",
    /// Another health rule failed; the detail names it.
    Unhealthy = "unhealthy",
    /// A directive cancelled the update.
    Cancelled = "cancelled",
    /// Another directive replaced this one.
    Superseded = "superseded",
    /// The update waits for its maintenance window.
    Window = "window",
    /// The update waits for the firmware to release its lock.
    Lock = "lock",
    /// The update waits for the time to be known.
    Clock = "clock",
    /// The update waits for the consent of the device's user.
    Consent = "consent",
    /// The update waits for power.
    Power = "power",
    /// The file cannot be compiled or started on this device.
    Invalid = "invalid",
    /// The digest was rolled back before; a directive may allow another try.
    Quarantined = "quarantined",
    /// The repository cannot be reached.
    Unreachable = "unreachable",
    /// The device's owner has switched developer leases off on the device.
    DeveloperOff = "developer_off",
    /// The order is not for this device, or ends a lease that the device is not under.
    NotLeased = "not_leased",
    /// The device has no script engine that fits.
    NoEngine = "no_engine",
}

impl Reason {
    /// Returns true if the update waits and has not ended.
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
    /// Returns the reason that a device reports for the error.
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
             quarantined unreachable developer_off not_leased no_engine"
        );
        for reason in Reason::ALL {
            let text = serde_json::to_string(reason).expect("json");
            assert_eq!(text, format!("\"{reason}\""));
            assert_eq!(serde_json::from_str::<Reason>(&text).expect("own form"), *reason);
        }
    }
}
