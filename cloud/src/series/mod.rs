//! Plots of series: reads roll-ups, or single values of the last hour, within limits that hold for all requests together.

mod raw;
pub(crate) mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::ProjectId;

use crate::fair_queue::{FairQueue, QueueFull};
use crate::history_reader::{HistoryReader, ReadError, filter_queue_limits};
use iottly_core::model::UnixMs;
use iottly_core::series::{
    Aggregate, Bucket, Line, Plan, PlanError, Range, Resolution, Rollup, Split, pieces, plan, thin,
};
use iottly_store::{LinesQuery, Selection, Store, StoreError};

/// Maximum time of reading a plot.
const TIME: Duration = Duration::from_secs(10);

/// Request for a plot.
#[derive(Debug, Clone)]
pub struct PlotRequest {
    /// Path of the series.
    pub path: String,
    /// Devices.
    pub selection: Selection,
    /// Division into lines.
    pub split: Split,
    /// Value of a point.
    pub aggregate: Aggregate,
    /// Time to show.
    pub range: Range,
    /// Maximum number of points of a line.
    pub points: usize,
    /// True to keep every step of the plan: a table is to be complete, a picture is not.
    pub whole: bool,
}

/// A plot.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Source and steps of the points.
    pub plan: Plan,
    /// Number of devices that were asked for.
    pub devices: usize,
    /// Lines, sorted by their keys.
    pub lines: Vec<PlotLine>,
}

/// Line of a plot.
#[derive(Debug, Clone)]
pub struct PlotLine {
    /// Id of the device or group; none for the line of all.
    pub key: Option<String>,
    /// Parts without a pause in them.
    pub pieces: Vec<PlotPiece>,
    /// All values of the line.
    pub whole: Rollup,
    /// Number of messages that are missing in the histories of its devices.
    pub missing: u64,
}

impl PlotLine {
    /// Returns the newest point.
    #[must_use]
    pub fn last(&self) -> Option<PlotPoint> {
        self.pieces.last()?.points.last().copied()
    }
}

/// Part of a line without a pause in it.
#[derive(Debug, Clone)]
pub struct PlotPiece {
    /// Points, in the order of time.
    pub points: Vec<PlotPoint>,
    /// Number of messages that are missing before the piece, or in it.
    pub missing: u64,
}

/// Point of a line: the values of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlotPoint {
    /// Start of the step, in Unix milliseconds.
    pub at: UnixMs,
    /// Value.
    pub value: f64,
    /// Lowest value of the step.
    pub min: f64,
    /// Highest value of the step.
    pub max: f64,
}

/// Reason why there is no plot.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The plot exceeds a bound.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Too many plots of the project are waiting.
    #[error(transparent)]
    Queue(#[from] QueueFull),
    /// Reading single values failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The plot took too long.
    #[error("the plot was not read within {} s; choose a shorter range or fewer devices", TIME.as_secs())]
    Slow,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Service of plots.
pub struct SeriesService {
    store: Arc<dyn Store>,
    reader: Arc<HistoryReader>,
    turns: FairQueue<ProjectId>,
}

impl SeriesService {
    pub(crate) fn new(store: Arc<dyn Store>, reader: Arc<HistoryReader>) -> Self {
        Self {
            store,
            reader,
            turns: FairQueue::new(filter_queue_limits()),
        }
    }

    /// Reads a plot.
    ///
    /// # Errors
    /// [`PlotError`] with the reason.
    pub async fn plot(
        &self,
        project: ProjectId,
        request: &PlotRequest,
        now: UnixMs,
    ) -> Result<Plot, PlotError> {
        let (devices, groups) = self.store.count_selected(project, &request.selection).await?;
        let lines = match request.split {
            Split::None => 1,
            Split::Device => devices,
            Split::Group => groups,
        };
        let mut plan = plan(
            request.range,
            request.points,
            request.aggregate,
            (devices, lines),
            now,
        )?;
        let turn = self.turns.take(project).await?;
        let read = async {
            if plan.resolution == Resolution::Raw {
                if let Some(line) = raw::line(self, project, request).await? {
                    return Ok(vec![line]);
                }
                // More values than are read one by one, or none: the minutes tell.
                plan = plan.rolled_up(request.range);
            }
            self.rolled_up(project, request, &plan).await
        };
        let lines = tokio::time::timeout(TIME, read)
            .await
            .map_err(|_| PlotError::Slow)??;
        drop(turn);
        let lines = lines
            .iter()
            .filter_map(|line| drawn(line, request, &plan))
            .collect();
        Ok(Plot { plan, devices, lines })
    }

    async fn rolled_up(
        &self,
        project: ProjectId,
        request: &PlotRequest,
        plan: &Plan,
    ) -> Result<Vec<Line>, PlotError> {
        let Resolution::Rollups(width) = plan.resolution else {
            return Ok(Vec::new());
        };
        let query = LinesQuery {
            path: request.path.clone(),
            selection: request.selection.clone(),
            split: request.split,
            width,
            step_ms: plan.step_ms,
            range: plan.range,
            distributions: request.aggregate == Aggregate::P95,
        };
        Ok(self.store.lines(project, &query).await?)
    }
}

/// Returns a line with at most as many points as were asked for. The lowest and the highest values of steps that are left
/// out stay, with the point before them.
fn drawn(line: &Line, request: &PlotRequest, plan: &Plan) -> Option<PlotLine> {
    let pieces = pieces(line, plan.step_ms).into_iter().map(|piece| {
        let limit = if request.whole { usize::MAX } else { request.points };
        let kept = thin(&piece, request.aggregate, line.buckets.len(), limit);
        let mut kept = kept.into_iter().peekable();
        let mut points: Vec<PlotPoint> = Vec::new();
        for Bucket { at, rollup } in &piece.buckets {
            if let Some(point) = kept.next_if(|point| point.at == *at) {
                points.push(PlotPoint {
                    at: point.at,
                    value: point.value,
                    min: rollup.min,
                    max: rollup.max,
                });
            } else if let Some(last) = points.last_mut() {
                (last.min, last.max) = (last.min.min(rollup.min), last.max.max(rollup.max));
            }
        }
        PlotPiece {
            points,
            missing: piece.missing,
        }
    });
    Some(PlotLine {
        key: line.key.clone(),
        pieces: pieces.collect(),
        whole: line.whole()?,
        missing: line.lost(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(whole: bool) -> PlotRequest {
        PlotRequest {
            path: "temperature".to_owned(),
            selection: Selection::default(),
            split: Split::None,
            aggregate: Aggregate::Avg,
            range: Range { from: 0, to: 1000 },
            points: 10,
            whole,
        }
    }

    #[test]
    fn a_table_has_every_step_and_a_picture_every_extreme() {
        let bucket = |at: i64| Bucket {
            at,
            rollup: Rollup::of(if at == 503 { -40.0 } else { (at % 7) as f64 }),
        };
        let line = Line {
            key: None,
            buckets: (0..1000).map(bucket).collect(),
            missing: Vec::new(),
        };
        let plan = Plan {
            resolution: Resolution::Raw,
            step_ms: 1,
            range: Range { from: 0, to: 1000 },
        };
        let points = |whole| {
            let drawn = drawn(&line, &request(whole), &plan).expect("a line");
            drawn
                .pieces
                .into_iter()
                .flat_map(|piece| piece.points)
                .collect::<Vec<_>>()
        };
        assert_eq!(points(true).len(), 1000);
        let few = points(false);
        assert_eq!(few.len(), 10);
        let lowest = few.iter().map(|point| point.min).fold(f64::MAX, f64::min);
        let highest = few.iter().map(|point| point.max).fold(f64::MIN, f64::max);
        assert_eq!((lowest, highest), (-40.0, 6.0));
    }
}
