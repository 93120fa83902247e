//! Projects and their deployment groups. Changes to them are in [`ChangeStore`](crate::ChangeStore).

use async_trait::async_trait;
use iottly_protocol::{GroupId, ProjectId};

use crate::error::Result;
use iottly_core::model::{Definition, Group, OrganizationId, Project};

/// Store operations for projects and their deployment groups.
#[async_trait]
pub trait ProjectStore: Send + Sync + 'static {
    /// Creates a project of the default organisation with its `_orphaned` group and the seeded definitions.
    async fn create_project(
        &self,
        project: &Project,
        orphaned: GroupId,
        definitions: &[Definition],
    ) -> Result<()> {
        self.create_project_in(OrganizationId::DEFAULT, project, orphaned, definitions)
            .await
    }
    /// Creates a project of an organisation with its `_orphaned` group and the seeded definitions.
    async fn create_project_in(
        &self,
        organization: OrganizationId,
        project: &Project,
        orphaned: GroupId,
        definitions: &[Definition],
    ) -> Result<()>;
    /// Returns all projects, by name.
    async fn projects(&self) -> Result<Vec<Project>>;
    /// Returns one project.
    async fn project(&self, id: ProjectId) -> Result<Option<Project>>;
    /// Returns true if everyone may read the releases of a project; none if the project does not exist.
    async fn public_releases(&self, id: ProjectId) -> Result<Option<bool>>;
    /// Creates a deployment group.
    async fn create_group(
        &self,
        project: ProjectId,
        id: GroupId,
        name: &str,
        branch: Option<&str>,
    ) -> Result<()>;
    /// Returns the groups of a project; `_orphaned` first, then by name.
    async fn groups(&self, project: ProjectId) -> Result<Vec<Group>>;
    /// Returns a group of a project.
    async fn group(&self, project: ProjectId, id: GroupId) -> Result<Option<Group>>;
}
