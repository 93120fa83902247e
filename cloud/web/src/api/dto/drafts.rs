//! JSON types for drafts and checks of code.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use crate::api::code_files::OpenFile;
use iottly_core::code::{self, CodeFile, MANIFEST_FILE, Problem};
use iottly_core::model::{BranchCode, Draft};

/// Draft of a file, without its text.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct DraftSummary {
    /// Name of the file: of a snippet, or `firmware.toml`.
    pub name: String,
    /// Key of the file: id of a snippet, or `firmware.toml`.
    pub file: String,
    /// Version of the text that the draft is based on.
    pub base: String,
    /// True if the working copy has another version by now.
    pub stale: bool,
    /// Size of the draft, in bytes.
    pub bytes: u64,
    /// Time of the last change.
    pub changed: Date,
}

impl DraftSummary {
    pub(crate) fn new(draft: Draft, file: CodeFile, code: &BranchCode) -> Self {
        let present = code::version(file.text(code).unwrap_or_default());
        let snippet = file.snippet(code);
        Self {
            name: snippet.map_or(MANIFEST_FILE, |snippet| &snippet.name).to_owned(),
            stale: draft.base != present,
            bytes: draft.text.len() as u64,
            file: draft.file,
            base: draft.base,
            changed: draft.changed.into(),
        }
    }
}

/// Draft of a file.
#[derive(Serialize, ToSchema)]
pub(crate) struct DraftDto {
    /// The draft without its text.
    #[serde(flatten)]
    summary: DraftSummary,
    /// Text of the draft: 196,608 bytes at most.
    text: String,
    /// Text that the draft is based on, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_text: Option<String>,
}

impl DraftDto {
    pub(crate) fn new(mut draft: Draft, file: &OpenFile) -> Self {
        let base_text = draft.base_text.take();
        let text = draft.text.clone();
        Self {
            summary: DraftSummary::new(draft, file.file, &file.code),
            text,
            base_text,
        }
    }
}

/// Drafts of the caller on a branch.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct DraftList {
    /// The drafts.
    pub drafts: Vec<DraftSummary>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Draft of the caller.
#[derive(Serialize, ToSchema)]
pub(crate) struct OneDraft {
    /// The draft.
    pub(crate) draft: DraftDto,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Text to keep as a draft.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DraftEdit {
    /// Version of the text that the draft is based on; the present one by default.
    pub(crate) base: Option<String>,
    /// Text: 196,608 bytes at most.
    pub(crate) text: String,
}

/// Code to check.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckOf {
    /// Name of a file, whose text `code` replaces in the check; only together with it.
    pub(crate) file: Option<String>,
    /// Text to check in place of the file's.
    pub(crate) code: Option<String>,
}

/// Outcome of a check.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct CheckAnswer {
    /// Problems of the code; a build ends at the first.
    pub problems: Vec<ProblemDto>,
    /// SHA-256 of the component in hex; left out if there are problems.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Size of the component, in bytes; left out if there are problems.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Capabilities that the code can use, sorted.
    pub capabilities: Vec<String>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Problem of code.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ProblemDto {
    /// Name of the snippet, or `firmware.toml`; left out if the problem is in no single file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Description of the problem.
    pub message: String,
}

impl From<Problem> for ProblemDto {
    fn from(problem: Problem) -> Self {
        Self {
            file: problem.file,
            line: problem.line,
            column: problem.column,
            message: problem.message,
        }
    }
}
