//! Moments as signed documents write them. Reads no clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::date::{civil_from_days, days_from_civil, days_in_month};

/// Moment in whole seconds since 1970, UTC; written `2026-01-31T23:59:59Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Returns the moment so many seconds after the start of 1970, at most the end of the year 9999.
    #[must_use]
    pub const fn from_unix(seconds: u64) -> Self {
        const LAST: u64 = 253_402_300_799;
        Self(if seconds > LAST { LAST } else { seconds })
    }

    /// Returns the seconds since the start of 1970.
    #[must_use]
    pub const fn unix(self) -> u64 {
        self.0
    }

    /// Returns the moment so many seconds later.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self::from_unix(self.0.saturating_add(seconds))
    }
}

impl FromStr for Instant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || {
            format!(
                "{:?} is not a moment like 2026-01-31T23:59:59Z",
                crate::limits::clip(text, 64)
            )
        };
        let bytes = text.as_bytes();
        let shape = bytes.len() == 20
            && [
                (4, b'-'),
                (7, b'-'),
                (10, b'T'),
                (13, b':'),
                (16, b':'),
                (19, b'Z'),
            ]
            .iter()
            .all(|(at, byte)| bytes[*at] == *byte);
        if !shape {
            return Err(malformed());
        }
        let number = |from: usize, to: usize| -> Result<i64, String> {
            let digits = &bytes[from..to];
            if !digits.iter().all(u8::is_ascii_digit) {
                return Err(malformed());
            }
            Ok(digits
                .iter()
                .fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
        };
        let year = number(0, 4)?;
        let month = number(5, 7)?;
        let day = number(8, 10)?;
        let hour = number(11, 13)?;
        let minute = number(14, 16)?;
        let second = number(17, 19)?;
        let valid = year >= 1970
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !valid {
            return Err(malformed());
        }
        let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        Ok(Self(seconds.unsigned_abs()))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0 / 86_400;
        let seconds = self.0 % 86_400;
        let (year, month, day) = civil_from_days(days.cast_signed());
        let hour = seconds / 3600;
        let minute = seconds / 60 % 60;
        let second = seconds % 60;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_both_ways() {
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-11-22T23:45:00Z", 1_795_391_100),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            let instant: Instant = text.parse().expect(text);
            assert_eq!((instant.unix(), instant.to_string().as_str()), (unix, text));
        }
        for seconds in (0..253_402_300_799).step_by(86_399 * 997) {
            let text = Instant::from_unix(seconds).to_string();
            assert_eq!(
                text.parse::<Instant>().expect("own form").unix(),
                seconds,
                "{text}"
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+00:00",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00.0Z",
            "+026-01-01T00:00:00Z",
            "",
        ] {
            assert!(bad.parse::<Instant>().is_err(), "{bad}");
        }
    }
}
