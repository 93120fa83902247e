//! The time on a board that may have no clock.
//!
//! The board's own date is only a guess. The cloud tells the time with every welcome; from then on device
//! time is the time since the system's start plus that offset, so that steps of the system's clock, by years
//! in either direction, change nothing. Records made before carry the time since the system's start and are
//! dated when they are sent. The latest time that the cloud told is kept: no later guess lies before it.

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

/// Largest file that is read, bytes.
const MAX_FILE_BYTES: u64 = 16 << 10;

/// The time as whoever decides by it needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Unix seconds: what the cloud told, or else a guess.
    pub(crate) unix: u64,
    /// The cloud has told the time since the start of the system.
    pub(crate) told: bool,
    /// Rises when the date becomes known, and when it turns out to be another one.
    pub(crate) tellings: u64,
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
    /// A clock that goes on from what `file` keeps. A file that cannot be read counts as none.
    pub(crate) fn open(file: PathBuf) -> Self {
        let stored = read(&file).unwrap_or_else(|error| {
            tracing::warn!(clock.path = %file.display(), %error, "the kept time cannot be read, starting without");
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

    /// The time now as far as the board knows, unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.keeper().now_ms(uptime_ms())
    }

    /// The time now, and how it is known. Until it is told, the guess follows the system's clock, which may
    /// be set late.
    pub(crate) fn reading(&self) -> Reading {
        let keeper = self.keeper();
        let told = keeper.told_ms(uptime_ms());
        let unix_ms = told.unwrap_or_else(|| unix_ms().max(keeper.floor_ms()));
        Reading {
            unix: unix_ms / 1000,
            told: told.is_some(),
            tellings: keeper.tellings(),
        }
    }

    /// A record as it is to be queued: with the time since the system's start while nobody has told the date.
    pub(crate) fn seal(&self, record: Vec<u8>) -> Vec<u8> {
        match self.keeper().undated(uptime_ms()) {
            Some((boot, up_ms)) => undated::seal(boot, up_ms, &record),
            None => record,
        }
    }

    /// Makes a stored record what is sent: with its date, as exact as it is known.
    pub(crate) fn date(&self, record: &mut Vec<u8>) {
        let keeper = self.keeper();
        undated::date(record, |boot| keeper.fix(boot));
    }

    /// Takes the time that the cloud told; the question had been asked `asked_ms` before the answer came.
    pub(crate) fn told(&self, cloud_ms: u64, asked_ms: u64) {
        let mut keeper = self.keeper();
        let before = keeper.stored().clone();
        if !keeper.told(cloud_ms, asked_ms, uptime_ms()) {
            return;
        }
        if let Err(error) = replace(&self.inner.file, &keeper.stored().encode()) {
            tracing::warn!(clock.path = %self.inner.file.display(), %error, "the time cannot be kept");
            // What was sent under an offset has to be sent under the same one again, also after a restart.
            keeper.forget_to(before);
        }
    }
}

fn uptime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1000)
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// The kernel's id of this start of the system; a random one where there is none, which equals no earlier
/// one.
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
    fn what_was_told_is_kept_and_damage_is_no_reason_not_to_start() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("clock");
        let clock = BoardClock::open(file.clone());
        let record = br#"{"log":{"level":"info","text":"x","at_ms":1}}"#.to_vec();
        assert_ne!(clock.seal(record.clone()), record, "nobody told the time");
        let future = unix_ms() + 3_600_000;
        clock.told(future, 0);
        assert_eq!(clock.seal(record.clone()), record);
        assert!((future..future + 60_000).contains(&clock.now_ms()));
        // The next agent of this start of the system knows it, too.
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
        clock.told(unix_ms() + 3_600_000, 0);
        let mut sent = sealed;
        clock.date(&mut sent);
        assert_eq!(sent, record);
        assert!(
            clock.now_ms() > unix_ms() + 3_000_000,
            "but new records are dated right"
        );
    }
}
