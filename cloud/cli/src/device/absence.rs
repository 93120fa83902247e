//! `iottly device absent`: plans the absence of a device, so that it is not taken for a fault.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use iottly_filter::date;
use iottly_web::answers::Props;
use serde_json::json;

use super::presence_text::presence;
use crate::call::Call;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::escaped;

#[derive(Args)]
pub(super) struct AbsentOptions {
    /// Device, by name or id
    device: String,
    #[command(flatten)]
    call: Call,
    /// End of the absence: a time such as 2026-12-24T18:00:00Z or 2026-12-24, or from now on such as 90m, 2h or 3d
    #[arg(long, value_name = "TIME", required_unless_present = "end")]
    until: Option<String>,
    /// Reason, for people
    #[arg(long, required_unless_present = "end")]
    reason: Option<String>,
    /// End the planned absence now
    #[arg(long, conflicts_with_all = ["until", "reason"])]
    end: bool,
}

pub(super) fn run(options: &AbsentOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let path = format!("/device/{}/absence", escaped(&device_id(&api, &options.device)?));
    let answer = match (&options.until, &options.reason) {
        (Some(until), Some(reason)) => {
            let until = moment(until, now()).map_err(Failure::Invalid)?;
            let body = json!({"until": until, "reason": reason}).to_string();
            api.put(&path, "application/json", body.as_bytes())?
        }
        _ => api.delete(&path)?,
    };
    options.call.print_as(&answer, |answer: &Props| {
        format!("{}\n", presence(&answer.presence))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

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
