//! How much disk the queue may take, and who gives way.

use super::disk::Space;

/// Least budget, bytes: a few segments.
pub const MIN_DISK_BYTES: u64 = 4 << 20;
/// Default budget, bytes.
pub const DEFAULT_DISK_BYTES: u64 = 64 << 20;
/// Most bytes that the queue leaves free on the file system for others.
const MAX_RESERVE_BYTES: u64 = 8 << 20;
/// Most records of a segment before the group that fills it.
const SEGMENT_RECORDS: u64 = 9_000;
/// Most bytes of records of a segment before the group that fills it; on disk it is about twice that.
const SEGMENT_BYTES: u64 = 2 << 20;

/// What happens to a message that finds the budget used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The oldest messages make room; the history shows the gap.
    #[default]
    DropOldest,
    /// The message is refused and its sender told so.
    RefuseNew,
}

/// Bounds of a queue.
///
/// Control records (results, reports) have priority: messages give way to them, and they are refused rather
/// than dropped when they alone fill a quarter of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Bytes on disk over all streams, at least [`MIN_DISK_BYTES`].
    pub disk_bytes: u64,
    /// What gives way when they are used up.
    pub when_full: WhenFull,
    /// How long a message may wait, milliseconds of the agent running; none: for ever.
    pub ttl_ms: Option<u64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            disk_bytes: DEFAULT_DISK_BYTES,
            when_full: WhenFull::default(),
            ttl_ms: None,
        }
    }
}

impl Policy {
    /// The budget as it is kept.
    pub(super) fn budget(&self) -> u64 {
        self.disk_bytes.max(MIN_DISK_BYTES)
    }

    /// What control records may take.
    pub(super) fn control_share(&self) -> u64 {
        self.budget() / 4
    }

    /// What messages may take before new ones are refused: room for control records stays.
    pub(super) fn history_share(&self) -> u64 {
        self.budget() - self.budget() / 8
    }

    /// Bytes that are left free on the file system: for others, and because sled writes even when it opens a
    /// database to read.
    pub(super) fn reserve(space: Space) -> u64 {
        (space.total / 10).min(MAX_RESERVE_BYTES)
    }

    /// Bytes that the queue may take now, given what it takes and what the file system has.
    pub(super) fn limit(&self, used: u64, space: Option<Space>) -> u64 {
        let by_disk = space.map_or(u64::MAX, |space| {
            used.saturating_add(space.free)
                .saturating_sub(Self::reserve(space))
        });
        self.budget().min(by_disk)
    }
}

/// When a segment is closed and the next one started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentSize {
    pub(super) records: u64,
    /// Bytes of records.
    pub(super) bytes: u64,
}

impl SegmentSize {
    /// Several segments fit into the smallest budget.
    pub(super) fn of(policy: &Policy) -> Self {
        Self {
            records: SEGMENT_RECORDS,
            bytes: (policy.budget() / 16).min(SEGMENT_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_budget_or_what_the_disk_has() {
        let policy = Policy {
            disk_bytes: 10 << 20,
            ..Policy::default()
        };
        assert_eq!(policy.limit(0, None), 10 << 20);
        let space = |free, total| Some(Space { free, total });
        assert_eq!(policy.limit(1 << 20, space(1 << 30, 1 << 40)), 10 << 20);
        assert_eq!(
            policy.limit(5 << 20, space(2 << 20, 10 << 20)),
            6 << 20,
            "a tenth of a small disk stays free"
        );
        assert_eq!(
            policy.limit(1 << 20, space(0, 100 << 20)),
            0,
            "a disk filled by others leaves nothing"
        );
        assert_eq!(
            Policy {
                disk_bytes: 0,
                ..policy
            }
            .budget(),
            MIN_DISK_BYTES
        );
    }
}
