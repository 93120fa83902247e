//! Directives: signed orders for a device to run or cancel a release. Verifies signatures; admission is in
//! `admit`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Reason;
use super::manifest::Component;
use super::signed::{self, Fault, Kind};
use crate::tuf::{Instant, RoleKeys, Root, Schemes, TufError};
use crate::{DeviceId, GroupId, ProjectId, limits};

/// Maximum size of a directive, in bytes.
pub const MAX_DIRECTIVE_BYTES: usize = 16 << 10;
/// Directives among the signed documents.
const KIND: Kind = Kind {
    role: "directive",
    domain: b"iottly directive v1\n",
    max: MAX_DIRECTIVE_BYTES,
};

/// Order to a device or a group: which release to run, and from when to when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Directive {
    /// Id of the directive in reports.
    pub id: String,
    /// Project of the directive.
    pub project: ProjectId,
    /// Devices that the directive is for.
    pub audience: Audience,
    /// Component to replace.
    pub component: Component,
    /// Requested action.
    pub action: Action,
    /// Path of the release in the targets metadata.
    pub target: String,
    /// sha256 of the release, hex.
    pub sha256: String,
    /// Number of the release.
    pub release_seq: u64,
    /// Counter, strictly rising for each device.
    pub counter: u64,
    /// First moment at which the directive is valid.
    pub not_before: Instant,
    /// First moment at which the directive is not valid any more.
    pub expires: Instant,
    /// Longest time from the acceptance to the end of the update, in seconds.
    pub deadline_s: u64,
    /// Maximum download rate, in bytes per second; 0 for no limit.
    #[serde(default)]
    pub max_bps: u64,
    /// Maintenance window in which the release may be switched on; at any time if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Permission to try a digest again that was rolled back.
    #[serde(default)]
    pub force_retry: bool,
    /// Approved capabilities beyond those of the running release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Devices that a directive is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Single device.
    Device(DeviceId),
    /// All devices of a group: for updates without a connection.
    Group(GroupId),
}

/// Action that a directive requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Run the release, which is newer than the running one or the same.
    Install,
    /// Run the release although it is older; never below the floor.
    Downgrade,
    /// Cancel an update that is not switched on yet.
    Cancel,
}

/// Part of every day, UTC, possibly across midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First minute of the day, 0 to 1439.
    pub start_minute: u16,
    /// Length in minutes; 1440 or more is always.
    pub minutes: u16,
}

impl Window {
    /// Returns true if a moment is in the window.
    #[must_use]
    pub fn contains(&self, now: Instant) -> bool {
        let minute = now.unix() / 60 % 1440;
        (minute + 1440 - u64::from(self.start_minute) % 1440) % 1440 < u64::from(self.minutes)
    }
}

/// Reason why bytes are not a valid directive.
#[derive(Debug, thiserror::Error)]
pub enum DirectiveError {
    /// The document is too long, not JSON, or has another shape.
    #[error("directive: malformed: {0}")]
    Malformed(String),
    /// Too few of the keys for directives have signed.
    #[error("directive: {0}")]
    Signature(#[from] TufError),
    /// The trusted root names no key for directives.
    #[error("directive: the trusted root names no key for directives")]
    NoRole,
}

impl DirectiveError {
    /// Returns the reason that a device reports for the error.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::BadSignature,
            Self::Signature(error) => error.reason(),
            Self::NoRole => Reason::UnknownKey,
        }
    }
}

impl From<Fault> for DirectiveError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed(reason) => Self::Malformed(reason),
            Fault::Signature(error) => Self::Signature(error),
            Fault::NoRole => Self::NoRole,
        }
    }
}

impl Directive {
    /// Parses a directive that the keys of the trusted root have signed.
    ///
    /// # Errors
    /// The document is malformed, too long, or not signed by enough of those keys.
    pub fn verify(bytes: &[u8], root: &Root, schemes: Schemes) -> Result<Self, DirectiveError> {
        let directive: Self = signed::verify(&KIND, bytes, root, schemes)?;
        if directive.id.len() > 64 || directive.target.len() > limits::MAX_TEXT_BYTES {
            return Err(DirectiveError::Malformed(
                "its id or target is too long".to_owned(),
            ));
        }
        Ok(directive)
    }

    /// Returns the signed document.
    ///
    /// # Errors
    /// An unknown field has a fraction in it.
    #[cfg(feature = "sign")]
    pub fn sign(&self, keys: &[&crate::tuf::SigningKey]) -> Result<Vec<u8>, serde_json::Error> {
        signed::sign(&KIND, self, keys)
    }
}

/// Returns the keys and the threshold for directives that the trusted root names.
#[must_use]
pub fn directive_role(root: &Root) -> Option<RoleKeys> {
    signed::role(root, KIND.role)
}
