use serde::{Deserialize, Serialize};

use super::{SnippetId, UnixMs};

/// Most branches of one project.
pub const MAX_BRANCHES: usize = 64;
/// Most snippets of one branch; definitions and their orphans are within it.
pub const MAX_SNIPPETS: usize = 400;
/// Longest code of one snippet, bytes; what a request's body can hold.
pub const MAX_CODE_BYTES: usize = 192 << 10;
/// Most bytes of code in one branch; what the builder takes.
pub const MAX_BRANCH_BYTES: usize = 4 << 20;
/// Longest message of a revision, bytes.
pub const MAX_MESSAGE_BYTES: usize = 2048;
/// The branch that every project starts with.
pub const MAIN_BRANCH: &str = "main";

/// What a snippet is for, in the order that a firmware is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnippetKind {
    /// Shared by all others.
    Global,
    /// Runs once at the start.
    Init,
    /// Runs again and again.
    Loop,
    /// Runs for a command; its name is the command's type.
    Handler,
}

impl SnippetKind {
    /// The section it is in, in the console's words.
    #[must_use]
    pub const fn category(self) -> &'static str {
        match self {
            Self::Global | Self::Init => "init_sections",
            Self::Loop => "loop_section",
            Self::Handler => "command_handlers",
        }
    }
}

/// A piece of a branch's code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snippet {
    /// Its id; stays through renames and revisions.
    pub id: SnippetId,
    /// What it is for.
    pub kind: SnippetKind,
    /// `global`, `init`, `loop`, or the command's type; a leading `_` marks a handler whose command is gone
    /// or changed.
    pub name: String,
    /// For people.
    pub description: String,
    /// The code.
    pub code: String,
}

/// A line of development: a working copy and its numbered revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Unique within the project.
    pub name: String,
    /// When it was made.
    pub created: UnixMs,
    /// When its working copy changed last.
    pub changed: UnixMs,
    /// Number of its newest revision; 0 before the first.
    pub head: u64,
}

/// A saved version of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its branch.
    pub branch: String,
    /// 1 for the branch's first.
    pub number: u64,
    /// What its author says about it.
    pub message: String,
    /// Name of the token it was saved with.
    pub author: String,
    /// When it was saved.
    pub created: UnixMs,
    /// blake3 of its snippets, hex; of a component its sha256.
    pub digest: String,
    /// sha256 of the component that was uploaded in place of code, hex.
    pub component: Option<String>,
}

/// What to write into one snippet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnippetEdit {
    /// The snippet.
    pub id: SnippetId,
    /// New code; none leaves it.
    pub code: Option<String>,
    /// New description; none leaves it.
    pub description: Option<String>,
}
