//! The plan of a plot: the resolution that its range needs, and the refusal of what would be too much.

use serde::{Deserialize, Serialize};

use super::rollup::{MINUTES_KEPT_MS, Rollup, Width};
use crate::model::UnixMs;

const HOUR_MS: UnixMs = 60 * 60 * 1000;
const DAY_MS: UnixMs = 24 * HOUR_MS;

/// Minimum range of a plot, in milliseconds: a minute.
pub const MIN_RANGE_MS: UnixMs = 60_000;
/// Maximum range of a plot, in milliseconds: two years.
pub const MAX_RANGE_MS: UnixMs = 730 * DAY_MS;
/// Maximum number of points of a line.
pub const MAX_POINTS: usize = 5000;
/// Number of points of a line unless the caller says otherwise.
pub const DEFAULT_POINTS: usize = 500;
/// Maximum number of lines of a plot.
pub const MAX_LINES: usize = 20;
/// Maximum number of devices of a plot.
pub const MAX_DEVICES: usize = 100_000;
/// Maximum number of roll-ups that a plot may have to read: devices times minutes or hours.
pub const MAX_ROWS: u64 = 3_000_000;
/// Maximum number of roll-ups whose distributions a plot may have to read.
pub const MAX_SKETCHES: u64 = 300_000;
/// Maximum range for which single values are read, in milliseconds: an hour.
const RAW_MS: UnixMs = HOUR_MS;
/// Maximum age of the beginning of a range for which single values are read, in milliseconds.
const RAW_AGE_MS: UnixMs = 2 * HOUR_MS;
/// Number of days up to which minutes are preferred to hours, whatever the number of points.
const MINUTES_MS: UnixMs = 2 * DAY_MS;

/// Value of a point, made of the values of its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    /// Average of the values.
    #[default]
    Avg,
    /// Lowest value.
    Min,
    /// Highest value.
    Max,
    /// Sum of the values.
    Sum,
    /// Number of values.
    Count,
    /// Value below or at which 95 of 100 values are, within 1 %.
    P95,
}

impl Aggregate {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 6] = [Self::Avg, Self::Min, Self::Max, Self::Sum, Self::Count, Self::P95];

    /// Returns the name in requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::P95 => "p95",
        }
    }

    /// Returns the value for a roll-up.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is out of reach")]
    pub fn of(self, rollup: &Rollup) -> f64 {
        match self {
            Self::Avg => rollup.average(),
            Self::Min => rollup.min,
            Self::Max => rollup.max,
            Self::Sum => rollup.sum,
            Self::Count => rollup.count as f64,
            Self::P95 => rollup.p95(),
        }
    }
}

/// Division of the devices of a plot into lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// A single line over all devices.
    #[default]
    None,
    /// A line for each device.
    Device,
    /// A line for each deployment group.
    Group,
}

impl Split {
    /// Returns the name in requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Device => "device",
            Self::Group => "group",
        }
    }
}

/// Time that a plot shows: from `from` on, until before `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Beginning, included.
    pub from: UnixMs,
    /// End, excluded.
    pub to: UnixMs,
}

/// Source of a plot's points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Values of single messages.
    Raw,
    /// Roll-ups of minutes or hours.
    Rollups(Width),
}

impl Resolution {
    /// Returns the name in responses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Rollups(Width::Minute) => "minute",
            Self::Rollups(Width::Hour) => "hour",
        }
    }
}

/// Source and steps of a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Source of the points.
    pub resolution: Resolution,
    /// Length of a step, in milliseconds: a multiple of the resolution's width. The roll-ups of a step are merged.
    pub step_ms: UnixMs,
    /// Time that is read: the range, extended to whole steps.
    pub range: Range,
}

impl Plan {
    /// Returns the plan that reads minutes in place of single values.
    #[must_use]
    pub fn rolled_up(self, range: Range) -> Self {
        let (step_ms, range) = steps(range, Width::Minute, MAX_POINTS);
        Self {
            resolution: Resolution::Rollups(Width::Minute),
            step_ms,
            range,
        }
    }
}

/// Reason why there is no such plot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The range is too short or backwards.
    #[error("the range must be at least a minute, and its end after its beginning")]
    Short,
    /// The range is too long.
    #[error("the range has {days} days; at most {} are drawn at once", MAX_RANGE_MS / DAY_MS)]
    Long {
        /// Length of the range, in days.
        days: i64,
    },
    /// There are too many points of a line.
    #[error("{0} points were asked for; a line has 2 to {MAX_POINTS}")]
    Points(usize),
    /// There are too many devices for this range.
    #[error(
        "{devices} devices over this range are {rows} roll-ups to read, the limit is {max}; choose a group, fewer devices, or a shorter range{}",
        if *.sketches { ", or another aggregate than p95" } else { "" }
    )]
    Much {
        /// Number of devices.
        devices: usize,
        /// Number of roll-ups.
        rows: u64,
        /// Limit.
        max: u64,
        /// True if the limit is that of distributions.
        sketches: bool,
    },
    /// There are too many lines.
    #[error(
        "{lines} lines were asked for, at most {MAX_LINES} are drawn at once; choose a group, or no division"
    )]
    Lines {
        /// Number of lines.
        lines: usize,
    },
}

/// Returns the plan of a plot of `lines` lines over `devices` devices, with at most `points` points a line.
///
/// # Errors
/// [`PlanError`] names the bound that the plot exceeds.
pub fn plan(
    range: Range,
    points: usize,
    aggregate: Aggregate,
    (devices, lines): (usize, usize),
    now: UnixMs,
) -> Result<Plan, PlanError> {
    let length = range.to.saturating_sub(range.from);
    if length < MIN_RANGE_MS {
        return Err(PlanError::Short);
    }
    if length > MAX_RANGE_MS {
        return Err(PlanError::Long {
            days: length / DAY_MS,
        });
    }
    if !(2..=MAX_POINTS).contains(&points) {
        return Err(PlanError::Points(points));
    }
    if lines > MAX_LINES {
        return Err(PlanError::Lines { lines });
    }
    let width = width(range, points, now);
    let (step_ms, aligned) = steps(range, width, points);
    let rows = (((aligned.to - aligned.from) / width.ms()).unsigned_abs()).saturating_mul(devices as u64);
    let sketches = aggregate == Aggregate::P95;
    let max = if sketches { MAX_SKETCHES } else { MAX_ROWS };
    if rows > max || devices > MAX_DEVICES {
        return Err(PlanError::Much {
            devices,
            rows,
            max,
            sketches,
        });
    }
    let is_raw = devices == 1 && length <= RAW_MS && now.saturating_sub(range.from) <= RAW_AGE_MS;
    let counts = matches!(aggregate, Aggregate::Sum | Aggregate::Count);
    if is_raw && !counts {
        return Ok(Plan {
            resolution: Resolution::Raw,
            step_ms: 1,
            range,
        });
    }
    Ok(Plan {
        resolution: Resolution::Rollups(width),
        step_ms,
        range: aligned,
    })
}

/// Returns the length of a step, and the range in whole steps.
fn steps(range: Range, width: Width, points: usize) -> (UnixMs, Range) {
    // Twice as many steps as points: which of them stay is decided by the look of the line.
    let most = 2 * UnixMs::try_from(points).unwrap_or(UnixMs::MAX);
    let length = range.to.saturating_sub(range.from);
    let step_ms = width.ms() * (length / width.ms()).div_euclid(most).max(1);
    let aligned = Range {
        from: range.from.div_euclid(step_ms) * step_ms,
        to: (range.to.div_euclid(step_ms) + UnixMs::from(range.to.rem_euclid(step_ms) > 0)) * step_ms,
    };
    (step_ms, aligned)
}

/// Returns the width of the roll-ups for a range: minutes while they are kept and the picture can show them.
fn width(range: Range, points: usize, now: UnixMs) -> Width {
    let length = range.to - range.from;
    let hours = usize::try_from(length / Width::Hour.ms()).unwrap_or(usize::MAX);
    let gone = now.saturating_sub(range.from) > MINUTES_KEPT_MS;
    if !gone && (length <= MINUTES_MS || hours < points / 2) {
        Width::Minute
    } else {
        Width::Hour
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = 1_790_000_000_000;

    fn planned(length: UnixMs, points: usize, devices: usize) -> Result<Plan, PlanError> {
        let range = Range {
            from: NOW - length,
            to: NOW,
        };
        plan(range, points, Aggregate::Avg, (devices, 1), NOW)
    }

    #[test]
    fn the_range_decides_on_the_resolution() {
        let resolution =
            |length, devices| planned(length, 500, devices).map(|plan| (plan.resolution, plan.step_ms));
        let (minute, hour) = (
            Resolution::Rollups(Width::Minute),
            Resolution::Rollups(Width::Hour),
        );
        assert_eq!(resolution(15 * 60_000, 1), Ok((Resolution::Raw, 1)));
        assert_eq!(resolution(15 * 60_000, 2), Ok((minute, 60_000)));
        assert_eq!(resolution(DAY_MS, 1), Ok((minute, 60_000)));
        assert_eq!(resolution(7 * DAY_MS, 1), Ok((minute, 600_000)));
        assert_eq!(resolution(30 * DAY_MS, 100), Ok((hour, 3_600_000)));
        assert_eq!(resolution(90 * DAY_MS, 100), Ok((hour, 2 * 3_600_000)));
    }

    #[test]
    fn old_minutes_are_gone() {
        let range = Range {
            from: NOW - 100 * DAY_MS,
            to: NOW - 99 * DAY_MS,
        };
        let plan = plan(range, 500, Aggregate::Avg, (1, 1), NOW).expect("a plan");
        assert_eq!(plan.resolution, Resolution::Rollups(Width::Hour));
    }

    #[test]
    fn steps_cover_the_range_and_are_at_most_four_a_point() {
        for length in [60_000, 61_001, HOUR_MS, DAY_MS + 1, 37 * DAY_MS, MAX_RANGE_MS] {
            for points in [2, 50, 500, MAX_POINTS] {
                let plan = planned(length, points, 3).expect("a plan");
                let Range { from, to } = plan.range;
                assert!(
                    from <= NOW - length && to >= NOW && from % plan.step_ms == 0 && to % plan.step_ms == 0
                );
                let steps = (to - from) / plan.step_ms;
                assert!(steps <= 4 * points as i64 + 2, "{length} in {points}: {steps}");
            }
        }
    }

    #[test]
    fn what_is_too_much_is_refused_with_the_reason() {
        assert_eq!(planned(0, 500, 1), Err(PlanError::Short));
        assert_eq!(
            planned(MAX_RANGE_MS + DAY_MS, 500, 1),
            Err(PlanError::Long { days: 731 })
        );
        assert_eq!(planned(DAY_MS, 1, 1), Err(PlanError::Points(1)));
        let error = planned(90 * DAY_MS, 500, 10_000).expect_err("too much");
        assert_eq!(
            error.to_string(),
            "10000 devices over this range are 21620000 roll-ups to read, the limit is 3000000; choose a group, fewer \
             devices, or a shorter range"
        );
        let range = Range {
            from: NOW - DAY_MS,
            to: NOW,
        };
        assert_eq!(
            plan(range, 500, Aggregate::Avg, (30, 30), NOW),
            Err(PlanError::Lines { lines: 30 })
        );
        assert!(plan(range, 500, Aggregate::P95, (1000, 1), NOW).is_err());
    }
}
