//! Builds of code that is not a revision: for a check while it is written, and for a developer lease.

use iottly_protocol::ProjectId;

use super::component::{in_order, sha256, within_bounds};
use super::{FlashError, Rollouts};
use crate::releases::BUILT;
use iottly_core::code;
use iottly_core::model::BranchCode;

/// Component that code was built to, without a release.
#[derive(Debug, Clone)]
pub struct BuiltCode {
    /// The component.
    pub content: Vec<u8>,
    /// SHA-256 of the component, in hex.
    pub sha256: String,
    /// Capabilities that the component can use, sorted.
    pub capabilities: Vec<String>,
}

impl Rollouts {
    /// Builds code in the project's turn. Nothing of it is kept, so that checks while an author types take no place from
    /// the builds of revisions.
    ///
    /// # Errors
    /// [`FlashError::Code`] if the code is at fault; else the cloud cannot build now.
    pub async fn try_build(&self, project: ProjectId, code: BranchCode) -> Result<BuiltCode, FlashError> {
        let builder = self.builder.clone().ok_or(FlashError::NoBuilder)?;
        let name = format!("{BUILT}{}-{}", code::digest(&code), builder.version);
        let content = match self.known(project, &name).await? {
            Some(content) => content,
            None => {
                let turn = self.work.builds.take(project).await?;
                let work = move || {
                    let _turn = turn;
                    (builder.build)(&in_order(code)).and_then(within_bounds)
                };
                let done = tokio::task::spawn_blocking(work).await;
                done.map_err(|error| FlashError::Failed(format!("the build stopped: {error}")))??
            }
        };
        let (content, capabilities) = self.look_into(project, &name, content).await?;
        Ok(BuiltCode {
            sha256: sha256(&content),
            content,
            capabilities,
        })
    }
}
