//! Largest triangle three buckets: fewer points that keep the look of a line.

/// Point of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Time, in Unix milliseconds.
    pub at: i64,
    /// Value.
    pub value: f64,
}

/// Returns at most `limit` of the points (at least two), the first and the last among them. Between them, of each of
/// equally many neighbours the one stays that spans the largest triangle with the point before and the average of the
/// next neighbours: peaks stay, noise goes.
#[must_use]
pub fn lttb(points: &[Point], limit: usize) -> Vec<Point> {
    let limit = limit.max(2);
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    if points.len() <= limit {
        return points.to_vec();
    }
    let inner = &points[1..points.len() - 1];
    let buckets = limit - 2;
    // Where bucket `n` of the inner points begins.
    let start = |n: usize| n * inner.len() / buckets.max(1);
    let mut kept = Vec::with_capacity(limit);
    let mut former = *first;
    kept.push(former);
    for bucket in 0..buckets {
        let next = match inner.get(start(bucket + 1)..start((bucket + 2).min(buckets))) {
            Some(next) if !next.is_empty() => average(next, first.at),
            _ => Point {
                at: last.at - first.at,
                value: last.value,
            },
        };
        let mut largest = (f64::NEG_INFINITY, former);
        for point in &inner[start(bucket)..start(bucket + 1)] {
            let area = area(
                relative(former, first.at),
                relative(*point, first.at),
                (time(next.at), next.value),
            );
            if area > largest.0 {
                largest = (area, *point);
            }
        }
        former = largest.1;
        kept.push(former);
    }
    kept.push(*last);
    kept
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a picture does not show a difference of a part in 2^53"
)]
fn time(at: i64) -> f64 {
    at as f64
}

fn relative(point: Point, origin: i64) -> (f64, f64) {
    (time(point.at.saturating_sub(origin)), point.value)
}

/// Returns the average of points, its time relative to `origin`.
fn average(points: &[Point], origin: i64) -> Point {
    let count = points.len().max(1);
    let at: i64 = points
        .iter()
        .map(|point| point.at.saturating_sub(origin) / count as i64)
        .sum();
    let value = points.iter().map(|point| point.value / count as f64).sum();
    Point { at, value }
}

/// Returns twice the area of a triangle.
fn area(a: (f64, f64), b: (f64, f64), c: (f64, f64)) -> f64 {
    ((a.0 - c.0) * (b.1 - a.1) - (a.0 - b.0) * (c.1 - a.1)).abs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(values: &[f64]) -> Vec<Point> {
        (0..)
            .step_by(1000)
            .zip(values)
            .map(|(at, value)| Point { at, value: *value })
            .collect()
    }

    #[test]
    fn a_peak_stays() {
        let mut values = vec![0.0; 10_000];
        values[4321] = 7.0;
        let kept = lttb(&line(&values), 100);
        assert_eq!(kept.len(), 100);
        assert!(
            kept.iter()
                .any(|point| point.value == 7.0 && point.at == 4_321_000)
        );
    }

    #[test]
    fn few_points_stay_as_they_are() {
        let points = line(&[1.0, 5.0, 2.0]);
        assert_eq!(lttb(&points, 3), points);
        assert_eq!(lttb(&points, 0), [points[0], points[2]]);
        assert!(lttb(&[], 10).is_empty());
    }

    proptest! {
        #[test]
        fn points_stay_in_order_and_both_ends_stay(
            values in prop::collection::vec(-1e150..1e150_f64, 1..500), limit in 0_usize..120
        ) {
            let points = line(&values);
            let kept = lttb(&points, limit);
            prop_assert!(kept.len() == points.len().min(limit.max(2)));
            prop_assert!(kept.windows(2).all(|pair| pair[0].at < pair[1].at));
            prop_assert!(kept.first() == points.first() && kept.last() == points.last());
            prop_assert!(kept.iter().all(|point| points.contains(point)));
        }
    }
}
