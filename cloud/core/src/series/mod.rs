//! Series: the numbers in devices' messages over time. Extraction from payloads, roll-ups, latest values, and the plan and
//! the lines of a plot. Pure.

mod extract;
mod latest;
mod line;
mod lttb;
mod plan;
mod rollup;
mod sketch;

pub use extract::{
    Found, LATEST_TEXT_BYTES, MAX_DEPTH, MAX_MAGNITUDE, MAX_PATH_BYTES, MAX_VALUES, Skipped, extract, walk,
};
pub use latest::{Latest, LatestValue, MAX_LATEST, MAX_LATEST_BYTES, Newest, Reading};
pub use line::{Bucket, Line, Piece, pieces, thin};
pub use lttb::{Point, lttb};
pub use plan::{
    Aggregate, DEFAULT_POINTS, MAX_DEVICES, MAX_LINES, MAX_POINTS, MAX_RANGE_MS, MAX_ROWS, MAX_SKETCHES,
    MIN_RANGE_MS, Plan, PlanError, Range, Resolution, Split, plan,
};
pub use rollup::{HOURS_KEPT_MS, MAX_LATE_MS, MINUTES_KEPT_MS, Rollup, Width, made_at};
pub use sketch::{MAX_BUCKETS, RELATIVE_ERROR, Sketch, SketchError};

/// Maximum number of paths of a project that become series.
pub const MAX_PATHS: usize = 500;

/// Path of the series that counts the messages which are missing in histories: each value is the size of a gap, at the
/// time at which the cloud learned of it. No message has a path of this name, because a key of a path is never empty.
pub const MISSING: &str = "";

/// Path of the number of missing messages in the entry about a gap.
pub const GAP_COUNT: &str = "gap.count";
