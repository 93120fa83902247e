//! Knowledge of the time. Pure: `up_ms` is the uptime of the system, `unix_ms` a date.

use std::collections::VecDeque;

/// Earliest date that is accepted: 2025-01-01, in unix milliseconds.
const EARLIEST_MS: u64 = 1_735_689_600_000;
/// Maximum number of system starts whose offset is stored, for records that still wait.
const BOOTS: usize = 16;
/// Difference to the stored time at which the cloud's time is stored again, in milliseconds: each write wears
/// the board's disk.
const KEEP_EVERY_MS: u64 = 3_600_000;
/// Assumed maximum drift of a board's clock, in parts per million.
const DRIFT_PPM: u64 = 200;
const MAGIC: &[u8; 8] = b"iottlyC1";

/// Offset between the uptime of one system start and the date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fix {
    pub(super) boot: [u8; 16],
    /// Date of the system start, in unix milliseconds.
    pub(super) zero_ms: i64,
    /// Maximum error of the date, in milliseconds.
    pub(super) error_ms: u64,
}

impl Fix {
    /// Returns the date at an uptime.
    pub(super) fn at(&self, up_ms: u64) -> u64 {
        u64::try_from(self.zero_ms.saturating_add_unsigned(up_ms)).unwrap_or(0)
    }
}

/// Knowledge that survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stored {
    /// Latest time from the cloud, in unix milliseconds.
    floor_ms: u64,
    /// First offset of each system start, oldest first. Never changes: a record sent again must have the same
    /// date.
    fixes: VecDeque<Fix>,
}

impl Stored {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.floor_ms.to_be_bytes());
        for fix in &self.fixes {
            out.extend_from_slice(&fix.boot);
            out.extend_from_slice(&fix.zero_ms.to_be_bytes());
            out.extend_from_slice(&fix.error_ms.to_be_bytes());
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    /// Decodes the output of [`Stored::encode`]; `None` if it is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let rest = body.strip_prefix(MAGIC)?;
        (u32::from_be_bytes(*crc) == crc32fast::hash(body)).then_some(())?;
        let (floor, rest) = rest.split_first_chunk::<8>()?;
        let (fixes, rest) = rest.as_chunks::<32>();
        rest.is_empty().then_some(())?;
        let fix = |bytes: &[u8; 32]| {
            let (boot, rest) = bytes.split_first_chunk::<16>()?;
            let (zero, error) = rest.split_first_chunk::<8>()?;
            let error_ms = u64::from_be_bytes(error.try_into().ok()?);
            Some(Fix {
                boot: *boot,
                zero_ms: i64::from_be_bytes(*zero),
                error_ms,
            })
        };
        Some(Self {
            floor_ms: u64::from_be_bytes(*floor),
            fixes: fixes.iter().map(fix).collect::<Option<_>>()?,
        })
    }

    fn fix(&self, boot: [u8; 16]) -> Option<Fix> {
        self.fixes.iter().copied().find(|fix| fix.boot == boot)
    }
}

/// Time of the board.
#[derive(Debug)]
pub(super) struct Keeper {
    stored: Stored,
    boot: [u8; 16],
    /// Best known offset of this system start, and the uptime at which it became known.
    known: Option<(Fix, u64)>,
    /// Offset until the time is known.
    guess: Fix,
    /// Number of times that the cloud's time differed from the known time by more than the errors allow.
    revision: u64,
}

impl Keeper {
    /// Creates a keeper; `system_ms` is the date of the system's clock.
    pub(super) fn new(stored: Stored, boot: [u8; 16], system_ms: u64, up_ms: u64) -> Self {
        let guess_ms = system_ms.max(stored.floor_ms).max(EARLIEST_MS);
        let guess = Fix {
            boot,
            zero_ms: offset(guess_ms, up_ms),
            error_ms: u64::MAX,
        };
        let known = stored.fix(boot).map(|fix| (fix, 0));
        Self {
            stored,
            boot,
            revision: u64::from(known.is_some()),
            known,
            guess,
        }
    }

    pub(super) fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Restores the offsets that could be stored last; the current time stays known.
    pub(super) fn restore(&mut self, stored: Stored) {
        self.stored = stored;
    }

    pub(super) fn now_ms(&self, up_ms: u64) -> u64 {
        self.known.map_or(self.guess, |(fix, _)| fix).at(up_ms)
    }

    /// Returns the date if the cloud has sent it since the system's start.
    pub(super) fn trusted_ms(&self, up_ms: u64) -> Option<u64> {
        self.known.map(|(fix, _)| fix.at(up_ms))
    }

    /// Returns the latest time from the cloud in unix milliseconds; 0 for none.
    pub(super) fn floor_ms(&self) -> u64 {
        self.stored.floor_ms
    }

    /// Returns a counter that rises when the date becomes known or turns out to be wrong.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns boot id and uptime for a record that is created while the date is a guess.
    pub(super) fn undated(&self, up_ms: u64) -> Option<([u8; 16], u64)> {
        self.known.is_none().then_some((self.boot, up_ms))
    }

    /// Returns the offset for records that were created while the date was a guess.
    pub(super) fn fix(&self, boot: [u8; 16]) -> Option<Fix> {
        self.stored.fix(boot)
    }

    /// Applies a time from the cloud; the question was asked `asked_ms` before the answer. Returns `true` if
    /// there is something to store.
    pub(super) fn set(&mut self, cloud_ms: u64, asked_ms: u64, up_ms: u64) -> bool {
        if cloud_ms < EARLIEST_MS {
            return false;
        }
        // The cloud read its clock at some moment between question and answer.
        let error_ms = asked_ms / 2 + 1;
        let fix = Fix {
            boot: self.boot,
            zero_ms: offset(cloud_ms.saturating_add(asked_ms / 2), up_ms),
            error_ms,
        };
        let mut better = true;
        let mut other = true;
        if let Some((known, since)) = self.known {
            let grown = known
                .error_ms
                .saturating_add(up_ms.saturating_sub(since) / 1_000_000 * DRIFT_PPM);
            other = known.zero_ms.abs_diff(fix.zero_ms) > grown.saturating_add(fix.error_ms);
            better = fix.error_ms <= grown || other;
        }
        self.revision += u64::from(other);
        if better {
            self.known = Some((fix, up_ms));
        }
        let mut store = false;
        if self.stored.fix(self.boot).is_none() {
            if self.stored.fixes.len() == BOOTS {
                self.stored.fixes.pop_front();
            }
            self.stored.fixes.push_back(fix);
            store = true;
        }
        // Backward as well: a cloud whose clock was wrong by years must not hold the board there.
        let floor = self.stored.floor_ms;
        if cloud_ms.abs_diff(floor) >= KEEP_EVERY_MS || store {
            self.stored.floor_ms = cloud_ms;
            store = true;
        }
        store
    }
}

fn offset(unix_ms: u64, up_ms: u64) -> i64 {
    i64::try_from(unix_ms)
        .unwrap_or(i64::MAX)
        .saturating_sub_unsigned(up_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEARS_10: u64 = 10 * 365 * 86_400_000;
    const NOW: u64 = 1_790_000_000_000;
    const BOOT: [u8; 16] = [1; 16];

    fn keeper(system_ms: u64) -> Keeper {
        Keeper::new(Stored::default(), BOOT, system_ms, 5_000)
    }

    #[test]
    fn a_system_clock_that_is_off_by_ten_years_dates_nothing_wrong_in_the_end() {
        for system_ms in [0, NOW - YEARS_10, NOW + YEARS_10] {
            let mut keeper = keeper(system_ms);
            assert_eq!(keeper.undated(6_000), Some((BOOT, 6_000)));
            assert_eq!(keeper.now_ms(6_000), system_ms.max(EARLIEST_MS) + 1_000);
            assert!(keeper.set(NOW, 40, 10_000));
            assert_eq!(keeper.undated(10_000), None);
            assert_eq!(keeper.now_ms(10_500), NOW + 520);
            let fix = keeper.fix(BOOT).expect("known");
            assert_eq!(
                (fix.at(6_000), fix.error_ms),
                (NOW + 20 - 4_000, 21),
                "what was queued before is dated by it"
            );
        }
    }

    #[test]
    fn after_a_reboot_the_guess_is_not_before_the_stored_time() {
        let mut first = keeper(0);
        first.set(NOW, 0, 10_000);
        let second = Keeper::new(first.stored().clone(), [2; 16], 0, 1_000);
        assert_eq!(second.now_ms(2_000), NOW + 1_000);
        assert!(second.undated(2_000).is_some(), "but it is a guess");
        assert_eq!(
            second.fix(BOOT),
            first.fix(BOOT),
            "records of the run before are still dated"
        );
        assert_eq!(second.fix([2; 16]), None);
    }

    #[test]
    fn queued_records_keep_their_first_offset_and_new_ones_get_the_best() {
        let mut keeper = keeper(0);
        assert!(keeper.set(NOW, 4_000, 10_000));
        let first = keeper.fix(BOOT);
        assert!(!keeper.set(NOW + 60_000, 10, 70_000), "nothing to store");
        assert_eq!(keeper.fix(BOOT), first);
        assert_eq!(keeper.now_ms(70_000), NOW + 60_005);
        keeper.set(NOW + 61_000, 3_000, 71_000);
        assert_eq!(
            keeper.now_ms(71_000),
            NOW + 61_005,
            "a worse answer that agrees changes nothing"
        );
        assert_eq!(keeper.revision(), 1, "nothing new since the first time");
        keeper.set(NOW + YEARS_10, 3_000, 72_000);
        assert_eq!(keeper.revision(), 2);
        assert_eq!(
            keeper.now_ms(72_000),
            NOW + YEARS_10 + 1_500,
            "one that contradicts it does"
        );
    }

    #[test]
    fn the_kept_time_follows_in_both_directions_and_nonsense_is_ignored() {
        let mut keeper = keeper(0);
        assert!(!keeper.set(0, 0, 10_000));
        assert!(!keeper.set(EARLIEST_MS - 1, 0, 10_000));
        assert!(keeper.set(NOW + YEARS_10, 0, 10_000));
        assert!(keeper.set(NOW, 0, 20_000));
        assert_eq!(keeper.stored().floor_ms, NOW);
        assert!(!keeper.set(NOW + KEEP_EVERY_MS - 1, 0, 30_000));
        assert!(keeper.set(NOW + KEEP_EVERY_MS, 0, 40_000));
    }

    #[test]
    fn what_is_stored_is_bounded_read_back_and_checked() {
        let mut stored = Stored::default();
        for boot in 0..40u8 {
            let mut keeper = Keeper::new(stored, [boot; 16], 0, 0);
            keeper.set(NOW + u64::from(boot), 0, 0);
            stored = keeper.stored().clone();
        }
        assert_eq!(stored.fixes.len(), BOOTS);
        let bytes = stored.encode();
        assert_eq!(Stored::decode(&bytes), Some(stored));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Stored::decode(&damaged), None, "byte {at}");
            assert_eq!(Stored::decode(&bytes[..at]), None);
        }
    }
}
