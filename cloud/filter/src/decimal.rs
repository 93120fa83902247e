//! Decimal128 numbers, compared by value.

use std::cmp::Ordering;
use std::str::FromStr;

/// Digits of a Decimal128.
const DIGITS: u32 = 34;

/// A number of 34 decimal digits, compared by value: `1.0` equals `1`.
#[derive(Debug, Clone, Copy)]
pub struct Decimal(Kind);

#[derive(Debug, Clone, Copy)]
enum Kind {
    NaN,
    /// Infinity; true when negative.
    Infinite(bool),
    Zero,
    Finite {
        negative: bool,
        /// Power of ten of the first digit.
        exponent: i32,
        /// Exactly 34 digits, the first not 0.
        digits: u128,
    },
}

impl Decimal {
    /// Returns whether the number is NaN.
    #[must_use]
    pub fn is_nan(self) -> bool {
        matches!(self.0, Kind::NaN)
    }

    /// Returns the whole part; none when the number is not finite or out of the range of i64.
    #[must_use]
    pub fn truncated(self) -> Option<i64> {
        match self.0 {
            Kind::NaN | Kind::Infinite(_) => None,
            Kind::Zero => Some(0),
            Kind::Finite { exponent, .. } if exponent < 0 => Some(0),
            Kind::Finite { exponent, .. } if exponent > 18 => None,
            Kind::Finite {
                negative,
                exponent,
                digits,
            } => {
                let whole = i128::try_from(digits / 10u128.pow(DIGITS - 1 - exponent.unsigned_abs())).ok()?;
                i64::try_from(if negative { -whole } else { whole }).ok()
            }
        }
    }

    /// Compares by value; NaN equals itself and comes before everything else.
    #[must_use]
    pub fn compare(self, other: Self) -> Ordering {
        self.rank()
            .cmp(&other.rank())
            .then_with(|| match (self.0, other.0) {
                (
                    Kind::Finite {
                        negative,
                        exponent,
                        digits,
                    },
                    Kind::Finite {
                        exponent: other_exponent,
                        digits: other_digits,
                        ..
                    },
                ) => {
                    let order = exponent.cmp(&other_exponent).then(digits.cmp(&other_digits));
                    if negative { order.reverse() } else { order }
                }
                _ => Ordering::Equal,
            })
    }

    fn rank(self) -> i8 {
        match self.0 {
            Kind::NaN => -3,
            Kind::Infinite(true) => -2,
            Kind::Finite { negative: true, .. } => -1,
            Kind::Zero => 0,
            Kind::Finite { negative: false, .. } => 1,
            Kind::Infinite(false) => 2,
        }
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.compare(*other) == Ordering::Equal
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self::finite(value < 0, u128::from(value.unsigned_abs()), 0)
    }
}

impl From<f64> for Decimal {
    fn from(value: f64) -> Self {
        // 34 significant digits, correctly rounded, as MongoDB does to compare a double.
        format!("{value:.33e}").parse().unwrap_or(Self(Kind::NaN))
    }
}

impl Decimal {
    /// Returns `coefficient · 10^scale`; the coefficient has at most 34 digits.
    fn finite(negative: bool, coefficient: u128, scale: i32) -> Self {
        let Some(log) = coefficient.checked_ilog10() else {
            return Self(Kind::Zero);
        };
        let digits = coefficient * 10u128.pow(DIGITS - 1 - log);
        Self(Kind::Finite {
            negative,
            exponent: scale.saturating_add(log.cast_signed()),
            digits,
        })
    }
}

impl FromStr for Decimal {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MALFORMED: &str = "it is not a decimal number";
        let (negative, body) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if body.eq_ignore_ascii_case("nan") {
            return Ok(Self(Kind::NaN));
        }
        if ["inf", "infinity"]
            .iter()
            .any(|name| body.eq_ignore_ascii_case(name))
        {
            return Ok(Self(Kind::Infinite(negative)));
        }
        let (mantissa, power) = match body.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, power.parse::<i32>().map_err(|_| MALFORMED)?),
            None => (body, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = whole.bytes().chain(fraction.bytes());
        if whole.len() + fraction.len() == 0 || !digits.clone().all(|b| b.is_ascii_digit()) {
            return Err(MALFORMED);
        }
        let scale = power.saturating_sub(i32::try_from(fraction.len()).map_err(|_| MALFORMED)?);
        let coefficient = digits.try_fold(0u128, |sum, digit| {
            let sum = sum.checked_mul(10)?.checked_add(u128::from(digit - b'0'))?;
            (sum < 10u128.pow(DIGITS)).then_some(sum)
        });
        coefficient
            .map(|coefficient| Self::finite(negative, coefficient, scale))
            .ok_or("it has more than 34 digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("valid")
    }

    #[test]
    fn compares_by_value() {
        assert_eq!(decimal("1.0"), decimal("1"));
        assert_eq!(decimal("1E3"), Decimal::from(1000));
        assert_eq!(decimal("0"), decimal("-0.00"));
        assert_eq!(decimal("0.5"), Decimal::from(0.5));
        assert_eq!(decimal("nan"), decimal("-NaN"));
        for (less, more) in [
            ("-2", "-1"),
            ("-Infinity", "-1e6000"),
            ("9.99", "10"),
            ("NaN", "-Infinity"),
            ("1e-6000", "1"),
        ] {
            assert_eq!(
                decimal(less).compare(decimal(more)),
                Ordering::Less,
                "{less} < {more}"
            );
        }
        assert_eq!(
            decimal("9223372036854775807.5").compare(Decimal::from(i64::MAX)),
            Ordering::Greater
        );
        assert_eq!(
            decimal("0.1").compare(Decimal::from(0.1)),
            Ordering::Less,
            "the double is a little over 0.1"
        );
    }

    #[test]
    fn whole_part() {
        assert_eq!(decimal("-7.9").truncated(), Some(-7));
        assert_eq!(decimal("0.9").truncated(), Some(0));
        assert_eq!(decimal("9223372036854775807").truncated(), Some(i64::MAX));
        assert_eq!(decimal("9223372036854775808").truncated(), None);
        assert_eq!(decimal("Infinity").truncated(), None);
    }

    #[test]
    fn refuses_other_text() {
        for bad in [
            "",
            ".",
            "-",
            "1.2.3",
            "0x1",
            "1e",
            "1e1.5",
            "--1",
            "12345678901234567890123456789012345",
            "é",
        ] {
            assert!(bad.parse::<Decimal>().is_err(), "{bad:?}");
        }
    }
}
