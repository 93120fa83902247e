//! Times as the commands print them.

use crate::device::absence::{moment, now};
use iottly_filter::date;
use iottly_web::answers::Date;

/// Returns a time of an answer as `2026-11-27T10:47:58.133Z`; `-` for none.
pub(crate) fn at(time: impl Into<Option<Date>>) -> String {
    time.into()
        .map_or_else(|| "-".to_owned(), |time| date::format(time.at()) + "Z")
}

/// Reads a time to come: a time, a day, Unix milliseconds, or a length of time from now on.
pub(crate) fn later(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(millis) => Ok(millis),
        Err(_) => moment(text, now()),
    }
}

/// Reads a time that is over: a time, a day, Unix milliseconds, or a length of time before now.
pub(crate) fn earlier(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(millis) => Ok(millis),
        Err(_) => before(text, now()),
    }
}

fn before(text: &str, now: i64) -> Result<i64, String> {
    // A length of time ends with its unit, and a time does not.
    match moment(text, 0) {
        Ok(length) if text.ends_with(['s', 'm', 'h', 'd']) => Ok(now.saturating_sub(length)),
        at => at,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_readable() {
        assert_eq!(at(Date::from(1_492_598_878_133_i64)), "2017-04-19T10:47:58.133Z");
        assert_eq!(at(None), "-");
    }

    #[test]
    fn times_are_days_moments_and_lengths_of_time() {
        assert_eq!(before("1d", 90_000_000), Ok(3_600_000));
        assert_eq!(before("2017-04-19T10:47:58.133Z", 0), Ok(1_492_598_878_133));
        assert_eq!(earlier("2017-04-19"), Ok(1_492_560_000_000));
        assert_eq!(later("1492598878133"), Ok(1_492_598_878_133));
        assert_eq!(later("2026-12-01"), Ok(1_796_083_200_000));
        assert!(later("1d").expect("a length") > now());
        assert!(earlier("1d").expect("a length") < now());
        assert!(earlier("yesterday").is_err() && later("").is_err());
    }
}
