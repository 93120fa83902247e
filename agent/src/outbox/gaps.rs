//! Lost positions of a stream and their reasons, bounded. Pure.

use iottly_protocol::GapReason;

/// Maximum number of spans per stream. Beyond it the shortest span is removed; its positions are still
/// reported, as corruption.
pub(super) const MAX_SPANS: usize = 200;

/// Positions `from..=to` that are never delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) reason: GapReason,
}

/// Reasons of a stream's lost positions, until the cloud has acknowledged them.
///
/// Every position between the last acknowledged and the next one that is not stored is a hole; the spans give
/// the reasons. A position in a span stays lost even if its record still exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    /// Ascending spans without overlap; neighbours of one reason are joined.
    spans: Vec<Span>,
}

impl Gaps {
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Adds `from..=to`. Positions in earlier spans keep their reason.
    pub(super) fn add(&mut self, from: u64, to: u64, reason: GapReason) {
        let mut free = from;
        let mut fresh = Vec::new();
        for span in self
            .spans
            .iter()
            .filter(|span| span.to >= from && span.from <= to)
        {
            if span.from > free {
                fresh.push(Span {
                    from: free,
                    to: span.from - 1,
                    reason,
                });
            }
            free = span.to + 1;
        }
        if free <= to {
            fresh.push(Span {
                from: free,
                to,
                reason,
            });
        }
        for span in fresh {
            let at = self.spans.partition_point(|other| other.from < span.from);
            self.spans.insert(at, span);
        }
        self.spans.dedup_by(|next, before| {
            let joined = before.to + 1 == next.from && before.reason == next.reason;
            if joined {
                before.to = next.to;
            }
            joined
        });
        while self.spans.len() > MAX_SPANS {
            let shortest = (0..self.spans.len())
                .min_by_key(|at| self.spans[*at].to - self.spans[*at].from)
                .expect("over the limit");
            self.spans.remove(shortest);
        }
    }

    /// Returns the number of positions in all spans.
    pub(super) fn total(&self) -> u64 {
        self.spans.iter().map(|span| span.to - span.from + 1).sum()
    }

    /// Removes everything up to `position`.
    pub(super) fn trim(&mut self, position: u64) {
        self.spans.retain(|span| span.to > position);
        if let Some(first) = self.spans.first_mut() {
            first.from = first.from.max(position + 1);
        }
    }

    /// Returns the span that contains `position`.
    pub(super) fn at(&self, position: u64) -> Option<Span> {
        let after = self.spans.partition_point(|span| span.from <= position);
        self.spans[..after]
            .last()
            .copied()
            .filter(|span| span.to >= position)
    }

    /// Returns the start of the first span after `position`.
    pub(super) fn next_after(&self, position: u64) -> Option<u64> {
        self.spans
            .get(self.spans.partition_point(|span| span.from <= position))
            .map(|span| span.from)
    }
}

#[cfg(test)]
mod tests {
    use GapReason::{Budget, Corruption, Ttl};

    use super::*;

    fn spans(gaps: &Gaps) -> Vec<(u64, u64, GapReason)> {
        gaps.spans()
            .iter()
            .map(|span| (span.from, span.to, span.reason))
            .collect()
    }

    #[test]
    fn neighbours_of_one_reason_are_joined_and_the_first_reason_stays() {
        let mut gaps = Gaps::default();
        gaps.add(10, 19, Budget);
        gaps.add(1, 4, Ttl);
        gaps.add(20, 29, Budget);
        assert_eq!(spans(&gaps), [(1, 4, Ttl), (10, 29, Budget)]);
        gaps.add(3, 40, Corruption);
        assert_eq!(
            spans(&gaps),
            [
                (1, 4, Ttl),
                (5, 9, Corruption),
                (10, 29, Budget),
                (30, 40, Corruption)
            ]
        );
        gaps.trim(12);
        assert_eq!(spans(&gaps), [(13, 29, Budget), (30, 40, Corruption)]);
        assert_eq!(gaps.at(29).map(|span| span.reason), Some(Budget));
        assert_eq!((gaps.at(12), gaps.at(41)), (None, None));
        assert_eq!(
            (gaps.next_after(2), gaps.next_after(13), gaps.next_after(30)),
            (Some(13), Some(30), None)
        );
        assert_eq!(gaps.total(), 17 + 11);
    }

    #[test]
    fn the_number_of_spans_is_bounded() {
        let mut gaps = Gaps::default();
        gaps.add(5, 9, Budget);
        for n in 0..2 * MAX_SPANS as u64 {
            gaps.add(100 + 2 * n, 100 + 2 * n, Corruption);
        }
        assert_eq!(gaps.spans().len(), MAX_SPANS);
        assert_eq!(
            gaps.spans()[0],
            Span {
                from: 5,
                to: 9,
                reason: Budget
            },
            "the long one is kept"
        );
    }
}
