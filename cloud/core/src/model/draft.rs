//! Drafts of code: what a person has typed and not saved yet.

use super::UnixMs;

/// Maximum number of drafts of one person, or of one token, in a project.
pub const MAX_DRAFTS: i64 = 64;
/// Maximum size of all drafts of a project with the texts that they are based on, in bytes.
pub const MAX_PROJECT_DRAFT_BYTES: i64 = 16 << 20;
/// Time for which a draft is kept after its last change, in milliseconds: thirty days.
pub const DRAFT_KEPT_MS: UnixMs = 30 * 24 * 60 * 60 * 1000;

/// Text of a file of a branch that its author has not saved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Key of the file, as [`CodeFile::key`](crate::code::CodeFile::key) returns it.
    pub file: String,
    /// Version of the text that the draft is based on.
    pub base: String,
    /// Text that the draft is based on; none if the working copy had another text when the draft was first kept.
    pub base_text: Option<String>,
    /// Text of the draft.
    pub text: String,
    /// Time of the last change.
    pub changed: UnixMs,
}
