//! Components of revisions: uploaded, built before, or built in the project's turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use iottly_manifest::{Script, ScriptError};
use iottly_protocol::ProjectId;
use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use sha2::{Digest, Sha256};

use super::{BuildFailure, FlashError, Rollouts};
use crate::fair_queue::Turn;
use crate::releases::BUILT;
use iottly_core::model::{BranchCode, Changed, Principal, Revision};
use iottly_store::StoreError;

/// A component and its origin.
pub(super) struct Made {
    pub(super) content: Vec<u8>,
    pub(super) capabilities: Vec<String>,
    pub(super) source: String,
}

/// A stored component, or the turn in which it is built.
pub(super) enum Wanted {
    Kept {
        name: String,
        content: Vec<u8>,
    },
    ToBuild {
        name: String,
        code: BranchCode,
        turn: Turn<ProjectId>,
    },
}

impl Rollouts {
    /// Finds a revision's component, or waits for the turn to build it. A caller that stops waiting loses its
    /// place.
    pub(super) async fn wanted(
        &self,
        project: ProjectId,
        revision: &Revision,
        code: BranchCode,
    ) -> Result<Wanted, FlashError> {
        let builder = self.builder.as_ref().ok_or(FlashError::NoBuilder)?;
        let name = match &revision.component {
            Some(sha256) => sha256.clone(),
            None => format!("{BUILT}{}-{}", revision.digest, builder.version),
        };
        if let Some(content) = self.known(project, &name).await? {
            return Ok(Wanted::Kept { name, content });
        }
        if revision.component.is_some() {
            return Err(FlashError::Failed(format!(
                "the component of revision {} no longer exists",
                revision.number
            )));
        }
        let turn = self.work.builds.take(project).await?;
        // An earlier request may have built the same code.
        match self.known(project, &name).await? {
            Some(content) => Ok(Wanted::Kept { name, content }),
            None => Ok(Wanted::ToBuild { name, code, turn }),
        }
    }

    /// Returns the component of this name; an error if its code failed to build recently.
    pub(super) async fn known(&self, project: ProjectId, name: &str) -> Result<Option<Vec<u8>>, FlashError> {
        if let Some(reason) = self.work.failure(project, name) {
            return Err(FlashError::Code(reason));
        }
        let name = name.to_owned();
        Ok(self
            .with_repositories(move |repositories, _| repositories.kept(project, &name))
            .await?)
    }

    /// Returns the texts by path of a script that was pushed as a component with this sha256; none if it is no script, or
    /// is not kept any more.
    ///
    /// # Errors
    /// If the stored component cannot be read.
    pub async fn pushed_files(
        &self,
        project: ProjectId,
        sha256: &str,
    ) -> Result<Option<BTreeMap<String, String>>, FlashError> {
        // A component has up to 16 MiB and never changes: it is not read again only to find that it is no script.
        if self.work.is_opaque(project, sha256) {
            return Ok(None);
        }
        let Some(content) = self.known(project, sha256).await? else {
            return Ok(None);
        };
        let script = Script::extract(&content).map_err(|error| FlashError::Code(error.to_string()))?;
        if script.is_none() {
            self.work.note_opaque(project, sha256);
        }
        Ok(script.map(|script| script.files))
    }

    /// Saves the pushed script of a revision with another text in the place of one of its files, as the next revision of its
    /// branch.
    ///
    /// # Errors
    /// [`FlashError`]; nothing is stored then.
    pub async fn edit_pushed(
        self: &Arc<Self>,
        by: &Principal,
        (branch, revision): (&str, u64),
        (file, text): (&str, String),
        message: String,
    ) -> Result<Changed, FlashError> {
        let refused = |reason: &str| FlashError::Code(format!("revision {revision} of {branch}: {reason}"));
        let wrong = |error: ScriptError| FlashError::Code(error.to_string());
        let found = self.store.revision(by.project, branch, revision).await?;
        let missing = || StoreError::Missing {
            what: "revision",
            name: format!("{branch} {revision}"),
        };
        let (found, _) = found.ok_or_else(missing)?;
        let sha256 = found
            .component
            .ok_or_else(|| refused("it was not pushed from a folder"))?;
        let content = self.known(by.project, &sha256).await?;
        let content = content.ok_or_else(|| refused("its component is not kept any more"))?;
        let script = Script::extract(&content).map_err(wrong)?;
        // The parts of a script that was built from snippets begin at known lines, which an edit would move.
        let script = script.filter(|script| script.sections.is_empty());
        let mut script = script.ok_or_else(|| refused("it is not a script of files"))?;
        let place = script.files.get_mut(file);
        *place.ok_or_else(|| refused("it has no such file"))? = text;
        let manifest = iottly_manifest::extract(&content).ok().flatten();
        let component = script.component(manifest.unwrap_or_default()).map_err(wrong)?;
        self.upload(by, branch, message, component).await
    }

    /// Builds the component if it is not stored, and determines its capabilities.
    pub(super) async fn make(&self, project: ProjectId, wanted: Wanted) -> Result<Made, FlashError> {
        let (source, content) = match wanted {
            Wanted::Kept { name, content } => (name, content),
            Wanted::ToBuild { name, code, turn } => {
                let content = self.build(project, &name, code, turn).await?;
                (name, content)
            }
        };
        let (content, capabilities) = self.look_into(project, &source, content).await?;
        Ok(Made {
            content,
            capabilities,
            source,
        })
    }

    async fn build(
        &self,
        project: ProjectId,
        name: &str,
        code: BranchCode,
        turn: Turn<ProjectId>,
    ) -> Result<Vec<u8>, FlashError> {
        let builder = self.builder.clone().ok_or(FlashError::NoBuilder)?;
        let (repositories, memory, name) =
            (self.repositories.clone(), Arc::clone(&self.work), name.to_owned());
        let work = move || -> Result<Vec<u8>, FlashError> {
            // Dropped last, so that the next turn finds the outcome of this one.
            let _turn = turn;
            let built = (builder.build)(&in_order(code)).and_then(within_bounds);
            if let Err(BuildFailure::Code(reason)) = &built {
                memory.failed(project, &name, reason);
            }
            let built = built?;
            repositories.keep_built(project, &name, &built)?;
            Ok(built)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| FlashError::Failed(format!("the build stopped: {error}")))?
    }

    /// Returns the capabilities of a component; checks it in the project's turn unless they are known.
    pub(super) async fn look_into(
        &self,
        project: ProjectId,
        name: &str,
        content: Vec<u8>,
    ) -> Result<(Vec<u8>, Vec<String>), FlashError> {
        if let Some(capabilities) = self.work.reach(project, name) {
            return Ok((content, capabilities));
        }
        let builder = self.builder.clone().ok_or(FlashError::NoBuilder)?;
        let turn = self.work.checks.take(project).await?;
        let work = move || -> Result<_, BuildFailure> {
            let _turn = turn;
            let capabilities = (builder.capabilities)(&content)?;
            Ok((content, capabilities))
        };
        // A component that makes its reader panic is at fault itself.
        let done = tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| FlashError::Unreadable)?;
        let (content, capabilities) = done?;
        self.work.reaches(project, name, &capabilities);
        Ok((content, capabilities))
    }
}

pub(super) fn within_bounds(built: Vec<u8>) -> Result<Vec<u8>, BuildFailure> {
    if built.len() <= MAX_COMPONENT_BYTES {
        return Ok(built);
    }
    Err(BuildFailure::Code(format!(
        "the firmware has {} bytes, more than the {MAX_COMPONENT_BYTES} allowed",
        built.len()
    )))
}

/// Returns the sha256 of `content`, in hex.
pub(super) fn sha256(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Returns the code with its snippets in the order in which a firmware is assembled, without handlers whose
/// command was removed.
pub(super) fn in_order(mut code: BranchCode) -> BranchCode {
    code.snippets.retain(|snippet| !snippet.name.starts_with('_'));
    code.snippets
        .sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    code
}
