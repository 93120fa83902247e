//! A mergeable sketch of values for quantiles with a bounded relative error.
//!
//! Values are counted in slots whose borders grow by a constant factor, as in DDSketch, so that every value of a slot is
//! within [`RELATIVE_ERROR`] of the slot's middle. When there are too many slots, the lowest ones are counted as one:
//! high quantiles stay exact to the error.

/// Maximum relative error of a quantile.
pub const RELATIVE_ERROR: f64 = 0.01;
/// Maximum number of slots of a sketch.
pub const MAX_BUCKETS: usize = 512;

/// Ratio of a slot's upper border to its lower one.
const GROWTH: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);
/// Magnitude below which a value counts as zero.
const TINY: f64 = 1e-300;
/// Number that is added to the index of a magnitude, so that slots of positive values are positive: more than the
/// magnitude of the index of `TINY`, 34,537.
const OFFSET: i32 = 40_000;

/// Counts of values by slot. Slots are ordered as their values: those of negative values are negative, 0 is zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Slots that hold values and their counts, in ascending order.
    slots: Vec<(i32, u64)>,
}

/// Bytes that are no sketch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes are no sketch of values")]
pub struct SketchError;

impl Sketch {
    /// Counts a value.
    pub fn add(&mut self, value: f64) {
        self.count(slot(value), 1);
        self.bound();
    }

    fn count(&mut self, slot: i32, count: u64) {
        match self.slots.binary_search_by_key(&slot, |(slot, _)| *slot) {
            Ok(at) => self.slots[at].1 = self.slots[at].1.saturating_add(count),
            Err(at) => self.slots.insert(at, (slot, count)),
        }
    }

    /// Adds the counts of another sketch. Sketches of one series have mostly the same slots, whose counts are added in place.
    pub fn merge(&mut self, other: &Self) {
        let (mut at, mut new) = (0, Vec::new());
        for (slot, count) in &other.slots {
            while self.slots.get(at).is_some_and(|(ours, _)| ours < slot) {
                at += 1;
            }
            match self.slots.get_mut(at) {
                Some((ours, sum)) if ours == slot => *sum = sum.saturating_add(*count),
                _ => new.push((*slot, *count)),
            }
        }
        if !new.is_empty() {
            self.slots.append(&mut new);
            // Two ascending runs, which a stable sort merges in one pass.
            self.slots.sort_by_key(|(slot, _)| *slot);
        }
        self.bound();
    }

    /// Counts the lowest slots as one until there are few enough.
    fn bound(&mut self) {
        let excess = self.slots.len().saturating_sub(MAX_BUCKETS);
        if excess > 0 {
            let lowest = self
                .slots
                .drain(..excess)
                .fold(0_u64, |sum, (_, count)| sum.saturating_add(count));
            self.slots[0].1 = self.slots[0].1.saturating_add(lowest);
        }
    }

    /// Returns the value below or at which this part of the values is, from 0 to 1; none without values.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among more than 2^53 values need not be exact"
    )]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let all: u64 = self
            .slots
            .iter()
            .fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        let rank = ((all as f64 * part).ceil() as u64).clamp(1, all.max(1));
        let mut below = 0_u64;
        let found = self.slots.iter().find(|(_, count)| {
            below = below.saturating_add(*count);
            below >= rank
        });
        found.map(|(slot, _)| middle(*slot))
    }

    /// Returns the sketch as bytes: for each slot its distance from the former one and its count, as variable-length
    /// numbers.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.slots.len() * 3);
        let mut former = 0_i32;
        for (at, (slot, count)) in self.slots.iter().enumerate() {
            let distance = slot.wrapping_sub(former);
            // The first may be negative; its sign is its lowest bit.
            let distance = if at == 0 {
                u64::from(((distance << 1) ^ (distance >> 31)).cast_unsigned())
            } else {
                u64::from(distance.unsigned_abs())
            };
            push(&mut bytes, distance);
            push(&mut bytes, *count);
            former = *slot;
        }
        bytes
    }

    /// Reads what [`pack`](Self::pack) returned.
    ///
    /// # Errors
    /// If the bytes are no sketch.
    pub fn unpack(mut bytes: &[u8]) -> Result<Self, SketchError> {
        let mut slots = Vec::with_capacity((bytes.len() / 2).min(MAX_BUCKETS));
        let mut former = 0_i64;
        while !bytes.is_empty() {
            let distance = i64::try_from(pull(&mut bytes)?).map_err(|_| SketchError)?;
            let count = pull(&mut bytes)?;
            let slot = if slots.is_empty() {
                (distance >> 1) ^ -(distance & 1)
            } else if distance > 0 {
                former.checked_add(distance).ok_or(SketchError)?
            } else {
                return Err(SketchError);
            };
            if slots.len() >= MAX_BUCKETS || slot.abs() > i64::from(2 * OFFSET) || count == 0 {
                return Err(SketchError);
            }
            slots.push((i32::try_from(slot).map_err(|_| SketchError)?, count));
            former = slot;
        }
        Ok(Self { slots })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the logarithm of a double has at most five digits"
)]
fn slot(value: f64) -> i32 {
    let magnitude = value.abs();
    if magnitude < TINY || value.is_nan() {
        return 0;
    }
    let index = (magnitude.min(f64::MAX).ln() / GROWTH.ln()).ceil() as i32 + OFFSET;
    if value > 0.0 { index } else { -index }
}

/// Returns the value of a slot that is within the error of all of the slot's values.
fn middle(slot: i32) -> f64 {
    if slot == 0 {
        return 0.0;
    }
    let exponent = f64::from(slot.abs() - OFFSET) * GROWTH.ln() + (2.0 / (GROWTH + 1.0)).ln();
    let magnitude = exponent.exp().min(f64::MAX);
    if slot > 0 { magnitude } else { -magnitude }
}

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn pull(bytes: &mut &[u8]) -> Result<u64, SketchError> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(SketchError)?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(SketchError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        for value in values {
            sketch.add(*value);
        }
        sketch
    }

    /// Returns the value of a quantile by its definition.
    fn exact(values: &[f64], part: f64) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len()) - 1]
    }

    fn near(found: f64, exact: f64) -> bool {
        (found - exact).abs() <= exact.abs() * (RELATIVE_ERROR + 1e-9) + TINY
    }

    /// Values of many magnitudes and both signs.
    fn wide() -> impl Strategy<Value = f64> {
        (any::<bool>(), -8.0..8.0_f64, 0_u8..20).prop_map(|(negative, exponent, zero)| match zero {
            0 => 0.0,
            _ if negative => -(10_f64.powf(exponent)),
            _ => 10_f64.powf(exponent),
        })
    }

    proptest! {
        #[test]
        fn the_95th_percentile_is_within_one_percent(values in prop::collection::vec(wide(), 1..3000)) {
            prop_assert!(near(of(&values).quantile(0.95).unwrap(), exact(&values, 0.95)));
        }

        #[test]
        fn every_quantile_of_values_of_few_magnitudes_is_within_one_percent(
            values in prop::collection::vec(1.0..1000.0_f64, 1..2000), part in 0.0..=1.0_f64
        ) {
            prop_assert!(near(of(&values).quantile(part).unwrap(), exact(&values, part)));
        }

        #[test]
        fn merged_parts_are_the_sketch_of_the_whole(
            values in prop::collection::vec(-50.0..50.0_f64, 1..400), at in 0_usize..400
        ) {
            let at = at.min(values.len());
            let mut merged = of(&values[..at]);
            merged.merge(&of(&values[at..]));
            let whole = of(&values);
            if merged.slots.len() < MAX_BUCKETS {
                prop_assert_eq!(&merged, &whole);
            }
            prop_assert!(near(merged.quantile(0.95).unwrap(), exact(&values, 0.95)));
        }

        #[test]
        fn a_packed_sketch_is_unpacked(values in prop::collection::vec(any::<f64>(), 0..1000)) {
            let sketch = of(&values);
            prop_assert!(sketch.slots.len() <= MAX_BUCKETS);
            prop_assert_eq!(Sketch::unpack(&sketch.pack()), Ok(sketch));
        }

        #[test]
        fn odd_bytes_are_an_error_or_a_sketch(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(sketch) = Sketch::unpack(&bytes) {
                let _ = sketch.quantile(0.95);
            }
        }
    }

    #[test]
    fn borders_and_extremes_have_their_slots() {
        for value in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 1.0, -1.0, 1e-300, 0.0] {
            assert!(near(middle(slot(value)), value), "{value}");
        }
        assert_eq!(Sketch::default().quantile(0.95), None);
        assert_eq!((slot(f64::INFINITY), slot(f64::NAN)), (slot(f64::MAX), 0));
    }
}
