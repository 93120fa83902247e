//! Storage that a project's code, components and releases occupy, and its limit.

/// Default limit for code, components and releases of a project, in bytes (256 MiB). An operator can set
/// another.
pub const MAX_PROJECT_CODE_BYTES: u64 = 256 << 20;

/// Bytes of code, components and releases that a project holds and may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CodeRoom {
    /// Bytes of revisions and working copies in the database.
    pub code: u64,
    /// Bytes of the project's components, releases and metadata on disk, as last measured.
    pub files: u64,
    /// Limit that an operator set for the project, in bytes.
    pub own: Option<u64>,
}

impl CodeRoom {
    /// Name of the limit, in errors.
    pub const WHAT: &'static str = "bytes of code, components and releases of the project";

    /// Returns the limit in effect, in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.own.unwrap_or(MAX_PROJECT_CODE_BYTES)
    }

    /// Returns the bytes held in total.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.code.saturating_add(self.files)
    }
}
