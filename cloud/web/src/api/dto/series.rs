//! Series and plots.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Date, OK};
use crate::api::series::{Asked, Named};
use iottly_cloud::series::{Plot, PlotLine};
use iottly_core::series::Aggregate;
use iottly_store::SeriesList;

/// Series of a project.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SeriesDto {
    /// Paths of numbers in messages, sorted.
    pub series: Vec<PathDto>,
    /// Numbers that became no points.
    pub skipped: SkippedDto,
    /// Number of devices whose older messages are still to be rolled up.
    pub filling: u64,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Path of numbers in messages.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PathDto {
    /// Keys that lead to the number, joined with `.`.
    pub path: String,
    /// Start of the newest hour with a value.
    pub seen: Date,
}

/// Numbers that became no points, by reason.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SkippedDto {
    /// Objects and arrays that are nested too deeply.
    pub deep: u64,
    /// Numbers whose path is too long, empty, or has control characters in it.
    pub named: u64,
    /// Numbers above the maximum of a message.
    pub many: u64,
    /// Numbers of too great a magnitude.
    pub great: u64,
    /// Numbers of paths above the maximum of the project.
    pub paths: u64,
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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PointsDto {
    /// Path of the series.
    pub path: String,
    /// Value of a point: `avg`, `min`, `max`, `sum`, `count` or `p95`.
    pub agg: Cow<'static, str>,
    /// Division into lines: `none`, `device` or `group`.
    pub by: Cow<'static, str>,
    /// Source of the points: `raw`, `minute` or `hour`.
    pub resolution: Cow<'static, str>,
    /// Length of a step, in milliseconds.
    pub step_ms: i64,
    /// Beginning, included.
    pub from: Date,
    /// End, excluded.
    pub to: Date,
    /// Number of devices.
    pub devices: usize,
    /// Lines, one for all devices or one for each device or group that has values.
    pub lines: Vec<LineDto>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Line of a plot.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LineDto {
    /// Id of the device or group; absent for the line of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<String>,
    /// Name of the device or group.
    pub name: String,
    /// Number of values.
    pub count: u64,
    /// Average of all values.
    pub avg: f64,
    /// Lowest value.
    pub min: f64,
    /// Highest value.
    pub max: f64,
    /// Number of messages that are missing in the histories of the line's devices.
    pub missing: u64,
    /// Points, in the order of time. A point without a value is a pause in the line.
    pub points: Vec<PointDto>,
}

/// Point of a line.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PointDto {
    /// Start of the step, in Unix milliseconds.
    pub at: i64,
    /// Value; null for a pause.
    pub value: Option<f64>,
    /// Lowest value of the step; null for a pause.
    pub min: Option<f64>,
    /// Highest value of the step; null for a pause.
    pub max: Option<f64>,
    /// Number of messages that are missing here.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(value_type = Option<u64>)]
    pub missing: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl PointsDto {
    pub(in super::super) fn of(asked: &Asked, plot: &Plot, names: &Named) -> Self {
        Self {
            path: asked.request.path.clone(),
            agg: asked.request.aggregate.as_str().into(),
            by: asked.request.split.as_str().into(),
            resolution: plot.plan.resolution.as_str().into(),
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
