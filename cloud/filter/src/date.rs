//! Dates as text: ISO 8601 with a time, and with or without a zone.

use iottly_protocol::date::{civil_from_days, days_from_civil, days_in_month};

/// Reads `YYYY-MM-DDTHH:MM:SS[.fraction][Z|±hh:mm|±hhmm]` as unix milliseconds; without a zone it is UTC.
///
/// # Errors
/// When the text has another form or names a date that does not exist.
pub fn parse(text: &str) -> Result<i64, &'static str> {
    const MALFORMED: &str = "date is not of the form 2017-04-19T10:47:58.133Z";
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 19 {
        return Err(MALFORMED);
    }
    let field = |range: std::ops::Range<usize>| number(&bytes[range]).ok_or(MALFORMED);
    let punctuated = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')]
        .iter()
        .all(|&(at, mark)| bytes[at] == mark);
    if !punctuated {
        return Err(MALFORMED);
    }
    let (year, month, day) = (field(0..4)?, field(5..7)?, field(8..10)?);
    let (hour, minute, second) = (field(11..13)?, field(14..16)?, field(17..19)?);
    if !(1..=12).contains(&month)
        || day < 1
        || day > days_in_month(year, month)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return Err("date does not exist");
    }
    let (millis, zone) = fraction(&bytes[19..]).ok_or(MALFORMED)?;
    // A query string turns an unescaped `+` into a space.
    let malformed = if zone.first() == Some(&b' ') {
        "date has a space before its zone; in an address + is written %2B"
    } else {
        MALFORMED
    };
    let offset_minutes = zone_minutes(zone).ok_or(malformed)?;
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Ok((minutes * 60 + second) * 1000 + millis)
}

/// Formats a time as `YYYY-MM-DDTHH:MM:SS.mmm`, UTC without a zone; years beyond four digits keep their digits.
#[must_use]
pub fn format(millis: i64) -> String {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}",
        rest % 1000
    )
}

/// Returns the month of a time in UTC, counted from January of the year 0.
#[must_use]
pub fn month(millis: i64) -> i64 {
    let (year, month, _) = civil_from_days(millis.div_euclid(86_400_000));
    year * 12 + month - 1
}

/// Returns the first millisecond of a month that is counted as [`month`] does.
#[must_use]
pub fn month_start(month: i64) -> i64 {
    days_from_civil(month.div_euclid(12), month.rem_euclid(12) + 1, 1) * 86_400_000
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, &digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

/// Splits an optional fraction off: its milliseconds, and the rest.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', digits)) = rest.split_first() else {
        return Some((0, rest));
    };
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let millis = (0..3).fold(0, |sum, at| {
        sum * 10
            + digits
                .get(at)
                .filter(|_| at < len)
                .map_or(0, |&d| i64::from(d - b'0'))
    });
    (1..=9).contains(&len).then(|| (millis, &digits[len..]))
}

fn zone_minutes(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match zone {
        [] | [b'Z'] => return Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            (sign, number(&[*h1, *h2])?, number(&[*m1, *m2])?)
        }
        _ => return None,
    };
    let total = hours * 60 + minutes;
    (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn what_is_written_reads_back() {
        for millis in [
            0,
            -1,
            1_492_598_878_133,
            951_782_400_000,
            951_868_799_999,
            4_107_542_400_000,
            -62_135_596_800_000,
        ] {
            assert_eq!(parse(&format(millis)), Ok(millis), "{}", format(millis));
        }
        assert_eq!(format(1_492_598_878_133), "2017-04-19T10:47:58.133");
        assert_eq!(format(951_782_400_000), "2000-02-29T00:00:00.000");
    }

    #[test]
    fn reads_every_form() {
        for (text, millis) in [
            ("2017-04-19T10:47:58.133Z", 1_492_598_878_133),
            ("2017-04-19T10:47:58.133", 1_492_598_878_133),
            ("2017-04-19T12:47:58.133+02:00", 1_492_598_878_133),
            ("2017-04-19T05:17:58.133999-0530", 1_492_598_878_133),
            ("2017-04-19T10:47:58.1Z", 1_492_598_878_100),
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2000-02-29T00:00:00", 951_782_400_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
        ] {
            assert_eq!(parse(text), Ok(millis), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for bad in [
            "",
            "2017-04-19",
            "2017-04-19T10:47",
            "2017-04-19 10:47:58Z",
            "2017-13-01T00:00:00Z",
            "2017-02-29T00:00:00Z",
            "2017-04-19T24:00:00Z",
            "2017-04-19T10:47:60Z",
            "2017-04-19T10:47:58.Z",
            "2017-04-19T10:47:58+2",
            "2017-04-19T10:47:58z",
            "2017-04-19T10:47:58Zé",
            "+017-04-19T10:47:58Z",
            "2017-04-19T10:47:58.1234567890Z",
            "2017-04-19T10:47:58+24:00",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for unescaped in ["2017-04-19T12:47:58.133 02:00", "2017-04-19T12:47:58 0200"] {
            assert!(
                parse(unescaped).is_err_and(|reason| reason.contains("%2B")),
                "{unescaped}"
            );
        }
    }
}
