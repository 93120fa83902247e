//! JSON types of saved plots.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use iottly_core::model::{PlotSettings, SavedPlot, SavedPlotId};

/// Plot that is kept under a name.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = SavedPlot)]
pub struct SavedPlotDto {
    /// Id of the plot.
    #[schema(value_type = String, format = "uuid")]
    pub id: SavedPlotId,
    /// Name, unique within the project.
    pub name: String,
    /// Settings of the plot.
    pub plot: PlotSettings,
    /// Name of the token or person that saved it.
    pub author: String,
    /// Creation time.
    pub created: Date,
}

impl From<SavedPlot> for SavedPlotDto {
    fn from(plot: SavedPlot) -> Self {
        Self {
            id: plot.id,
            name: plot.name,
            plot: plot.settings,
            author: plot.author,
            created: plot.created.into(),
        }
    }
}

/// Saved plots of a project.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct PlotList {
    /// Plots, by name.
    pub plots: Vec<SavedPlotDto>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Saved plot.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct OnePlot {
    /// The plot.
    pub plot: SavedPlotDto,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Plot to save.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPlot {
    /// Name: 1 to 128 bytes without control characters.
    pub(crate) name: String,
    /// Settings of the plot.
    pub(crate) plot: PlotSettings,
}
