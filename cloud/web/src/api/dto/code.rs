//! JSON types for branches and code.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use iottly_core::code::{Difference, SnippetDiff};
use iottly_core::model::{Branch, Revision, Snippet, SnippetId, SnippetKind};

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BranchDto {
    name: String,
    created: Date,
    changed: Date,
    /// Number of the newest revision; 0 before the first.
    current_revision: u64,
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

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevisionDto {
    revision: u64,
    branch: String,
    message: String,
    author: String,
    created: Date,
    digest: String,
    /// SHA-256 of the component that was uploaded instead of code.
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<String>,
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
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Code {
    codesections: Vec<Section>,
    snippets: Vec<SnippetDto>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Section {
    #[schema(value_type = String)]
    name: &'static str,
    #[schema(value_type = Vec<String>)]
    snippets: Vec<SnippetId>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SnippetDto {
    #[schema(value_type = String, format = "uuid")]
    snippetid: SnippetId,
    #[schema(value_type = String)]
    category: &'static str,
    #[schema(value_type = String)]
    kind: SnippetKind,
    name: String,
    description: String,
    code: String,
}

impl Code {
    pub(crate) fn new(mut snippets: Vec<Snippet>) -> Self {
        snippets.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let section = |name: &'static str| Section {
            name,
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
        }
    }
}

impl From<Snippet> for SnippetDto {
    fn from(snippet: Snippet) -> Self {
        Self {
            snippetid: snippet.id,
            category: snippet.kind.category(),
            kind: snippet.kind,
            name: snippet.name,
            description: snippet.description,
            code: snippet.code,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiffDto {
    #[schema(value_type = String)]
    category: &'static str,
    name: String,
    #[schema(value_type = String)]
    difference: Difference,
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

#[derive(Serialize, ToSchema)]
pub(crate) struct BranchList {
    pub(crate) branches: Vec<BranchDto>,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OneBranch {
    pub(crate) branch: BranchDto,
    #[serde(flatten)]
    pub(crate) code: Code,
    /// True if the working copy differs from the newest revision.
    pub(crate) unsaved: bool,
    pub(crate) status: u16,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBranch {
    pub(crate) name: String,
    pub(crate) from: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edits {
    pub(crate) snippets: Vec<Edit>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) snippetid: Option<SnippetId>,
    /// Name, instead of the id, for handlers and the sections `global`, `init` and `loop`.
    pub(crate) name: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) description: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct RevisionList {
    pub(crate) revisions: Vec<RevisionDto>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OneRevision {
    pub(crate) revision: RevisionDto,
    #[serde(flatten)]
    pub(crate) code: Code,
    pub(crate) status: u16,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewVersion {
    #[serde(default)]
    pub(crate) message: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SavedVersion {
    pub(crate) revision: RevisionDto,
    /// False when the newest revision already has this content.
    pub(crate) created: bool,
    pub(crate) status: u16,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restore {
    pub(crate) revision: u64,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Differences {
    pub(crate) from: Option<u64>,
    pub(crate) to: Option<u64>,
    pub(crate) snippets: Vec<DiffDto>,
    pub(crate) status: u16,
}
