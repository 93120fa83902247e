//! Shapes of branches and code.

use serde::Serialize;

use super::dto::Date;
use crate::code::{Difference, SnippetDiff};
use crate::model::{Branch, Revision, Snippet, SnippetId, SnippetKind};

#[derive(Debug, Serialize)]
pub(super) struct BranchDto {
    name: String,
    created: Date,
    changed: Date,
    /// The newest revision; 0 before the first.
    current_revision: u64,
}

impl From<Branch> for BranchDto {
    fn from(branch: Branch) -> Self {
        let (created, changed) = (branch.created.into(), branch.changed.into());
        Self { name: branch.name, created, changed, current_revision: branch.head }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct RevisionDto {
    revision: u64,
    branch: String,
    message: String,
    author: String,
    created: Date,
    digest: String,
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
        }
    }
}

/// The code of a branch: its sections in the order that a firmware is put together, and the snippets that are in them.
#[derive(Debug, Serialize)]
pub(super) struct Code {
    codesections: Vec<Section>,
    snippets: Vec<SnippetDto>,
}

#[derive(Debug, Serialize)]
struct Section {
    name: &'static str,
    snippets: Vec<SnippetId>,
}

#[derive(Debug, Serialize)]
struct SnippetDto {
    snippetid: SnippetId,
    category: &'static str,
    kind: SnippetKind,
    name: String,
    description: String,
    code: String,
}

impl Code {
    pub(super) fn new(mut snippets: Vec<Snippet>) -> Self {
        snippets.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let section = |name: &'static str| Section {
            name,
            snippets: snippets.iter().filter(|snippet| snippet.kind.category() == name).map(|snippet| snippet.id).collect(),
        };
        let codesections = [SnippetKind::Init, SnippetKind::Loop, SnippetKind::Handler].map(|kind| section(kind.category()));
        Self { codesections: codesections.into(), snippets: snippets.into_iter().map(Into::into).collect() }
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

#[derive(Debug, Serialize)]
pub(super) struct DiffDto {
    category: &'static str,
    name: String,
    difference: Difference,
    diff: String,
}

impl From<SnippetDiff> for DiffDto {
    fn from(diff: SnippetDiff) -> Self {
        Self { category: diff.kind.category(), name: diff.name, difference: diff.difference, diff: diff.unified }
    }
}
