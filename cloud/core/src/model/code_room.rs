/// Most bytes of code, components and releases of one project, unless its operator sets another limit: 256
/// MiB.
pub const MAX_PROJECT_CODE_BYTES: u64 = 256 << 20;

/// Bytes of code, components and releases that a project holds and may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CodeRoom {
    /// Bytes of revisions and working copies in the database.
    pub code: u64,
    /// Bytes of the project's components, releases and metadata on the disk, as they were measured last.
    pub files: u64,
    /// The limit that an operator has set for the project, in bytes.
    pub own: Option<u64>,
}

impl CodeRoom {
    /// Name of what is limited, in errors.
    pub const WHAT: &'static str = "bytes of code, components and releases of the project";

    /// Returns the limit that holds, in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.own.unwrap_or(MAX_PROJECT_CODE_BYTES)
    }

    /// Returns what is held in all, in bytes.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.code.saturating_add(self.files)
    }
}
