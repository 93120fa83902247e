//! Endpoints for saved plots: requests for plots that people keep under a name.

use axum::extract::Path;

use super::Answer;
use super::body::JsonBody;
use super::dto::{Done, NewPlot, OK, OnePlot, PlotList, SavedPlotDto};
use super::names;
use super::series::{PlotQuery, of_settings};
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::{Change, SavedPlot, SavedPlotId};

/// Lists the saved plots of the project, by name.
#[utoipa::path(
    get,
    path = "/plots",
    tag = "series",
    responses((status = 200, description = "The saved plots", body = PlotList))
)]
pub(crate) async fn all(access: ProjectAccess) -> Answer<PlotList> {
    let plots = access.services().store.saved_plots(access.id()).await?;
    Ok(Spaced(PlotList {
        plots: plots.into_iter().map(SavedPlotDto::from).collect(),
        status: OK,
    }))
}

/// Saves a plot under a name: what `GET …/series/points` is asked for.
#[utoipa::path(
    post,
    path = "/plots",
    tag = "series",
    request_body = NewPlot,
    responses((status = 200, description = "The saved plot", body = OnePlot))
)]
pub(crate) async fn save(access: ProjectAccess, JsonBody(body): JsonBody<NewPlot>) -> Answer<OnePlot> {
    let (name, now) = (names::name("name", &body.name)?, clock::now());
    // What cannot be drawn is not saved.
    of_settings(&access, &PlotQuery::from(&body.plot), now).await?;
    let plot = SavedPlot {
        id: SavedPlotId::random(),
        project: access.id(),
        name,
        settings: body.plot,
        author: access.principal().name.clone(),
        created: now,
    };
    access
        .change(Change::SavePlot(Box::new(plot.clone())), now)
        .await?;
    Ok(Spaced(OnePlot {
        plot: plot.into(),
        status: OK,
    }))
}

/// Deletes a saved plot; its series stay.
#[utoipa::path(
    delete,
    path = "/plots/{plot}",
    tag = "series",
    responses((status = 200, description = "The plot was deleted", body = Done))
)]
pub(crate) async fn delete(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    let id: SavedPlotId = id
        .parse()
        .map_err(|_| ApiError::missing("project has no such plot"))?;
    access.change(Change::DeletePlot(id), clock::now()).await?;
    Ok(Done::answer())
}
