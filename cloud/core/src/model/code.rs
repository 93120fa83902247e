//! Branches, snippets and revisions of firmware code, and their limits.

use serde::{Deserialize, Serialize};

use super::{SnippetId, UnixMs};

/// Maximum number of branches of a project.
pub const MAX_BRANCHES: usize = 64;
/// Maximum number of snippets of a branch, including handlers and orphaned handlers.
pub const MAX_SNIPPETS: usize = 400;
/// Maximum length of the name of a file with a name of its own, in bytes.
pub const MAX_FILE_NAME_BYTES: usize = 64;
/// Maximum size of a snippet's code, in bytes; a request body of the largest size can hold it.
pub const MAX_CODE_BYTES: usize = 192 << 10;
/// Maximum size of all code in a branch, in bytes; the builder accepts as much.
pub const MAX_BRANCH_BYTES: usize = 4 << 20;
/// Maximum length of a revision's message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 2048;
/// Branch that every project starts with.
pub const MAIN_BRANCH: &str = "main";

/// Role of a snippet, in the order in which a firmware is assembled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnippetKind {
    /// Shared by all others.
    Global,
    /// File with a name of its own, which shares its scope with all others.
    File,
    /// Runs once at the start.
    Init,
    /// Runs repeatedly.
    Loop,
    /// Runs for a command; its name is the command's type.
    Handler,
}

impl SnippetKind {
    /// Returns the section that the snippet is in, as the console names it.
    #[must_use]
    pub const fn category(self) -> &'static str {
        match self {
            Self::Global | Self::File | Self::Init => "init_sections",
            Self::Loop => "loop_section",
            Self::Handler => "command_handlers",
        }
    }
}

/// A piece of a branch's code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snippet {
    /// Snippet id; stays the same through renames and revisions.
    pub id: SnippetId,
    /// Role of the snippet.
    pub kind: SnippetKind,
    /// `global`, `init`, `loop`, the name of the file, or the command's type; a leading `_` marks a handler whose
    /// command is gone or changed.
    pub name: String,
    /// Description, for people.
    pub description: String,
    /// The code.
    pub code: String,
}

/// Code of a branch: its working copy, or a revision of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BranchCode {
    /// Snippets of all sections.
    pub snippets: Vec<Snippet>,
    /// Text of the `firmware.toml`, which names what the code uses of a board and the sizes that it needs; none if
    /// it uses nothing of a board.
    pub manifest: Option<String>,
}

/// A line of development: a working copy and its numbered revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Unique within the project.
    pub name: String,
    /// Creation time.
    pub created: UnixMs,
    /// Time of the last change of the working copy.
    pub changed: UnixMs,
    /// Number of the newest revision; 0 before the first.
    pub head: u64,
}

/// A saved version of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Branch of the revision.
    pub branch: String,
    /// Number in the branch, from 1 on.
    pub number: u64,
    /// Message of the author.
    pub message: String,
    /// Name of the token that saved the revision.
    pub author: String,
    /// Creation time.
    pub created: UnixMs,
    /// Digest, hex: blake3 of the code, or sha256 of the component.
    pub digest: String,
    /// sha256 of the component that was uploaded in place of code, hex.
    pub component: Option<String>,
}

/// Returns true if a file with a name of its own may have this name: letters, digits, `_` and `-`, not beginning with
/// `_`, and `.js` at the end; at most 64 bytes.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".js") else {
        return false;
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    !stem.is_empty() && name.len() <= MAX_FILE_NAME_BYTES && stem.bytes().all(plain) && !stem.starts_with('_')
}

/// A change of one snippet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnippetEdit {
    /// The snippet.
    pub id: SnippetId,
    /// New code; none keeps the old.
    pub code: Option<String>,
    /// New name of a file that has a name of its own; none keeps the old.
    pub name: Option<String>,
    /// New description; none keeps the old.
    pub description: Option<String>,
    /// Version of the code that the edit is based on; none to write over whatever there is.
    pub base: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_no_names_of_commands_or_manifests() {
        for good in [
            "a.js",
            "filters.js",
            "Sensor-2_b.js",
            &format!("{}.js", "x".repeat(61)),
        ] {
            assert!(is_file_name(good), "{good}");
            assert!(
                iottly_protocol::command_name::is_good_name(good).is_err(),
                "{good}"
            );
        }
        let long = format!("{}.js", "x".repeat(62));
        for bad in [
            "",
            ".js",
            "a",
            "a.ts",
            "_a.js",
            "a b.js",
            "a/b.js",
            "..js",
            "a.b.js",
            "ä.js",
            "a.js\n",
            "firmware.toml",
            &long,
        ] {
            assert!(!is_file_name(bad), "{bad}");
        }
        assert!(SnippetKind::Global < SnippetKind::File && SnippetKind::File < SnippetKind::Init);
    }
}
