//! Series and plots.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Date, OK};
use crate::api::series::{Asked, Named};
use iottly_cloud::series::{Plot, PlotLine};
use iottly_core::series::Aggregate;
use iottly_store::SeriesList;

/// Series of a project.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct SeriesDto {
    /// Paths of numbers in messages, sorted.
    series: Vec<PathDto>,
    /// Numbers that became no points.
    skipped: SkippedDto,
    /// Number of devices whose older messages are still to be rolled up.
    filling: u64,
    /// HTTP status: always 200.
    status: u16,
}

/// Path of numbers in messages.
#[derive(Debug, Serialize, ToSchema)]
struct PathDto {
    /// Keys that lead to the number, joined with `.`.
    path: String,
    /// Start of the newest hour with a value.
    seen: Date,
}

/// Numbers that became no points, by reason.
#[derive(Debug, Serialize, ToSchema)]
struct SkippedDto {
    /// Objects and arrays that are nested too deeply.
    deep: u64,
    /// Numbers whose path is too long, empty, or has control characters in it.
    named: u64,
    /// Numbers above the maximum of a message.
    many: u64,
    /// Numbers of too great a magnitude.
    great: u64,
    /// Numbers of paths above the maximum of the project.
    paths: u64,
}

impl From<SeriesList> for SeriesDto {
    fn from(list: SeriesList) -> Self {
        let path = |path: iottly_store::SeriesPath| PathDto {
            path: path.path,
            seen: path.seen.into(),
        };
        Self {
            series: list.paths.into_iter().map(path).collect(),
            skipped: SkippedDto {
                deep: list.skipped.deep,
                named: list.skipped.named,
                many: list.skipped.many,
                great: list.skipped.great,
                paths: list.refused,
            },
            filling: list.filling,
            status: OK,
        }
    }
}

/// Points of a plot.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct PointsDto {
    /// Path of the series.
    path: String,
    /// Value of a point: `avg`, `min`, `max`, `sum`, `count` or `p95`.
    agg: &'static str,
    /// Division into lines: `none`, `device` or `group`.
    by: &'static str,
    /// Source of the points: `raw`, `minute` or `hour`.
    resolution: &'static str,
    /// Length of a step, in milliseconds.
    step_ms: i64,
    /// Beginning, included.
    from: Date,
    /// End, excluded.
    to: Date,
    /// Number of devices.
    devices: usize,
    /// Lines, one for all devices or one for each device or group that has values.
    lines: Vec<LineDto>,
    /// HTTP status: always 200.
    status: u16,
}

/// Line of a plot.
#[derive(Debug, Serialize, ToSchema)]
struct LineDto {
    /// Id of the device or group; absent for the line of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    id: Option<String>,
    /// Name of the device or group.
    name: String,
    /// Number of values.
    count: u64,
    /// Average of all values.
    avg: f64,
    /// Lowest value.
    min: f64,
    /// Highest value.
    max: f64,
    /// Number of messages that are missing in the histories of the line's devices.
    missing: u64,
    /// Points, in the order of time. A point without a value is a pause in the line.
    points: Vec<PointDto>,
}

/// Point of a line.
#[derive(Debug, Serialize, ToSchema)]
struct PointDto {
    /// Start of the step, in Unix milliseconds.
    at: i64,
    /// Value; null for a pause.
    value: Option<f64>,
    /// Lowest value of the step; null for a pause.
    min: Option<f64>,
    /// Highest value of the step; null for a pause.
    max: Option<f64>,
    /// Number of messages that are missing here.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(value_type = Option<u64>)]
    missing: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl PointsDto {
    pub(in super::super) fn of(asked: &Asked, plot: &Plot, names: &Named) -> Self {
        Self {
            path: asked.request.path.clone(),
            agg: asked.request.aggregate.as_str(),
            by: asked.request.split.as_str(),
            resolution: plot.plan.resolution.as_str(),
            step_ms: plot.plan.step_ms,
            from: asked.request.range.from.into(),
            to: asked.request.range.to.into(),
            devices: plot.devices,
            lines: plot
                .lines
                .iter()
                .map(|line| LineDto::of(line, names, plot.plan.step_ms))
                .collect(),
            status: OK,
        }
    }
}

impl LineDto {
    fn of(line: &PlotLine, names: &Named, step_ms: i64) -> Self {
        let whole = &line.whole;
        let mut points: Vec<PointDto> = Vec::new();
        for piece in &line.pieces {
            if let Some(last) = points.last() {
                points.push(PointDto {
                    at: last.at + step_ms,
                    value: None,
                    min: None,
                    max: None,
                    missing: piece.missing,
                });
            }
            points.extend(piece.points.iter().map(|point| PointDto {
                at: point.at,
                value: Some(point.value),
                min: Some(point.min),
                max: Some(point.max),
                missing: 0,
            }));
        }
        Self {
            id: line.key.clone(),
            name: names.of(line).to_owned(),
            count: whole.count,
            avg: Aggregate::Avg.of(whole),
            min: whole.min,
            max: whole.max,
            missing: line.missing,
            points,
        }
    }
}
