//! Roots of a project's releases: which keys devices trust.

use super::UnixMs;

/// Act by which a root was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootAct {
    /// A new key took over a role.
    Rotate,
    /// A key lost its roles.
    Revoke,
    /// A root that was signed elsewhere was uploaded.
    Publish,
}

impl RootAct {
    /// Returns the action in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "key.rotate",
            Self::Revoke => "key.revoke",
            Self::Publish => "key.publish",
        }
    }
}

/// A root that was published, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRoot {
    /// Version of the root.
    pub version: u64,
    /// Act by which it was published.
    pub act: RootAct,
    /// Roles and keys that changed, for people.
    pub detail: String,
}

/// Record of a published root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRoot {
    /// Version of the root.
    pub version: u64,
    /// Name of the person or token that published it.
    pub author: String,
    /// Time of the publication.
    pub published: UnixMs,
}

/// Number of devices that trust one version of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootTrust {
    /// Version; none for devices that have not reported any.
    pub version: Option<u64>,
    /// Number of devices.
    pub devices: usize,
}
