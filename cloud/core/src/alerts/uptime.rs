//! Times in which the cloud was there. A device cannot connect, or send, to a cloud that is down, so that time does not count
//! for conditions that last.

use crate::model::UnixMs;

/// Maximum number of spans that are remembered; time before the oldest counts as if the cloud had been there.
pub const MAX_SPANS: usize = 1000;

/// Time from a start of the cloud to its last look at alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Time of the start.
    pub from: UnixMs,
    /// Time of the last look.
    pub to: UnixMs,
}

/// Times in which the cloud was there.
#[derive(Debug, Clone, Default)]
pub struct Uptime {
    /// Ends and beginnings of the times without a cloud, by time.
    pauses: Vec<Span>,
}

impl Uptime {
    /// Reads the spans of all processes, in any order.
    #[must_use]
    pub fn new(mut spans: Vec<Span>) -> Self {
        spans.sort_by_key(|span| span.from);
        let mut pauses = Vec::new();
        let mut known: Option<UnixMs> = None;
        for span in spans {
            if let Some(end) = known
                && end < span.from
            {
                pauses.push(Span {
                    from: end,
                    to: span.from,
                });
            }
            known = known.max(Some(span.to));
        }
        Self { pauses }
    }

    /// Returns the time since `from`, without the times in which there was no cloud.
    #[must_use]
    pub fn since(&self, from: UnixMs, now: UnixMs) -> UnixMs {
        let within = |pause: &Span| pause.to.min(now).saturating_sub(pause.from.max(from)).max(0);
        let without: UnixMs = self.pauses.iter().map(within).sum();
        now.saturating_sub(from).saturating_sub(without)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uptime(spans: &[(UnixMs, UnixMs)]) -> Uptime {
        Uptime::new(spans.iter().map(|&(from, to)| Span { from, to }).collect())
    }

    #[test]
    fn time_without_a_cloud_does_not_count() {
        let once = uptime(&[(0, 100), (400, 500)]);
        assert_eq!(once.since(50, 450), 100, "50 before and 50 after");
        assert_eq!(once.since(200, 450), 50, "all before the start is a pause");
        assert_eq!(once.since(410, 450), 40);
        assert_eq!(once.since(450, 410), -40, "a clock that was set back");
        assert_eq!(uptime(&[]).since(10, 30), 20);
        assert_eq!(
            uptime(&[(20, 25)]).since(10, 30),
            20,
            "time before the first span counts"
        );
        let twice = uptime(&[(400, 500), (0, 100), (800, 900)]);
        assert_eq!(twice.since(0, 900), 300);
    }

    #[test]
    fn a_cloud_of_several_processes_is_there_while_one_of_them_is() {
        let both = uptime(&[(0, 300), (100, 150), (200, 500), (600, 700)]);
        assert_eq!(both.since(0, 700), 600);
    }
}
