//! Roll-ups: the values of a series within a minute or an hour, as one row.

use super::sketch::{Sketch, SketchError};
use crate::model::UnixMs;

const MINUTE_MS: UnixMs = 60_000;
const HOUR_MS: UnixMs = 60 * MINUTE_MS;
const DAY_MS: UnixMs = 24 * HOUR_MS;

/// Time for which roll-ups of minutes are kept, in milliseconds: 90 days.
pub const MINUTES_KEPT_MS: UnixMs = 90 * DAY_MS;
/// Time for which roll-ups of hours are kept, in milliseconds: two years.
pub const HOURS_KEPT_MS: UnixMs = 730 * DAY_MS;
/// Maximum age of a message at its receipt for which the device's time of it is taken, in milliseconds: 400 days. An
/// older time is that of a wrong clock.
pub const MAX_LATE_MS: UnixMs = 400 * DAY_MS;
/// Maximum time by which a device's clock may be ahead of the cloud's, in milliseconds.
const MAX_AHEAD_MS: UnixMs = MINUTE_MS;

/// Length of time that a roll-up covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl Width {
    /// Both widths, the shorter first.
    pub const ALL: [Self; 2] = [Self::Minute, Self::Hour];

    /// Returns the length, in milliseconds.
    #[must_use]
    pub const fn ms(self) -> UnixMs {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Hour => HOUR_MS,
        }
    }

    /// Returns the start of the minute or hour that holds a time.
    #[must_use]
    pub const fn start(self, at: UnixMs) -> UnixMs {
        at.div_euclid(self.ms()).saturating_mul(self.ms())
    }

    /// Returns the time for which roll-ups of this width are kept, in milliseconds.
    #[must_use]
    pub const fn kept_ms(self) -> UnixMs {
        match self {
            Self::Minute => MINUTES_KEPT_MS,
            Self::Hour => HOURS_KEPT_MS,
        }
    }
}

/// Returns the time at which a message counts: that of the device, so that late messages come into their own minute;
/// that of the receipt when the device's clock is plainly wrong.
#[must_use]
pub const fn made_at(device: UnixMs, received: UnixMs) -> UnixMs {
    if device > received.saturating_add(MAX_AHEAD_MS)
        || device < received.saturating_sub(MAX_LATE_MS)
        || device < 0
    {
        received
    } else {
        device
    }
}

/// Count, sum, bounds and distribution of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollup {
    /// Number of values.
    pub count: u64,
    /// Sum of the values.
    pub sum: f64,
    /// Lowest value.
    pub min: f64,
    /// Highest value.
    pub max: f64,
    /// Distribution of the values; empty up to two values, which are the lowest and the highest one.
    sketch: Sketch,
}

impl Rollup {
    /// Returns the roll-up of one value.
    #[must_use]
    pub fn of(value: f64) -> Self {
        Self {
            count: 1,
            sum: value,
            min: value,
            max: value,
            sketch: Sketch::default(),
        }
    }

    /// Returns a roll-up that was stored: its numbers, and its distribution as [`packed`](Self::packed) gave it.
    ///
    /// # Errors
    /// If the bytes are no distribution.
    pub fn stored(count: u64, sum: f64, min: f64, max: f64, packed: &[u8]) -> Result<Self, SketchError> {
        Ok(Self {
            count,
            sum,
            min,
            max,
            sketch: Sketch::unpack(packed)?,
        })
    }

    /// Returns a roll-up of these numbers and this distribution, which is of the same values.
    #[must_use]
    pub fn gathered(count: u64, sum: f64, min: f64, max: f64, sketch: Sketch) -> Self {
        let sketch = if count <= 2 { Sketch::default() } else { sketch };
        Self {
            count,
            sum,
            min,
            max,
            sketch,
        }
    }

    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        if self.count >= 2 {
            self.spread();
            self.sketch.add(value);
        }
        self.count = self.count.saturating_add(1);
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Adds the values of another roll-up.
    pub fn merge(&mut self, other: &Self) {
        let count = self.count.saturating_add(other.count);
        if count > 2 {
            self.spread();
            if other.count > 2 {
                self.sketch.merge(&other.sketch);
            } else {
                for value in other.few() {
                    self.sketch.add(value);
                }
            }
        }
        self.count = count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Puts the values of a roll-up of at most two, which is about to hold more, into its sketch.
    fn spread(&mut self) {
        if self.count <= 2 {
            let mut sketch = Sketch::default();
            for value in self.few() {
                sketch.add(value);
            }
            self.sketch = sketch;
        }
    }

    /// Returns the values of a roll-up of at most two.
    fn few(&self) -> impl Iterator<Item = f64> + use<> {
        [self.min, self.max]
            .into_iter()
            .take(usize::try_from(self.count).unwrap_or(2).min(2))
    }

    /// Returns the average of the values.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is out of reach")]
    pub fn average(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    /// Returns the value below or at which 95 of 100 values are, with the sketch's relative error.
    #[must_use]
    pub fn p95(&self) -> f64 {
        if self.count <= 2 {
            return self.max;
        }
        self.sketch
            .quantile(0.95)
            .unwrap_or(self.max)
            .clamp(self.min, self.max)
    }

    /// Returns the distribution as bytes; no bytes for at most two values.
    #[must_use]
    pub fn packed(&self) -> Vec<u8> {
        if self.count <= 2 {
            Vec::new()
        } else {
            self.sketch.pack()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Rollup {
        let mut rollup = Rollup::of(values[0]);
        for value in &values[1..] {
            rollup.add(*value);
        }
        rollup
    }

    proptest! {
        #[test]
        fn parts_in_any_order_make_the_whole(
            values in prop::collection::vec(-100..100_i32, 1..40), cuts in prop::collection::vec(1_usize..4, 1..40)
        ) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let mut parts = Vec::new();
            let mut rest = values.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (part, left) = rest.split_at((*cut).min(rest.len()));
                let part = of(part);
                let packed = Rollup::stored(part.count, part.sum, part.min, part.max, &part.packed());
                parts.push(packed.unwrap());
                rest = left;
            }
            let last = parts.pop().unwrap();
            let merged = parts.iter().fold(last, |mut sum, part| { sum.merge(part); sum });
            prop_assert_eq!(merged, of(&values));
        }
    }

    #[test]
    fn few_values_need_no_sketch_and_are_exact() {
        assert!(of(&[3.0]).packed().is_empty() && of(&[3.0, 1.0]).packed().is_empty());
        assert_eq!(
            (of(&[3.0]).p95(), of(&[3.0, 1.0]).p95(), of(&[3.0, 1.0]).average()),
            (3.0, 3.0, 2.0)
        );
        assert!(!of(&[1.0, 2.0, 3.0]).packed().is_empty());
    }

    #[test]
    fn a_time_that_no_right_clock_has_is_replaced_by_that_of_the_receipt() {
        let now = 2 * MAX_LATE_MS;
        for (device, counted) in [
            (now - 3 * HOUR_MS, now - 3 * HOUR_MS),
            (now + MINUTE_MS, now + MINUTE_MS),
            (now + MINUTE_MS + 1, now),
            (now - MAX_LATE_MS - 1, now),
            (UnixMs::MIN, now),
            (UnixMs::MAX, now),
        ] {
            assert_eq!(made_at(device, now), counted);
        }
        assert_eq!(
            (Width::Hour.start(-1), Width::Minute.start(90_000)),
            (-HOUR_MS, MINUTE_MS)
        );
    }
}
