//! Plots that are kept under a name.

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use super::db::{Conn, Row};
use super::{Backend, codec, full, missing, taken};
use crate::{Result, SavedPlotStore};
use iottly_core::model::{MAX_SAVED_PLOTS, SavedPlot, SavedPlotId};

#[async_trait]
impl SavedPlotStore for Backend {
    async fn saved_plots(&self, project: ProjectId) -> Result<Vec<SavedPlot>> {
        let query = sqlx::query(
            "SELECT project, id, name, query, author, created FROM saved_plots WHERE project = $1 ORDER BY name, id",
        )
        .bind(codec::id(&project));
        query.fetch_all(&self.readers).await?.iter().map(plot).collect()
    }
}

/// Saves a plot, within the project's limit.
pub(super) async fn save(tx: &mut Conn, plot: &SavedPlot) -> Result<u64> {
    let project = codec::id(&plot.project);
    let row = sqlx::query("SELECT count(*) AS n FROM saved_plots WHERE project = $1")
        .bind(project)
        .fetch_one(&mut *tx)
        .await?;
    full(codec::get(&row, "n")?, "saved plots", MAX_SAVED_PLOTS)?;
    let settings = serde_json::to_string(&plot.settings).expect("texts and words serialize without failing");
    sqlx::query(
        "INSERT INTO saved_plots (project, id, name, query, author, created) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(project)
    .bind(codec::id(&plot.id))
    .bind(codec::text(&plot.name))
    .bind(codec::text(&settings))
    .bind(codec::text(&plot.author))
    .bind(plot.created)
    .execute(tx)
    .await
    .map_err(|error| taken(error, "saved plot", &plot.name))?;
    Ok(1)
}

pub(super) async fn delete(tx: &mut Conn, project: ProjectId, id: SavedPlotId) -> Result<u64> {
    let done = sqlx::query("DELETE FROM saved_plots WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .execute(tx)
        .await?;
    missing(done.rows_affected(), "saved plot", &id)
}

fn plot(row: &Row) -> Result<SavedPlot> {
    Ok(SavedPlot {
        id: SavedPlotId::from_bytes(codec::bytes(row, "saved_plots", "id")?),
        project: codec::project(row, "saved_plots", "project")?,
        name: codec::get(row, "name")?,
        settings: codec::json(codec::get(row, "query")?, "saved_plots", "query")?,
        author: codec::get(row, "author")?,
        created: codec::get(row, "created")?,
    })
}
