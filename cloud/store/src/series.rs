//! Series: the numbers of devices' messages over time, rolled up by minutes and hours as the messages are stored.

use async_trait::async_trait;
use iottly_protocol::{DeviceId, GroupId, ProjectId};

use crate::error::Result;
use iottly_core::model::{Scope, UnixMs};
use iottly_core::series::{Line, Range, Skipped, Split, Width};

/// Path of numbers in the messages of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesPath {
    /// Keys that lead to the number, joined with `.`.
    pub path: String,
    /// Start of the newest hour with a value.
    pub seen: UnixMs,
}

/// Series of a project.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeriesList {
    /// Paths, sorted.
    pub paths: Vec<SeriesPath>,
    /// Numbers that became no points because of their form.
    pub skipped: Skipped,
    /// Numbers that became no points because the project has as many paths as it may have.
    pub refused: u64,
    /// Number of devices whose older messages are still to be rolled up.
    pub filling: u64,
}

/// Devices of a plot; all of the project if both lists are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Devices.
    pub devices: Vec<DeviceId>,
    /// Deployment groups.
    pub groups: Vec<GroupId>,
}

/// Query for the lines of a plot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinesQuery {
    /// Path of the series.
    pub path: String,
    /// Devices.
    pub selection: Selection,
    /// Division into lines.
    pub split: Split,
    /// Width of the roll-ups to read.
    pub width: Width,
    /// Length of a step, in milliseconds: a multiple of the width.
    pub step_ms: UnixMs,
    /// Time to read; both ends are multiples of the step.
    pub range: Range,
    /// True if the distributions are needed too, for percentiles.
    pub distributions: bool,
}

/// Store operations for series.
#[async_trait]
pub trait SeriesStore: Send + Sync + 'static {
    /// Returns the series of a project.
    async fn series(&self, project: ProjectId) -> Result<SeriesList>;
    /// Returns the paths of which a device has values, sorted, each with the newest hour with a value of the device.
    async fn series_of(&self, scope: Scope) -> Result<Vec<SeriesPath>>;
    /// Returns the number of devices of a selection, and the number of groups that these devices are in.
    async fn count_selected(&self, project: ProjectId, selection: &Selection) -> Result<(usize, usize)>;
    /// Returns the lines of a plot, sorted by their keys. Devices and groups without values have none.
    async fn lines(&self, project: ProjectId, query: &LinesQuery) -> Result<Vec<Line>>;
    /// Rolls up at most `limit` messages of one history from before roll-ups were kept, the newest first. Returns false
    /// when there are none.
    async fn fill_series(&self, limit: usize) -> Result<bool>;
    /// Looks at the next `devices` devices behind `after` and returns those that have roll-ups which are kept no longer at
    /// `now`. Writes nothing.
    async fn old_rollups(&self, after: Option<Scope>, devices: usize, now: UnixMs) -> Result<OldRollups>;
    /// Deletes roll-ups of a device that are kept no longer, at most `limit` of each width; returns true if there may be
    /// more.
    async fn prune_rollups(&self, scope: Scope, now: UnixMs, limit: usize) -> Result<bool>;
    /// Forgets series of a project without a value for as long as roll-ups are kept, once they have no roll-ups any more.
    async fn forget_series(&self, project: ProjectId, now: UnixMs) -> Result<()>;
}

/// Part of the devices, and which of them have roll-ups that are kept no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldRollups {
    /// The devices that have some.
    pub devices: Vec<Scope>,
    /// Projects of the devices that were looked at.
    pub projects: Vec<ProjectId>,
    /// Last device that was looked at; none at the end.
    pub last: Option<Scope>,
}
