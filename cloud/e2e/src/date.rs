//! A date of their own for processes of a test.
//!
//! The processes run under libfaketime, which reads the offset of the date from a file each time the date is
//! asked for; the monotonic clock stays real.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Date of some processes.
pub struct Date {
    library: PathBuf,
    file: PathBuf,
}

impl Date {
    /// Creates the right date, in a file `name` in `folder`; `None` where the library is not installed.
    ///
    /// # Panics
    /// Under CI, if the library is not installed.
    pub fn new(folder: &Path, name: &str) -> Option<Self> {
        let library = std::fs::read_dir("/usr/lib")
            .ok()?
            .flatten()
            .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
        let Some(library) = library.into_iter().find(|path| path.exists()) else {
            assert!(
                std::env::var("CI").is_err(),
                "libfaketime is not installed: apt-get install faketime"
            );
            return None;
        };
        let date = Self {
            library,
            file: folder.join(name),
        };
        date.set("+0");
        Some(date)
    }

    /// Moves the date by an offset from the right one: `+3h`, `-10y`, `-86400`.
    pub fn set(&self, offset: &str) {
        let fresh = self.file.with_extension("new");
        std::fs::write(&fresh, offset).expect("the offset is written");
        std::fs::rename(fresh, &self.file).expect("the offset is put in place");
    }

    /// Makes the program that `command` starts live at this date.
    pub fn of(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file);
        for flag in [
            "FAKETIME_NO_CACHE",
            "FAKETIME_DONT_FAKE_MONOTONIC",
            "NO_FAKE_STAT",
        ] {
            command.env(flag, "1");
        }
    }
}
