//! Times as the commands print them.

use std::time::{SystemTime, UNIX_EPOCH};

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

/// Returns the current time in Unix milliseconds.
#[expect(clippy::disallowed_methods, reason = "the user names a time from now on")]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Returns a time, or the time that a text such as `2h` after `now` means, in Unix milliseconds.
pub(crate) fn moment(text: &str, now: i64) -> Result<i64, String> {
    if let Some((digits, unit)) = text
        .split_at_checked(text.len().saturating_sub(1))
        .filter(|(digits, _)| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    {
        let length = match unit {
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 24 * 3_600_000,
            _ => 0,
        };
        let later = digits
            .parse::<i64>()
            .ok()
            .and_then(|count| count.checked_mul(length));
        if let Some(later) = later.filter(|later| *later > 0) {
            return now
                .checked_add(later)
                .ok_or_else(|| format!("{text:?} is too far away"));
        }
    }
    // A day begins at midnight in UTC.
    date::parse(text)
        .or_else(|error| date::parse(&format!("{text}T00:00:00Z")).map_err(|_| error))
        .map_err(|error| {
            format!("{text:?} is neither a length of time such as 90m, 2h or 3d, nor a time or day: {error}")
        })
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

    #[test]
    fn times_and_lengths_of_time_are_read() {
        assert_eq!(moment("90m", 5), Ok(5 + 90 * 60_000));
        assert_eq!(moment("2h", 0), Ok(7_200_000));
        assert_eq!(moment("3d", 0), Ok(3 * 24 * 3_600_000));
        assert_eq!(moment("2017-04-19T10:47:58.133Z", 0), Ok(1_492_598_878_133));
        assert_eq!(moment("2017-04-19", 0), Ok(1_492_560_000_000));
        for bad in [
            "",
            "h",
            "0h",
            "3w",
            "99999999999999999999d",
            "9223372036854775d",
            "tomorrow",
        ] {
            assert!(moment(bad, 0).is_err(), "{bad}");
        }
    }
}
