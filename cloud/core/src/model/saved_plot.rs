//! Plots that people keep under a name.

use iottly_protocol::ProjectId;
use serde::{Deserialize, Serialize};

use super::{SavedPlotId, UnixMs};
use crate::series::{Aggregate, Split};

/// Maximum number of saved plots of a project.
pub const MAX_SAVED_PLOTS: i64 = 100;

/// Request that a saved plot stands for. Devices and groups are names or ids, and are looked up when it is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PlotSettings {
    /// Path of the series.
    pub path: String,
    /// Value of a point.
    #[serde(default)]
    pub agg: Aggregate,
    /// Division into lines.
    #[serde(default)]
    pub by: Split,
    /// Length of the time before now, such as `24h`.
    #[serde(default = "day")]
    pub since: String,
    /// Ids of devices; empty for all.
    #[serde(default)]
    pub devices: Vec<String>,
    /// Ids or names of deployment groups; empty for all.
    #[serde(default)]
    pub groups: Vec<String>,
}

fn day() -> String {
    "24h".to_owned()
}

/// Plot that people keep under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedPlot {
    /// Id of the plot.
    pub id: SavedPlotId,
    /// Project of the plot.
    pub project: ProjectId,
    /// Name, unique within the project.
    pub name: String,
    /// Request that it stands for.
    pub settings: PlotSettings,
    /// Name of the token or person that saved it.
    pub author: String,
    /// Creation time.
    pub created: UnixMs,
}
