//! JSON types for branches and code.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use iottly_core::code::{self, Difference, ManifestDiff, SnippetDiff};
use iottly_core::model::{Branch, BranchCode, Revision, Snippet, SnippetId, SnippetKind};

/// Branch of firmware code.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BranchDto {
    /// Name of the branch, unique in the project.
    pub name: String,
    /// Creation time.
    pub created: Date,
    /// Time of the last change of the working copy.
    pub changed: Date,
    /// Number of the newest revision; 0 before the first.
    pub current_revision: u64,
}

impl From<Branch> for BranchDto {
    fn from(branch: Branch) -> Self {
        let (created, changed) = (branch.created.into(), branch.changed.into());
        Self {
            name: branch.name,
            created,
            changed,
            current_revision: branch.head,
        }
    }
}

/// Saved version of a branch.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RevisionDto {
    /// Number of the revision in its branch, from 1.
    pub revision: u64,
    /// Name of the branch.
    pub branch: String,
    /// Message of the author: 2,048 bytes at most.
    pub message: String,
    /// Name of the token that saved the revision.
    pub author: String,
    /// Creation time.
    pub created: Date,
    /// Digest in hex: BLAKE3 of the code, or SHA-256 of the component.
    pub digest: String,
    /// SHA-256 of the component that was uploaded instead of code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
}

impl From<Revision> for RevisionDto {
    fn from(revision: Revision) -> Self {
        Self {
            revision: revision.number,
            branch: revision.branch,
            message: revision.message,
            author: revision.author,
            created: revision.created.into(),
            digest: revision.digest,
            component: revision.component,
        }
    }
}

/// Code of a branch: its sections in the order in which the firmware is assembled, and the snippets in them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Code {
    /// Sections, in the order in which the firmware is assembled.
    pub codesections: Vec<Section>,
    /// Snippets of all sections.
    pub snippets: Vec<SnippetDto>,
    /// Text of the `firmware.toml`, if there is one: what the code uses of a board, and the sizes that it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Version of the `firmware.toml`, by which an edit names what it is based on; that of an empty one without it.
    pub manifest_version: String,
}

/// Section of the code.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Section {
    /// `init_sections`, `loop_section` or `command_handlers`.
    #[schema(value_type = String)]
    pub name: Cow<'static, str>,
    /// Ids of the snippets in the section, in their order.
    #[schema(value_type = Vec<String>)]
    pub snippets: Vec<SnippetId>,
}

/// Piece of code.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SnippetDto {
    /// Id of the snippet; stays the same through renames and revisions.
    #[schema(value_type = String, format = "uuid")]
    pub snippetid: SnippetId,
    /// Section of the snippet: `init_sections`, `loop_section` or `command_handlers`.
    #[schema(value_type = String)]
    pub category: Cow<'static, str>,
    /// `global`, `file`, `init`, `loop` or `handler`.
    #[schema(value_type = String)]
    pub kind: SnippetKind,
    /// `global`, `init`, `loop`, the name of a file like `filters.js`, or the type of the command that the handler is for; starts with `_` if the
    /// command is gone or changed.
    pub name: String,
    /// Description for people: 2,048 bytes at most.
    pub description: String,
    /// The code: 196,608 bytes at most.
    pub code: String,
    /// Version of the code, by which an edit names what it is based on.
    pub version: String,
}

impl Code {
    pub(crate) fn new(code: BranchCode) -> Self {
        let BranchCode {
            mut snippets,
            manifest,
        } = code;
        snippets.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let section = |name: &'static str| Section {
            name: name.into(),
            snippets: snippets
                .iter()
                .filter(|snippet| snippet.kind.category() == name)
                .map(|snippet| snippet.id)
                .collect(),
        };
        let codesections =
            [SnippetKind::Init, SnippetKind::Loop, SnippetKind::Handler].map(|kind| section(kind.category()));
        Self {
            codesections: codesections.into(),
            snippets: snippets.into_iter().map(Into::into).collect(),
            manifest_version: code::version(manifest.as_deref().unwrap_or_default()),
            manifest,
        }
    }
}

impl From<Snippet> for SnippetDto {
    fn from(snippet: Snippet) -> Self {
        Self {
            snippetid: snippet.id,
            category: snippet.kind.category().into(),
            kind: snippet.kind,
            name: snippet.name,
            description: snippet.description,
            version: code::version(&snippet.code),
            code: snippet.code,
        }
    }
}

/// Snippet that differs between two versions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiffDto {
    /// Section of the snippet: `init_sections`, `loop_section` or `command_handlers`.
    #[schema(value_type = String)]
    category: &'static str,
    /// Name of the snippet; the newer one if it was renamed.
    name: String,
    /// `added`, `removed` or `modified`.
    #[schema(value_type = String)]
    difference: Difference,
    /// Difference in the unified format.
    diff: String,
}

impl From<SnippetDiff> for DiffDto {
    fn from(diff: SnippetDiff) -> Self {
        Self {
            category: diff.kind.category(),
            name: diff.name,
            difference: diff.difference,
            diff: diff.unified,
        }
    }
}

/// Difference between the `firmware.toml` of two versions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ManifestDiffDto {
    /// `added`, `removed` or `modified`.
    #[schema(value_type = String)]
    difference: Difference,
    /// Difference in the unified format.
    diff: String,
}

impl From<ManifestDiff> for ManifestDiffDto {
    fn from(diff: ManifestDiff) -> Self {
        Self {
            difference: diff.difference,
            diff: diff.unified,
        }
    }
}

/// Branches of a project.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct BranchList {
    /// Branches, by name.
    pub branches: Vec<BranchDto>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Branch with the code of its working copy.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct OneBranch {
    /// The branch.
    pub branch: BranchDto,
    /// Code of the working copy.
    #[serde(flatten)]
    pub code: Code,
    /// Digest of the working copy, for `If-Match`.
    pub digest: String,
    /// True if the working copy differs from the newest revision.
    pub unsaved: bool,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Branch to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBranch {
    /// Name: 1 to 64 letters, digits, `.`, `_` or `-`, not starting with `.` or `-`.
    pub(crate) name: String,
    /// Branch whose working copy is copied; new snippets by default.
    pub(crate) from: Option<String>,
}

/// File to add to a working copy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewFile {
    /// Name: letters, digits, `_` or `-`, not starting with `_`, and `.js` at the end; 64 bytes at most.
    #[schema(
        example = "filters.js",
        pattern = "^[A-Za-z0-9-][A-Za-z0-9_-]*[.]js$",
        max_length = 64
    )]
    pub(crate) name: String,
    /// Text, 196,608 bytes at most; empty by default.
    #[serde(default)]
    pub(crate) code: String,
}

/// Changes of a working copy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edits {
    /// Changes of single snippets.
    pub(crate) snippets: Vec<Edit>,
}

/// Change of a snippet, which is named either by its id or by its name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// Id of the snippet.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) snippetid: Option<SnippetId>,
    /// Name, instead of the id, for handlers and the sections `global`, `init` and `loop`.
    pub(crate) name: Option<String>,
    /// New code, 196,608 bytes at most; unchanged by default.
    pub(crate) code: Option<String>,
    /// New name of a file that has a name of its own, like `filters.js`; unchanged by default.
    pub(crate) rename: Option<String>,
    /// New description, 2,048 bytes at most; unchanged by default.
    pub(crate) description: Option<String>,
    /// Version of the code that the edit is based on: the edit is refused with 409 if the working copy has another one.
    /// Without it the edit is written over whatever there is.
    pub(crate) base: Option<String>,
}

/// Manifest of a working copy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestEdit {
    /// Text of the `firmware.toml`, 65,536 bytes at most; null removes it. Must be given.
    #[serde(deserialize_with = "Deserialize::deserialize")]
    #[schema(required = true)]
    pub(crate) manifest: Option<String>,
    /// Version of the text that the edit is based on: the edit is refused with 409 if the working copy has another one.
    #[serde(default)]
    pub(crate) base: Option<String>,
}

/// Page of the revisions of a branch.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct RevisionList {
    /// Revisions, newest first.
    pub revisions: Vec<RevisionDto>,
    /// Cursor of the next page, if there is one: `before=<next>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Revision with its code.
#[derive(Serialize, ToSchema)]
pub(crate) struct OneRevision {
    /// The revision.
    pub(crate) revision: RevisionDto,
    /// Code of the revision.
    #[serde(flatten)]
    pub(crate) code: Code,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Revision to save.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewVersion {
    /// Message of the author: 2,048 bytes at most; empty by default.
    #[serde(default)]
    pub(crate) message: String,
}

/// Saved revision.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct SavedVersion {
    /// The revision.
    pub revision: RevisionDto,
    /// False when the newest revision already has this content.
    pub created: bool,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Revision to restore.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restore {
    /// Number of the revision.
    pub(crate) revision: u64,
}

/// Differences between two versions of a branch.
#[derive(Serialize, ToSchema)]
pub(crate) struct Differences {
    /// Number of the older revision; null if the branch has no revision.
    pub(crate) from: Option<u64>,
    /// Number of the newer revision; null for the working copy.
    pub(crate) to: Option<u64>,
    /// Snippets that differ.
    pub(crate) snippets: Vec<DiffDto>,
    /// Difference of the manifests, if they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<ManifestDiffDto>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}
