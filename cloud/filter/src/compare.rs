//! MongoDB's total order of values, with the steps that each comparison takes.

use std::cmp::Ordering;

use crate::{Decimal, Document, Value};

/// Bytes of two texts that are compared in one step.
const BYTES_A_STEP: usize = 32;
/// Steps of a comparison.
const VALUE_STEPS: u64 = 4;
/// Steps of a comparison with a decimal: the other number is written out in decimal digits first.
const DECIMAL_STEPS: u64 = 384;

impl Value {
    /// Rank of the value's type in MongoDB's sort order; comparison operators never cross it.
    pub(super) fn canonical(&self) -> i8 {
        match self {
            Self::MinKey => i8::MIN,
            Self::Null => 5,
            Self::Int(_) | Self::Long(_) | Self::Double(_) | Self::Decimal(_) => 10,
            Self::String(_) => 15,
            Self::Object(_) => 20,
            Self::Array(_) => 25,
            Self::Binary(..) => 30,
            Self::ObjectId(_) => 35,
            Self::Bool(_) => 40,
            Self::Date(_) => 45,
            Self::Timestamp(..) => 47,
            Self::Regex(..) => 50,
            Self::MaxKey => i8::MAX,
        }
    }

    /// Compares by type rank, then by value: a total order of all values.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.compare(other, &mut 0)
    }

    /// Does the same as [`Value::order`] and adds the steps that it took, which the smaller of the two values
    /// bounds.
    pub(super) fn compare(&self, other: &Self, steps: &mut u64) -> Ordering {
        *steps += VALUE_STEPS;
        self.canonical()
            .cmp(&other.canonical())
            .then_with(|| self.compare_same_rank(other, steps))
    }

    fn compare_same_rank(&self, other: &Self, steps: &mut u64) -> Ordering {
        let mut bytes = |a: usize, b: usize| *steps += (a.min(b) / BYTES_A_STEP) as u64;
        match (self, other) {
            (Self::String(a), Self::String(b)) => {
                bytes(a.len(), b.len());
                a.as_bytes().cmp(b.as_bytes())
            }
            (Self::Object(a), Self::Object(b)) => compare_documents(a, b, steps),
            (Self::Array(a), Self::Array(b)) => {
                compare_sequences(a.iter().zip(b), a.len(), b.len(), |(a, b)| a.compare(b, steps))
            }
            (Self::Binary(a_type, a), Self::Binary(b_type, b)) => {
                bytes(a.len(), b.len());
                a.len()
                    .cmp(&b.len())
                    .then(a_type.cmp(b_type))
                    .then_with(|| a.cmp(b))
            }
            (Self::ObjectId(a), Self::ObjectId(b)) => a.cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Timestamp(at, ai), Self::Timestamp(bt, bi)) => (at, ai).cmp(&(bt, bi)),
            (Self::Regex(ap, ao), Self::Regex(bp, bo)) => {
                bytes(ap.len(), bp.len());
                (ap, ao).cmp(&(bp, bo))
            }
            _ => self.compare_numbers(other, steps),
        }
    }

    fn compare_numbers(&self, other: &Self, steps: &mut u64) -> Ordering {
        match (self.as_number(), other.as_number()) {
            (Some(a), Some(b)) => {
                if matches!(a, Number::Decimal(_)) || matches!(b, Number::Decimal(_)) {
                    *steps += DECIMAL_STEPS;
                }
                a.compare(b)
            }
            _ => Ordering::Equal,
        }
    }

    pub(super) fn as_number(&self) -> Option<Number> {
        match self {
            Self::Int(v) => Some(Number::Whole(i64::from(*v))),
            Self::Long(v) => Some(Number::Whole(*v)),
            Self::Double(v) => Some(Number::Double(*v)),
            Self::Decimal(v) => Some(Number::Decimal(*v)),
            _ => None,
        }
    }

    pub(super) fn is_nan(&self) -> bool {
        match self {
            Self::Double(v) => v.is_nan(),
            Self::Decimal(v) => v.is_nan(),
            _ => false,
        }
    }
}

/// A number of any type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(i64),
    Double(f64),
    Decimal(Decimal),
}

impl Number {
    fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(&b),
            (Self::Double(a), Self::Double(b)) => {
                a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
            }
            (Self::Whole(a), Self::Double(b)) => compare_exactly(a, b),
            (Self::Double(a), Self::Whole(b)) => compare_exactly(b, a).reverse(),
            (a, b) => a.decimal().compare(b.decimal()),
        }
    }

    fn decimal(self) -> Decimal {
        match self {
            Self::Whole(v) => v.into(),
            Self::Double(v) => v.into(),
            Self::Decimal(v) => v,
        }
    }
}

/// Compares without rounding the integer to a double; NaN is below every number.
fn compare_exactly(whole: i64, double: f64) -> Ordering {
    if double.is_nan() {
        return Ordering::Greater;
    }
    match crate::value::truncate(double) {
        Some(truncated) => whole
            .cmp(&truncated)
            .then_with(|| 0.0.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal)),
        None if double > 0.0 => Ordering::Less,
        None => Ordering::Greater,
    }
}

/// Compares field by field in order: type rank, then name, then value.
fn compare_documents(a: &Document, b: &Document, steps: &mut u64) -> Ordering {
    compare_sequences(
        a.0.iter().zip(&b.0),
        a.0.len(),
        b.0.len(),
        |((a_name, a), (b_name, b))| {
            *steps += 1 + (a_name.len().min(b_name.len()) / BYTES_A_STEP) as u64;
            a.canonical()
                .cmp(&b.canonical())
                .then_with(|| a_name.cmp(b_name))
                .then_with(|| a.compare_same_rank(b, steps))
        },
    )
}

fn compare_sequences<T>(
    pairs: impl Iterator<Item = T>,
    a: usize,
    b: usize,
    compare: impl FnMut(T) -> Ordering,
) -> Ordering {
    pairs
        .map(compare)
        .find(|order| order.is_ne())
        .unwrap_or_else(|| a.cmp(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_doubles_compare_exactly() {
        // 2^53 + 1 has no double; a cast would make these equal.
        let odd = 9_007_199_254_740_993;
        assert_eq!(compare_exactly(odd, 9_007_199_254_740_992.0), Ordering::Greater);
        assert_eq!(
            compare_exactly(i64::MAX, 9_223_372_036_854_775_808.0),
            Ordering::Less
        );
        assert_eq!(
            compare_exactly(i64::MIN, -9_223_372_036_854_775_808.0),
            Ordering::Equal
        );
        assert_eq!(compare_exactly(-1, -1.5), Ordering::Greater);
        assert_eq!(compare_exactly(1, 1.5), Ordering::Less);
        assert_eq!(compare_exactly(0, -0.0), Ordering::Equal);
        assert_eq!(compare_exactly(i64::MIN, f64::NEG_INFINITY), Ordering::Greater);
    }
}
