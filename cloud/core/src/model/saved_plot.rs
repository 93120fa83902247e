//! Plots that people keep under a name.

use iottly_protocol::ProjectId;
use serde::{Deserialize, Serialize};

use super::{SavedPlotId, UnixMs};

/// Maximum number of saved plots of a project.
pub const MAX_SAVED_PLOTS: i64 = 100;

/// Request that a saved plot stands for. Devices and groups are names or ids, and are looked up when it is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PlotSettings {
    /// Path of the series.
    pub path: String,
    /// Value of a point: `avg`, `min`, `max`, `sum`, `count` or `p95`.
    #[serde(default = "average")]
    pub agg: String,
    /// Division into lines: `none`, `device` or `group`.
    #[serde(default = "one_line")]
    pub by: String,
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

fn average() -> String {
    "avg".to_owned()
}

fn one_line() -> String {
    "none".to_owned()
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
