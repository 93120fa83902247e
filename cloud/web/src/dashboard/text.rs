//! Formats times and payloads for pages.

use iottly_filter::date;
use iottly_protocol::limits::clip;

use iottly_core::model::UnixMs;

/// Maximum length of a payload on a page, in bytes; the API returns the whole payload.
pub(super) const MAX_SHOWN_BYTES: usize = 4096;

/// Formats a time as `2017-04-19T10:47:58.133Z`.
pub(super) fn iso(at: UnixMs) -> String {
    date::format(at) + "Z"
}

/// Formats a time of day as `10:47:58.133`.
pub(super) fn clock(at: UnixMs) -> String {
    let iso = iso(at);
    iso.split_once('T')
        .map_or(iso.clone(), |(_, time)| time.trim_end_matches('Z').to_owned())
}

/// Formats the day of a time as `2017-04-19`.
pub(super) fn day(at: UnixMs) -> String {
    let iso = iso(at);
    iso.split_once('T').map_or(iso.clone(), |(day, _)| day.to_owned())
}

/// Formats a time as `2017-04-19 10:47`.
pub(super) fn minute(at: UnixMs) -> String {
    iso(at)
        .get(..16)
        .map_or_else(|| iso(at), |text| text.replace('T', " "))
}

/// Formats the time since an event, in the largest fitting unit.
pub(super) fn ago(since: UnixMs, now: UnixMs) -> String {
    let seconds = now.saturating_sub(since).max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Formats a length of time in milliseconds, in the largest fitting unit.
pub(super) fn span(millis: u64) -> String {
    ago(0, UnixMs::try_from(millis).unwrap_or(UnixMs::MAX))
}

/// Formats a size in the largest fitting unit, rounded up.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes.div_ceil(1_048_576)),
    }
}

/// Returns a number with the name of what it counts, such as `1 device` and `2 devices`.
pub(super) fn counted(number: usize, name: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {name}{end}")
}

/// Returns a text as a value of a query string.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Returns the payload's text, cut if it is long.
pub(super) fn payload(json: &str) -> String {
    match beginning(json) {
        (cut, Some(size)) => format!("{cut} … ({size} bytes)"),
        (whole, None) => whole.to_owned(),
    }
}

/// Returns as much of the payload as a page shows, and its length in bytes if that is not all.
pub(super) fn beginning(json: &str) -> (&str, Option<usize>) {
    let cut = clip(json, MAX_SHOWN_BYTES);
    (cut, (cut.len() < json.len()).then_some(json.len()))
}

/// Returns a text without the characters that turn the direction of writing around: for places, such as the texts of a picture,
/// that no style can isolate.
pub(super) fn straight(text: &str) -> String {
    let turns = |character: char| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(turns, "")
}

/// Reads the value of a field for a date with a time, in UTC; browsers leave the seconds out.
///
/// # Errors
/// If the text is no such time.
pub(super) fn moment(text: &str) -> Result<UnixMs, &'static str> {
    date::parse(text).or_else(|reason| date::parse(&format!("{text}:00")).map_err(|_| reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_they_are() {
        assert_eq!(iso(1_492_598_878_133), "2017-04-19T10:47:58.133Z");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(iso(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(clock(1_492_598_878_133), "10:47:58.133");
        assert_eq!(ago(0, 59_999), "59 s");
        assert_eq!(ago(0, 3_600_000), "1 h");
        assert_eq!(ago(5, 0), "0 s");
        assert_eq!(escaped("a&b=ü"), "a%26b%3D%C3%BC");
    }

    #[test]
    fn texts_that_turn_around_go_straight() {
        assert_eq!(straight("a\u{202e}b\u{2066}c"), "abc");
    }

    #[test]
    fn a_time_is_read_as_browsers_send_it() {
        assert_eq!(moment("2026-11-26T14:30"), Ok(1_795_703_400_000));
        assert_eq!(moment("2026-11-26T14:30:00"), moment("2026-11-26T14:30"));
        assert!(moment("2026-11-26").is_err() && moment("yesterday").is_err());
    }

    #[test]
    fn long_payloads_are_cut_and_say_so() {
        let text = payload(&"é".repeat(3000));
        assert!(text.ends_with("… (6000 bytes)"));
        assert_eq!(payload("{}"), "{}");
    }
}
