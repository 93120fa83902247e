//! Message definitions, branches, revisions and the bytes that they use. Changes to them are in
//! [`ChangeStore`](crate::ChangeStore).

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use crate::error::Result;
use iottly_core::model::{Branch, BranchCode, CodeRoom, Definition, Revision};

/// Store operations for message definitions, branches and revisions.
#[async_trait]
pub trait CodeStore: Send + Sync + 'static {
    /// Returns the message definitions of a project, by type.
    async fn definitions(&self, project: ProjectId) -> Result<Vec<Definition>>;
    /// Returns one definition.
    async fn definition(&self, project: ProjectId, cmd_type: &str) -> Result<Option<Definition>>;
    /// Returns the branches of a project, by name.
    async fn branches(&self, project: ProjectId) -> Result<Vec<Branch>>;
    /// Returns the working copy of a branch, its snippets by section and name; none if the branch does not exist.
    async fn working_copy(&self, project: ProjectId, branch: &str) -> Result<Option<BranchCode>>;
    /// Returns revisions of a branch with numbers below `before`, newest first, at most `limit`.
    async fn revisions(
        &self,
        project: ProjectId,
        branch: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Revision>>;
    /// Returns one revision with its code.
    async fn revision(
        &self,
        project: ProjectId,
        branch: &str,
        number: u64,
    ) -> Result<Option<(Revision, BranchCode)>>;
    /// Returns the bytes of code and files that a project holds and may hold; none if it does not exist.
    async fn code_room(&self, project: ProjectId) -> Result<Option<CodeRoom>>;
    /// Records the size of a project's files, in bytes.
    async fn note_files(&self, project: ProjectId, bytes: u64) -> Result<()>;
    /// Returns those of `names` that no revision refers to as its component.
    async fn unnamed_components(&self, project: ProjectId, names: Vec<String>) -> Result<Vec<String>>;
}
