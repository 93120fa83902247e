//! Limits of the queue: disk budget, age, segment size. Pure.

use super::disk::Space;

/// Minimum budget, in bytes: a few segments.
pub const MIN_DISK_BYTES: u64 = 4 << 20;
/// Default budget, in bytes.
pub const DEFAULT_DISK_BYTES: u64 = 64 << 20;
/// Maximum space that the queue leaves free on the file system, in bytes.
const MAX_RESERVE_BYTES: u64 = 8 << 20;
/// Number of records at which a segment is full; the group that fills it may exceed this.
const SEGMENT_RECORDS: u64 = 9_000;
/// Size of the records at which a segment is full, in bytes; on disk a segment takes about twice that.
const SEGMENT_BYTES: u64 = 2 << 20;

/// Treatment of a message when the budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The oldest messages make room; the history shows the gap.
    #[default]
    DropOldest,
    /// The message is refused with an error to its sender.
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
    /// Treatment of messages when the budget is used up.
    pub when_full: WhenFull,
    /// Maximum age of a message, counted while the agent runs, in milliseconds; `None` for no limit.
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
    /// Returns the effective budget, in bytes.
    pub(super) fn budget(&self) -> u64 {
        self.disk_bytes.max(MIN_DISK_BYTES)
    }

    /// Returns the share of control records, in bytes.
    pub(super) fn control_share(&self) -> u64 {
        self.budget() / 4
    }

    /// Returns the share of messages before new ones are refused, in bytes; leaves room for control records.
    pub(super) fn history_share(&self) -> u64 {
        self.budget() - self.budget() / 8
    }

    /// Returns the space to leave free on the file system, in bytes: for other programs, and because sled
    /// writes even when it opens a database for reading.
    pub(super) fn reserve(space: Space) -> u64 {
        (space.total / 10).min(MAX_RESERVE_BYTES)
    }

    /// Returns the bytes that the queue may take now, given its present size and the space of the file
    /// system.
    pub(super) fn limit(&self, used: u64, space: Option<Space>) -> u64 {
        let by_disk = space.map_or(u64::MAX, |space| {
            used.saturating_add(space.free)
                .saturating_sub(Self::reserve(space))
        });
        self.budget().min(by_disk)
    }
}

/// Size at which a segment is closed and the next one started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentSize {
    pub(super) records: u64,
    /// Bytes of records.
    pub(super) bytes: u64,
}

impl SegmentSize {
    /// Returns the segment size for a policy; several segments fit into the smallest budget.
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
