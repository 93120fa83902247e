//! Saved plots. They are saved and deleted through [`ChangeStore`](crate::ChangeStore).

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use crate::error::Result;
use iottly_core::model::SavedPlot;

/// Store operations for saved plots.
#[async_trait]
pub trait SavedPlotStore: Send + Sync + 'static {
    /// Returns the saved plots of a project, by name. Their number is bounded.
    async fn saved_plots(&self, project: ProjectId) -> Result<Vec<SavedPlot>>;
}
