//! The time on a board that may have no clock.
//!
//! The board's own date is a guess. The cloud sends the time with every welcome; from then on device time is
//! the system's uptime plus an offset, so that steps of the system's clock, by years in either direction,
//! change nothing. Earlier records carry their uptime and are dated when they are sent. The latest time from
//! the cloud is stored: no later guess precedes it.

#[cfg(test)]
mod clock_step_tests;
mod keeper;
mod undated;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iottly_update::{read_file, replace};
use rustix::time::{ClockId, clock_gettime};

use crate::clock::unix_ms;
use keeper::{Keeper, Stored};

pub(crate) use undated::strip_header;

/// Maximum size of the file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 10;

/// Time for decisions that depend on how it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Unix seconds: from the cloud, or else a guess.
    pub(crate) unix: u64,
    /// The cloud has sent the time since the start of the system.
    pub(crate) trusted: bool,
    /// Counter that rises when the date becomes known or turns out to be wrong.
    pub(crate) revision: u64,
}

/// Device time; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct BoardClock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    keeper: Mutex<Keeper>,
}

impl BoardClock {
    /// Opens the clock stored in `file`. An unreadable file counts as none.
    pub(crate) fn open(file: PathBuf) -> Self {
        let stored = read(&file).unwrap_or_else(|error| {
            tracing::warn!(clock.path = %file.display(), %error, "failed to read the stored time; starting without it");
            Stored::default()
        });
        let keeper = Mutex::new(Keeper::new(stored, system_boot(), unix_ms(), uptime_ms()));
        Self {
            inner: Arc::new(Inner { file, keeper }),
        }
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.inner.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current time as far as the board knows it, in unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.keeper().now_ms(uptime_ms())
    }

    /// Returns the current time and how it is known. Until the cloud sends it, the guess follows the system's
    /// clock, which may be set late.
    pub(crate) fn reading(&self) -> Reading {
        let keeper = self.keeper();
        let trusted = keeper.trusted_ms(uptime_ms());
        let unix_ms = trusted.unwrap_or_else(|| unix_ms().max(keeper.floor_ms()));
        Reading {
            unix: unix_ms / 1000,
            trusted: trusted.is_some(),
            revision: keeper.revision(),
        }
    }

    /// Returns a record as it is queued: with its uptime while the date is a guess.
    pub(crate) fn seal(&self, record: Vec<u8>) -> Vec<u8> {
        match self.keeper().undated(uptime_ms()) {
            Some((boot, up_ms)) => undated::seal(boot, up_ms, &record),
            None => record,
        }
    }

    /// Turns a queued record into the record to send, dated as exactly as possible.
    pub(crate) fn date(&self, record: &mut Vec<u8>) {
        let keeper = self.keeper();
        undated::date(record, |boot| keeper.fix(boot));
    }

    /// Applies the time from the cloud; the question was asked `asked_ms` before the answer. Returns `true` if
    /// the date became known or turned out to be wrong.
    pub(crate) fn set(&self, cloud_ms: u64, asked_ms: u64) -> bool {
        let mut keeper = self.keeper();
        let (before, revision) = (keeper.stored().clone(), keeper.revision());
        let is_new = keeper.set(cloud_ms, asked_ms, uptime_ms());
        let is_revised = keeper.revision() != revision;
        if !is_new {
            return is_revised;
        }
        if let Err(error) = replace(&self.inner.file, &keeper.stored().encode()) {
            tracing::warn!(clock.path = %self.inner.file.display(), %error, "failed to store the time; records queued before keep their guessed dates");
            // A record must be sent with the same offset each time, also after a restart.
            keeper.restore(before);
        }
        is_revised
    }
}

fn uptime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1000)
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Returns the kernel's boot id; a random one if there is none, which equals no earlier one.
fn system_boot() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id = text
        .trim()
        .parse()
        .unwrap_or_else(|_| iottly_protocol::BootId::random());
    *id.as_bytes()
}

fn read(file: &Path) -> io::Result<Stored> {
    match read_file(file, MAX_FILE_BYTES) {
        Ok(bytes) => Stored::decode(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stored::default()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_from_the_cloud_is_stored_and_damage_prevents_no_start() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("clock");
        let clock = BoardClock::open(file.clone());
        let record = br#"{"log":{"level":"info","text":"x","at_ms":1}}"#.to_vec();
        assert_ne!(clock.seal(record.clone()), record, "the time is a guess");
        let future = unix_ms() + 3_600_000;
        clock.set(future, 0);
        assert_eq!(clock.seal(record.clone()), record);
        assert!((future..future + 60_000).contains(&clock.now_ms()));
        // The next agent of this system start knows the time as well.
        let next = BoardClock::open(file.clone());
        assert_eq!(next.seal(record.clone()), record);
        assert!((future..future + 60_000).contains(&next.now_ms()));
        for rubbish in [&b""[..], b"iottlyC1", &[0xff; 100]] {
            fs::write(&file, rubbish).expect("write");
            assert!(BoardClock::open(file.clone()).now_ms() < future);
        }
    }

    #[test]
    fn an_offset_that_cannot_be_kept_dates_nothing_that_was_queued() {
        let dir = tempfile::tempdir().expect("dir");
        let clock = BoardClock::open(dir.path().join("no-such-folder").join("clock"));
        let record = br#"{"log":{"level":"info","text":"x","at_ms":1}}"#.to_vec();
        let sealed = clock.seal(record.clone());
        clock.set(unix_ms() + 3_600_000, 0);
        let mut sent = sealed;
        clock.date(&mut sent);
        assert_eq!(sent, record);
        assert!(
            clock.now_ms() > unix_ms() + 3_000_000,
            "but new records are dated right"
        );
    }
}
