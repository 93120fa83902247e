//! Files of a project: uploads, the limit of their size, and the deletion of unneeded ones. All in the
//! project's turn to write.

use std::sync::Arc;

use iottly_protocol::ProjectId;
use tracing::Instrument;

use super::component::sha256;
use super::{FlashError, Rollouts};
use crate::clock;
use crate::fair_queue::{QueueFull, Turn};
use iottly_core::model::{Change, Changed, CodeRoom, Principal};
use iottly_store::StoreError;

/// Maximum number of a project's rollouts that one step deletes.
const TIDY_STEP: usize = 20;

impl Rollouts {
    /// Waits for a slot to receive a component; hold it until the component is saved.
    ///
    /// # Errors
    /// `QueueFull` if too many uploads of the project are waiting.
    pub async fn upload_turn(&self, project: ProjectId) -> Result<Turn<ProjectId>, QueueFull> {
        self.work.uploads.take(project).await
    }

    /// Waits for the project's turn to compare revisions.
    ///
    /// # Errors
    /// `QueueFull` if too many of the project's requests are waiting.
    pub async fn diff_turn(&self, project: ProjectId) -> Result<Turn<ProjectId>, QueueFull> {
        self.work.diffs.take(project).await
    }

    /// Returns an error if the disk is nearly full.
    ///
    /// # Errors
    /// [`FlashError::DiskFull`].
    pub async fn spare_disk(&self) -> Result<(), FlashError> {
        if self
            .with_repositories(|repositories, _| repositories.is_short())
            .await?
        {
            Err(FlashError::DiskFull)
        } else {
            Ok(())
        }
    }

    /// Saves a component as the next revision of a branch. It is stored only together with its revision.
    ///
    /// # Errors
    /// [`FlashError`]; nothing is stored then.
    pub async fn upload(
        self: &Arc<Self>,
        by: &Principal,
        branch: &str,
        message: String,
        component: Vec<u8>,
    ) -> Result<Changed, FlashError> {
        self.spare_disk().await?;
        let project = by.project;
        let hashed = tokio::task::spawn_blocking(move || (sha256(&component), component)).await;
        let (name, component) = hashed.map_err(|error| FlashError::Failed(error.to_string()))?;
        let (component, _) = self.look_into(project, &name, component).await?;
        // The builder has read the component; it refuses one whose manifest is damaged.
        let manifest = iottly_manifest::extract(&component).ok().flatten();
        let manifest = manifest.map(str::to_owned);
        let turn = self.work.writes.take(project).await?;
        let change = Change::SaveComponent {
            branch: branch.to_owned(),
            message,
            sha256: name.clone(),
            manifest,
        };
        let (this, by) = (Arc::clone(self), by.clone());
        // Continues if the client disconnects: a file and its revision belong together.
        let saving = async move {
            let _turn = turn;
            this.save_component(&by, name, component, change).await
        };
        let work = tokio::spawn(saving.in_current_span());
        work.await
            .unwrap_or_else(|error| Err(FlashError::Failed(error.to_string())))
    }

    async fn save_component(
        &self,
        by: &Principal,
        name: String,
        component: Vec<u8>,
        change: Change,
    ) -> Result<Changed, FlashError> {
        let project = by.project;
        self.admit_files(project, component.len() as u64).await?;
        let kept = name.clone();
        let new = self
            .with_repositories(move |repositories, _| repositories.keep(project, &kept, &component))
            .await?;
        let saved = self.store.change(project, by, change, clock::now()).await;
        if saved.is_err() && new {
            self.with_repositories(move |repositories, _| repositories.discard(project, &name))
                .await?;
        }
        self.measure(project).await?;
        Ok(saved?)
    }

    /// Checks that the project has room for `more` bytes of files; first deletes unneeded files if it has
    /// not.
    pub(super) async fn admit_files(&self, project: ProjectId, more: u64) -> Result<(), FlashError> {
        for hard in [None, Some(false), Some(true)] {
            if let Some(hard) = hard {
                self.tidy_files(project, hard).await?;
            }
            let files = self.measure(project).await?;
            let Some(room) = self.store.code_room(project).await? else {
                return Ok(());
            };
            let room = CodeRoom { files, ..room };
            if room.used().saturating_add(more) <= room.limit() {
                return Ok(());
            }
            if hard == Some(true) {
                let max = i64::try_from(room.limit()).unwrap_or(i64::MAX);
                return Err(StoreError::Full {
                    what: CodeRoom::WHAT,
                    max,
                }
                .into());
            }
        }
        Ok(())
    }

    /// Measures the project's files and records their size.
    pub(super) async fn measure(&self, project: ProjectId) -> Result<u64, FlashError> {
        let bytes = self
            .with_repositories(move |repositories, _| repositories.measure(project))
            .await?;
        self.store.note_files(project, bytes).await?;
        Ok(bytes)
    }

    /// Deletes unneeded releases and metadata, and components that no revision refers to; `hard` keeps only
    /// needed ones.
    pub(super) async fn tidy_files(&self, project: ProjectId, hard: bool) -> Result<(), FlashError> {
        let needed = self.store.needed_releases(project).await?;
        self.with_repositories(move |repositories, now| repositories.prune(project, &needed, hard, now))
            .await?;
        let uploaded = self
            .with_repositories(move |repositories, _| repositories.uploaded(project))
            .await?;
        let unnamed = self.store.unnamed_components(project, uploaded).await?;
        self.with_repositories(move |repositories, _| {
            unnamed
                .iter()
                .try_for_each(|name| repositories.discard(project, name))
        })
        .await?;
        Ok(())
    }

    /// Performs a bounded step of periodic maintenance of a project's rollouts and files.
    ///
    /// # Errors
    /// If the store or the disk fails; the next step tries again.
    pub async fn tidy(&self, project: ProjectId) -> Result<(), FlashError> {
        // If the turn is taken, skip: a writer deletes unneeded files itself when there is no room.
        let Ok(_turn) = self.work.writes.take(project).await else {
            return Ok(());
        };
        self.store.tidy_rollouts(project, TIDY_STEP).await?;
        self.tidy_files(project, false).await?;
        self.measure(project).await?;
        Ok(())
    }
}
