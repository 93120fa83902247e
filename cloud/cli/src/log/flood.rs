//! Limits the log lines of one kind (one place in the code), because strangers cause some of them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Level, Metadata};

/// Largest number of lines of one kind in a window.
const MAX_LINES: u64 = 50;
/// Length of a window.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts of lines by kind. The kinds are places in the code, so their number is bounded.
#[derive(Debug, Default)]
pub(super) struct Flood {
    kinds: HashMap<Identifier, Kind>,
}

#[derive(Debug)]
struct Kind {
    since: Instant,
    lines: u64,
}

/// Decision about a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Write it; `left_out` lines of its kind were left out before.
    Write { left_out: u64 },
    /// Leave it out.
    LeaveOut,
}

impl Flood {
    /// Decides about a line. Lines of the levels debug and trace are never left out.
    pub(super) fn ask(&mut self, metadata: &Metadata<'_>, now: Instant) -> Verdict {
        if *metadata.level() > Level::INFO {
            return Verdict::Write { left_out: 0 };
        }
        self.kinds
            .entry(metadata.callsite())
            .or_insert(Kind { since: now, lines: 0 })
            .line(now)
    }
}

impl Kind {
    fn line(&mut self, now: Instant) -> Verdict {
        let mut left_out = 0;
        if now.saturating_duration_since(self.since) >= WINDOW {
            left_out = self.lines.saturating_sub(MAX_LINES);
            *self = Self { since: now, lines: 0 };
        }
        self.lines += 1;
        if self.lines > MAX_LINES {
            Verdict::LeaveOut
        } else {
            Verdict::Write { left_out }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let start = Instant::now();
        let mut kind = Kind {
            since: start,
            lines: 0,
        };
        let written = (0..1000)
            .filter(|_| kind.line(start) == Verdict::Write { left_out: 0 })
            .count();
        assert_eq!(written as u64, MAX_LINES);
        assert_eq!(
            kind.line(start + WINDOW),
            Verdict::Write {
                left_out: 1000 - MAX_LINES
            }
        );
        assert_eq!(kind.line(start + WINDOW), Verdict::Write { left_out: 0 });
        assert_eq!(kind.line(start + 3 * WINDOW), Verdict::Write { left_out: 0 });
    }
}
