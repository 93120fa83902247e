//! Memory of developer orders over restarts: one small file. Does not interpret it.

use std::io;
use std::path::{Path, PathBuf};

use iottly_protocol::release::LeaseId;
use serde::{Deserialize, Serialize};

use crate::files;

/// Maximum size of the file, in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// Facts about developer orders that must survive a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Highest counter of an order that was followed.
    pub(super) counter: u64,
    /// Id of that order.
    #[serde(default)]
    pub(super) last: String,
    /// Code of a developer that runs, or is about to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) open: Option<Open>,
}

/// Code of a developer, as reports name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    /// Id of the order.
    pub(super) order: String,
    /// Lease of the order.
    pub(super) lease: LeaseId,
    /// sha256 of the code, hex.
    pub(super) sha256: String,
}

/// File of the memory.
#[derive(Debug, Clone)]
pub(super) struct MemoryFile(PathBuf);

impl MemoryFile {
    pub(super) fn new(data: &Path) -> Self {
        Self(data.join("developer"))
    }

    /// Reads the memory; empty if there is no file.
    ///
    /// # Errors
    /// The disk fails, or the file is damaged: without its counter no order can be told from a repeated one.
    pub(super) fn read(&self) -> io::Result<Memory> {
        match files::read(&self.0, MAX_FILE_BYTES) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memory::default()),
            Err(error) => Err(error),
        }
    }

    /// Makes the memory durable.
    ///
    /// # Errors
    /// The disk fails; the file then holds the former memory or the new one.
    pub(super) fn write(&self, memory: &Memory) -> io::Result<()> {
        files::replace(&self.0, &serde_json::to_vec(memory)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_survives_and_a_damaged_file_is_an_error() {
        let dir = tempfile::tempdir().expect("dir");
        let file = MemoryFile::new(dir.path());
        assert_eq!(file.read().expect("none"), Memory::default());
        let memory = Memory {
            counter: 7,
            last: "o-7".to_owned(),
            open: Some(Open {
                order: "o-7".to_owned(),
                lease: LeaseId::random(),
                sha256: "ab".to_owned(),
            }),
        };
        file.write(&memory).expect("written");
        assert_eq!(file.read().expect("whole"), memory);
        std::fs::write(&file.0, "{").expect("damaged");
        assert!(file.read().is_err());
    }
}
