//! Lines of a plot: buckets of a series, the pauses between them, and fewer points for a picture.

use super::lttb::{Point, lttb};
use super::plan::Aggregate;
use super::rollup::Rollup;
use crate::model::UnixMs;

/// Values of a line within one step of a plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Start of the step.
    pub at: UnixMs,
    /// Values of the step.
    pub rollup: Rollup,
}

impl Bucket {
    /// Returns the bucket's point of a plot.
    #[must_use]
    pub fn point(&self, aggregate: Aggregate) -> Point {
        Point {
            at: self.at,
            value: aggregate.of(&self.rollup),
        }
    }
}

/// Line of a plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Id of the device or group; none for the line of all.
    pub key: Option<String>,
    /// Buckets that hold values, in the order of time.
    pub buckets: Vec<Bucket>,
    /// Number of messages that are missing in the histories of the line's devices, by the start of the bucket in which
    /// the cloud learned of it.
    pub missing: Vec<(UnixMs, u64)>,
}

impl Line {
    /// Returns the roll-up of the whole line; none for a line without values.
    #[must_use]
    pub fn whole(&self) -> Option<Rollup> {
        let mut buckets = self.buckets.iter();
        let mut whole = buckets.next()?.rollup.clone();
        for bucket in buckets {
            whole.merge(&bucket.rollup);
        }
        Some(whole)
    }

    /// Returns the number of messages that are missing.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.missing.iter().map(|(_, count)| count).sum()
    }
}

/// Part of a line without a pause in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Buckets of the piece, in the order of time; at least one.
    pub buckets: Vec<Bucket>,
    /// Number of messages that are missing between the former piece (or the plot's beginning) and this one's end.
    pub missing: u64,
}

/// Number of usual distances between two buckets from which on the line breaks.
const PAUSE: UnixMs = 3;

/// Divides a line where it has a pause: a distance of more than three times the usual one (the median), or one in which
/// the cloud learned of missing messages and at least one step is empty.
#[must_use]
pub fn pieces(line: &Line, step_ms: UnixMs) -> Vec<Piece> {
    let mut distances: Vec<_> = line
        .buckets
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect();
    distances.sort_unstable();
    let usual = distances
        .get(distances.len() / 2)
        .copied()
        .unwrap_or(step_ms)
        .max(step_ms);
    let mut missing = line.missing.iter().peekable();
    let mut pieces: Vec<Piece> = Vec::new();
    for bucket in &line.buckets {
        let mut lost = 0_u64;
        while let Some((_, count)) = missing.next_if(|(at, _)| *at <= bucket.at) {
            lost += count;
        }
        match pieces.last_mut() {
            Some(piece)
                if piece.buckets.last().is_none_or(|last| {
                    let distance = bucket.at - last.at;
                    distance <= PAUSE * usual && (lost == 0 || distance <= step_ms)
                }) =>
            {
                piece.buckets.push(bucket.clone());
                piece.missing += lost;
            }
            _ => pieces.push(Piece {
                buckets: vec![bucket.clone()],
                missing: lost,
            }),
        }
    }
    if let Some(last) = pieces.last_mut() {
        last.missing += missing.map(|(_, count)| count).sum::<u64>();
    }
    pieces
}

/// Returns the points of a piece, at most `share` of them in proportion to its part of `all` buckets.
#[must_use]
pub fn thin(piece: &Piece, aggregate: Aggregate, all: usize, limit: usize) -> Vec<Point> {
    let points: Vec<_> = piece
        .buckets
        .iter()
        .map(|bucket| bucket.point(aggregate))
        .collect();
    if all <= limit {
        return points;
    }
    lttb(&points, points.len() * limit / all.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(minutes: &[UnixMs], missing: &[(UnixMs, u64)]) -> Line {
        let bucket = |minute: &UnixMs| Bucket {
            at: minute * 60_000,
            rollup: Rollup::of(1.0),
        };
        Line {
            key: None,
            buckets: minutes.iter().map(bucket).collect(),
            missing: missing
                .iter()
                .map(|(minute, count)| (minute * 60_000, *count))
                .collect(),
        }
    }

    fn parts(line: &Line) -> Vec<(usize, u64)> {
        let pieces = pieces(line, 60_000);
        pieces
            .iter()
            .map(|piece| (piece.buckets.len(), piece.missing))
            .collect()
    }

    #[test]
    fn a_line_breaks_at_an_unusual_pause_only() {
        assert_eq!(parts(&line(&[0, 1, 2, 3, 9, 10], &[])), [(4, 0), (2, 0)]);
        // A device that sends every five minutes has no pause.
        assert_eq!(parts(&line(&[0, 5, 10, 15, 30, 46], &[])), [(5, 0), (1, 0)]);
        assert!(parts(&line(&[], &[])).is_empty());
    }

    #[test]
    fn missing_messages_break_the_line_and_stand_at_the_break() {
        assert_eq!(parts(&line(&[0, 1, 3, 4], &[(3, 46)])), [(2, 0), (2, 46)]);
        // Without an empty step there is no place for a break.
        assert_eq!(parts(&line(&[0, 1, 2], &[(1, 5), (7, 1)])), [(3, 6)]);
    }

    #[test]
    fn pieces_share_the_points() {
        let line = line(&(0..1000).collect::<Vec<_>>(), &[]);
        let piece = &pieces(&line, 60_000)[0];
        assert_eq!(thin(piece, Aggregate::Avg, 1000, 100).len(), 100);
        assert_eq!(thin(piece, Aggregate::Avg, 1000, 1000).len(), 1000);
        assert_eq!(line.whole().map(|whole| whole.count), Some(1000));
    }
}
