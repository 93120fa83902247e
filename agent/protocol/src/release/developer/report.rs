//! Reports of devices about developer orders. Words and shapes only.

use serde::{Deserialize, Serialize};

use super::order::LeaseId;
use crate::release::Reason;

/// Answer of a device to a developer order, and the end of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeveloperReport {
    /// Id of the order. For a refused one it is only what the document claims; empty if it claims none.
    pub order: String,
    /// Lease of the order; none if the document could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// sha256 of the script in question, hex; of the release that runs again after the end of a lease. Empty if
    /// there is none.
    pub sha256: String,
    /// State of the script.
    pub state: DeveloperState,
    /// Reason of a refusal or a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Details for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Place of the error in the author's files, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Time from the order's arrival to the end of the script's first call, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// Device time, unix milliseconds.
    pub at_ms: u64,
}

/// State of a script under a developer lease. The names on the wire are never changed or reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeveloperState {
    /// The first call of the script returned; it runs.
    Running,
    /// The script failed to start, or failed later; the one before it runs again.
    Failed,
    /// The device did not follow the order; nothing has changed.
    Refused,
    /// The lease is over; the device's release runs again.
    Ended,
}

impl DeveloperState {
    /// Returns the name on the wire and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Ended => "ended",
        }
    }
}

/// Place in an author's file; lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Path of the file, or name of the section.
    pub file: String,
    /// Line; 0 if it is not known.
    pub line: u32,
    /// Column; 0 if it is not known.
    pub column: u32,
}
