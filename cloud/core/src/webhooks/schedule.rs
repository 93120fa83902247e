//! Schedule of retries: the time of the next attempt after a failure, and the end of attempts. Pure: time and
//! jitter are arguments.

use crate::model::UnixMs;
use iottly_filter::date;

const SECOND: UnixMs = 1000;
const MINUTE: UnixMs = 60 * SECOND;
const HOUR: UnixMs = 60 * MINUTE;
/// Waits before the second attempt, the third and so on.
const WAITS: [UnixMs; 7] = [
    5 * SECOND,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    10 * HOUR,
];
/// Number of attempts after which a delivery counts as failed.
pub const ATTEMPTS: u32 = WAITS.len() as u32 + 1;
/// Share by which a wait may be shorter or longer.
const JITTER: f64 = 0.2;
/// Maximum wait that a receiver can request.
const MAX_RETRY_AFTER: UnixMs = 24 * HOUR;
/// Maximum time ahead at which a delivery, a probe or the end of a pause can be. A time further ahead was
/// stored while the clock was ahead.
pub const LONGEST_WAIT_MS: UnixMs = MAX_RETRY_AFTER + HOUR;
/// Pause of a webhook whose receiver is overloaded and requests no other pause.
const SLOW_DOWN: UnixMs = 5 * SECOND;
/// Time after which a webhook with nothing but failures is disabled: five days.
pub const GIVE_UP_MS: UnixMs = 5 * 24 * HOUR;

/// Outcome of an attempt, reduced to what decides about the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Response with this status.
    Answered(u16),
    /// No response.
    Unanswered,
}

impl Outcome {
    /// Returns true for 2xx, the only success.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Answered(200..=299))
    }
}

/// Decision about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Delivered.
    Delivered,
    /// To be retried at this time.
    Retry(UnixMs),
    /// Failed: not retried automatically.
    Failed,
    /// Refused for good by the receiver: the webhook is disabled, and the delivery waits.
    Gone,
}

/// Decides about a delivery after its attempt number `attempt`, counted from 1. `jitter` is between -1 and 1;
/// `retry_after` is the time that the receiver requested.
#[must_use]
pub fn decide(
    outcome: Outcome,
    attempt: u32,
    retry_after: Option<UnixMs>,
    jitter: f64,
    now: UnixMs,
) -> Verdict {
    if outcome.is_success() {
        return Verdict::Delivered;
    }
    if outcome == Outcome::Answered(410) {
        return Verdict::Gone;
    }
    let Some(wait) = attempt.checked_sub(1).and_then(|index| WAITS.get(index as usize)) else {
        return Verdict::Failed;
    };
    let moved = *wait as f64 * JITTER * jitter.clamp(-1.0, 1.0);
    let due = now + wait + moved as UnixMs;
    Verdict::Retry(retry_after.map_or(due, |asked| asked.min(now + MAX_RETRY_AFTER).max(due)))
}

/// Returns the end of the pause of a whole webhook whose receiver is overloaded, if it is.
#[must_use]
pub fn pause(outcome: Outcome, retry_after: Option<UnixMs>, now: UnixMs) -> Option<UnixMs> {
    let overloaded = matches!(outcome, Outcome::Answered(429 | 502 | 504));
    let asked = retry_after.map(|asked| asked.min(now + MAX_RETRY_AFTER));
    match (overloaded, asked) {
        (_, Some(asked)) if !outcome.is_success() => Some(asked),
        (true, None) => Some(now + SLOW_DOWN),
        _ => None,
    }
}

/// Returns the time in a `Retry-After` header: seconds from now, or an HTTP date.
#[must_use]
pub fn retry_after(value: &str, now: UnixMs) -> Option<UnixMs> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit means a longer wait than any limit.
        let seconds = value
            .parse::<i64>()
            .unwrap_or(i64::MAX / SECOND / 2)
            .min(i64::MAX / SECOND / 4);
        return Some(now.saturating_add(seconds * SECOND));
    }
    http_date(value).map(|at| at.max(now))
}

/// Parses `Sun, 06 Nov 1994 08:49:37 GMT`, the form that servers send.
fn http_date(text: &str) -> Option<UnixMs> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let parts: Vec<_> = text.split_once(", ")?.1.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    date::parse(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

/// Returns true if the end of a wait is in the future. An end further ahead than any wait is not: it was
/// stored while the clock was ahead, and the clock has been set back.
#[must_use]
pub const fn waits(until: UnixMs, now: UnixMs) -> bool {
    now < until && until <= now.saturating_add(LONGEST_WAIT_MS)
}

/// Returns the time since which a webhook has only failed, at a failure at `now` whose attempt started at
/// `began`. `since` is the result for the previous failure, which was at `last`. A gap between two failures
/// in which the clock was set back or far ahead does not count as failing.
#[must_use]
pub fn failing_since(since: Option<UnixMs>, last: Option<UnixMs>, began: UnixMs, now: UnixMs) -> UnixMs {
    let Some(since) = since else { return began };
    match last.map(|last| now - last) {
        Some(gap) if gap < 0 => since + gap,
        Some(gap) if gap >= GIVE_UP_MS => began,
        _ => since.min(now),
    }
}

/// Returns true if a webhook that has only failed since `since` is to be disabled now.
#[must_use]
pub fn gives_up(since: UnixMs, now: UnixMs) -> bool {
    now - since >= GIVE_UP_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_attempts_on_the_published_schedule() {
        let (mut now, mut dues) = (1_000_000, Vec::new());
        let began = now;
        for attempt in 1..=ATTEMPTS {
            match decide(Outcome::Answered(500), attempt, None, 0.0, now) {
                Verdict::Retry(due) => {
                    dues.push((due - now) / SECOND);
                    now = due;
                }
                other => assert_eq!((attempt, other), (8, Verdict::Failed)),
            }
        }
        assert_eq!(dues, [5, 300, 1800, 7200, 18_000, 36_000, 36_000]);
        assert_eq!((now - began) / SECOND, 99_305);
    }

    #[test]
    fn waits_vary_by_a_fifth() {
        let due = |jitter| decide(Outcome::Unanswered, 1, None, jitter, 0);
        assert_eq!(
            [due(-1.0), due(0.0), due(1.0)],
            [Verdict::Retry(4000), Verdict::Retry(5000), Verdict::Retry(6000)]
        );
        assert_eq!(due(99.0), due(1.0));
    }

    #[test]
    fn only_2xx_is_delivered() {
        for status in 100..600 {
            let delivered = decide(Outcome::Answered(status), 1, None, 0.0, 0) == Verdict::Delivered;
            assert_eq!(delivered, (200..300).contains(&status), "{status}");
        }
        assert_eq!(decide(Outcome::Answered(410), 8, None, 0.0, 0), Verdict::Gone);
        assert_eq!(decide(Outcome::Answered(302), 8, None, 0.0, 0), Verdict::Failed);
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_and_never_for_less() {
        let decide = |asked| decide(Outcome::Answered(429), 1, asked, 0.0, 0);
        assert_eq!(decide(retry_after("120", 0)), Verdict::Retry(120_000));
        assert_eq!(decide(retry_after("1", 0)), Verdict::Retry(5000));
        assert_eq!(
            decide(retry_after("99999999999999999999", 0)),
            Verdict::Retry(24 * HOUR)
        );
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 0),
            Some(784_111_777_000)
        );
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 800_000_000_000),
            Some(800_000_000_000),
            "that is past"
        );
        for bad in [
            "",
            "-1",
            "soon",
            "1.5",
            "Sun, 06 Nov 1994",
            "Sun, 06 Foo 1994 08:49:37 GMT",
        ] {
            assert_eq!(retry_after(bad, 0), None, "{bad}");
        }
    }

    #[test]
    fn an_overloaded_receiver_gets_a_pause() {
        for status in [429, 502, 504] {
            assert_eq!(pause(Outcome::Answered(status), None, 0), Some(5000), "{status}");
        }
        assert_eq!(pause(Outcome::Answered(503), Some(9000), 0), Some(9000));
        assert_eq!(pause(Outcome::Answered(500), None, 0), None);
        assert_eq!(pause(Outcome::Answered(200), Some(9000), 0), None);
        assert_eq!(pause(Outcome::Unanswered, None, 0), None);
    }

    #[test]
    fn a_clock_that_steps_neither_ends_a_wait_for_years_nor_counts_as_failing() {
        let year = 365 * 24 * HOUR;
        assert!(waits(5000, 0) && waits(24 * HOUR, 0) && !waits(0, 0) && !waits(-year, 0));
        assert!(
            !waits(10 * year + 5000, 0),
            "written while the clock was ten years ahead"
        );
        assert_eq!(failing_since(None, None, 900, 1000), 900);
        assert_eq!(failing_since(Some(100), Some(900), 900, 1000), 100);
        assert_eq!(
            failing_since(Some(100), Some(900), 10 * year, 10 * year),
            10 * year
        );
        assert_eq!(
            failing_since(Some(10 * year), Some(10 * year + 500), 500, 600),
            600 - 500 - 500 + 500,
            "500 ms of failing stay"
        );
        assert_eq!(
            failing_since(Some(10 * year), None, 500, 600),
            600,
            "kept by a process whose clock was ahead"
        );
    }

    #[test]
    fn five_days_of_failures_are_enough() {
        assert!(!gives_up(0, GIVE_UP_MS - 1));
        assert!(gives_up(0, GIVE_UP_MS));
    }
}
