//! Scales of a drawing: values and times that stand at its edges, and their texts. Pure.

use iottly_core::model::UnixMs;
use iottly_filter::date;

const MINUTE_MS: UnixMs = 60_000;
const HOUR_MS: UnixMs = 60 * MINUTE_MS;
const DAY_MS: UnixMs = 24 * HOUR_MS;
/// Distances between two times at the edge.
const STEPS: [UnixMs; 15] = [
    MINUTE_MS,
    2 * MINUTE_MS,
    5 * MINUTE_MS,
    10 * MINUTE_MS,
    15 * MINUTE_MS,
    30 * MINUTE_MS,
    HOUR_MS,
    3 * HOUR_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    DAY_MS,
    2 * DAY_MS,
    7 * DAY_MS,
    14 * DAY_MS,
    30 * DAY_MS,
];

/// Values at the edge: round numbers from below the lowest value to above the highest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Values {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<f64>,
}

/// Returns about `count` round values that cover a range.
pub(super) fn values(low: f64, high: f64, count: u32) -> Values {
    // A line of one value has room above and below.
    let (low, high) = if high - low > low.abs().max(high.abs()) * 1e-9 {
        (low, high)
    } else {
        let room = low.abs().max(1.0) * 0.1;
        (low - room, high + room)
    };
    let rough = (high - low) / f64::from(count.max(1));
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
    let steps = ((high - low) / step).round().clamp(1.0, 50.0) as u32;
    let ticks = (0..=steps).map(|n| low + f64::from(n) * step).collect();
    Values { low, high, ticks }
}

/// Returns a number with at most four decimal places, as many as its step needs, and a true minus sign.
pub(in super::super) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-3..1e9).contains(&magnitude) {
        return format!("{value:.2e}").replace('-', "\u{2212}");
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let text = if text == "-0" { "0" } else { text };
    text.replace('-', "\u{2212}")
}

/// Returns at most `count` round times in a range, with their texts.
pub(in super::super) fn times(from: UnixMs, to: UnixMs, count: UnixMs) -> Vec<(UnixMs, String)> {
    let length = to.saturating_sub(from).max(1);
    let step = STEPS
        .into_iter()
        .find(|step| length / step <= count)
        .unwrap_or_else(|| (length / count.max(1) / DAY_MS + 1) * DAY_MS);
    let first = from.div_euclid(step) * step + if from.rem_euclid(step) > 0 { step } else { 0 };
    (0..=count)
        .map(|n| first + n * step)
        .filter(|at| *at < to)
        .map(|at| (at, text(at, step)))
        .collect()
}

/// Returns a time of day, or a date where a step is a day or more.
fn text(at: UnixMs, step: UnixMs) -> String {
    let iso = date::format(at);
    let (date, time) = iso.split_once('T').unwrap_or((&iso, ""));
    if step >= DAY_MS {
        date.get(5..).unwrap_or(date).to_owned()
    } else {
        time.get(..5).unwrap_or(time).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_round_and_cover_the_range() {
        assert_eq!(values(-19.7, -1.6, 6).ticks, [-20.0, -15.0, -10.0, -5.0, 0.0]);
        for (low, high) in [
            (0.0, 0.0),
            (5.0, 5.0),
            (-1e150, 1e150),
            (1e-12, 2e-12),
            (3.0, 3.0 + 1e-15),
        ] {
            let values = values(low, high, 6);
            assert!(
                values.low <= low && values.high >= high && values.low < values.high,
                "{low} {high}"
            );
            assert!((2..=51).contains(&values.ticks.len()));
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (-18.0, "\u{2212}18"),
            (0.25, "0.25"),
            (-0.0, "0"),
            (1e12, "1.00e12"),
            (1.23456789, "1.2346"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn times_are_round() {
        let at = 1_790_000_000_000;
        let times = times(at, at + DAY_MS, 8);
        assert_eq!(times.len(), 8);
        assert!(
            times
                .iter()
                .all(|(at, text)| at % (3 * HOUR_MS) == 0 && text.ends_with(":00"))
        );
        assert!(super::times(at, at + 700 * DAY_MS, 8).len() <= 9);
    }
}
