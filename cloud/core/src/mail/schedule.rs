//! Decides from the reply of a mail server what happens to a mail.

use crate::model::{MailResult, UnixMs};

/// Shortest and longest pause between two attempts, in milliseconds.
const PAUSES: (UnixMs, UnixMs) = (10_000, 60 * 60 * 1000);
/// Time for which a mail is tried, in milliseconds: two days.
pub const MAX_AGE_MS: UnixMs = 2 * 24 * 60 * 60 * 1000;
/// Maximum length of a reason, in bytes.
const REASON_BYTES: usize = 300;

/// Reply of a mail server to a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The server has taken the mail.
    Taken,
    /// The server cannot be reached, or has no time for the mail now.
    Later(String),
    /// The server refuses the mail for good.
    Never(String),
}

/// Returns the result of an attempt, from 0, of a mail of `queued`. `chance` varies the pause, so that mails that failed
/// together do not return together.
#[must_use]
pub fn result(reply: Reply, attempt: u32, queued: UnixMs, now: UnixMs, chance: u8) -> MailResult {
    match reply {
        Reply::Taken => MailResult::Sent,
        Reply::Never(reason) => MailResult::Refused {
            reason: reason_line(&reason),
        },
        Reply::Later(reason) if now.saturating_sub(queued) >= MAX_AGE_MS => MailResult::Refused {
            reason: reason_line(&format!("tried for two days: {reason}")),
        },
        Reply::Later(reason) => MailResult::Retry {
            due: now.saturating_add(pause(attempt, chance)),
            reason: reason_line(&reason),
        },
    }
}

/// Returns the pause after the failed attempt with this number: doubled each time, and up to a quarter longer.
fn pause(attempt: u32, chance: u8) -> UnixMs {
    let doubled = PAUSES.0 << attempt.min(16);
    let pause = doubled.min(PAUSES.1);
    pause + pause / 4 * UnixMs::from(chance) / UnixMs::from(u8::MAX)
}

fn reason_line(text: &str) -> String {
    let line = super::plain(text);
    iottly_protocol::limits::clip(line.trim(), REASON_BYTES).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(attempt: u32, now: UnixMs, chance: u8) -> MailResult {
        result(Reply::Later("451 busy\r\nnow".into()), attempt, 0, now, chance)
    }

    #[test]
    fn attempts_become_rarer_and_end_after_two_days() {
        let due = |attempt, chance| match later(attempt, 0, chance) {
            MailResult::Retry { due, reason } => {
                assert_eq!(reason, "451 busy  now");
                due
            }
            other => panic!("{other:?}"),
        };
        assert_eq!([due(0, 0), due(1, 0), due(2, 0)], [10_000, 20_000, 40_000]);
        assert_eq!(due(0, 255), 12_500);
        assert_eq!(due(u32::MAX, 0), PAUSES.1);
        let end = later(50, MAX_AGE_MS, 0);
        assert!(
            matches!(&end, MailResult::Refused { reason } if reason.starts_with("tried for two days: 451")),
            "{end:?}"
        );
    }

    #[test]
    fn a_refusal_is_final() {
        let refused = result(Reply::Never("550 no such user".into()), 0, 0, 1, 0);
        assert_eq!(
            refused,
            MailResult::Refused {
                reason: "550 no such user".into()
            }
        );
        assert_eq!(result(Reply::Taken, 9, 0, 1, 0), MailResult::Sent);
    }
}
