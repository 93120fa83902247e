//! Files of the system under one root, the exclusive use of parts, and errors with the step that mends them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::BoardError;

/// Maximum number of bytes read of a file of the system.
const MAX_BYTES: u64 = 64 << 10;

/// Files of the system.
#[derive(Debug, Clone)]
pub(crate) struct System {
    root: PathBuf,
}

impl System {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(super) fn dev(&self, node: &str) -> PathBuf {
        self.root.join("dev").join(node)
    }

    pub(super) fn sys(&self, path: &str) -> PathBuf {
        self.root.join("sys").join(path)
    }

    /// Returns the machine's model, empty without a device tree.
    pub(super) fn model(&self) -> String {
        text(&self.root.join("proc/device-tree/model")).unwrap_or_default()
    }

    /// Returns the error of a part whose file cannot be used.
    pub(crate) fn refusal(
        &self,
        label: &str,
        path: &Path,
        needs: Option<&str>,
        error: &io::Error,
    ) -> BoardError {
        let (label, node) = (label.to_owned(), path.display().to_string());
        match error.kind() {
            ErrorKind::NotFound => BoardError::Absent {
                label,
                node,
                remedy: needs.map_or_else(
                    || "is the device connected, and its driver loaded?".to_owned(),
                    |needs| format!("add {needs} to /boot/firmware/config.txt and restart the machine"),
                ),
            },
            ErrorKind::PermissionDenied => BoardError::Denied {
                remedy: self.permission(path),
                label,
                node,
            },
            ErrorKind::ResourceBusy => BoardError::Busy {
                label,
                by: "another program or the kernel".to_owned(),
            },
            _ => BoardError::Io(format!("{label:?}: {node}: {error}")),
        }
    }

    /// Returns the step that gives the agent's user access to a file.
    fn permission(&self, path: &Path) -> String {
        let by_group = std::fs::metadata(path)
            .ok()
            .filter(|found| found.mode() & 0o060 == 0o060);
        match by_group.and_then(|found| self.group(found.gid())) {
            Some(group) => format!("run: sudo usermod -aG {group} USER, and start the agent again"),
            None => {
                "its group may not read and write it: a rule of udev has to set group and mode".to_owned()
            }
        }
    }

    fn group(&self, id: u32) -> Option<String> {
        let groups = text(&self.root.join("etc/group")).ok()?;
        groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(id) && id != 0).then(|| name.to_owned())
        })
    }
}

/// Reads a small text file, without the line's end.
pub(super) fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    text.truncate(text.trim_end_matches(['\n', '\0']).len());
    Ok(text)
}

/// Parts of the board that are open, by their hardware.
#[derive(Clone, Default)]
pub(super) struct Claims(Arc<Mutex<BTreeSet<String>>>);

/// Exclusive use of a part, until it is dropped.
pub(super) struct Claim {
    claims: Claims,
    hardware: String,
}

impl Claims {
    /// Takes a part. Two labels of one hardware exclude each other.
    pub(super) fn take(&self, hardware: String, label: &str) -> Result<Claim, BoardError> {
        if !locked(&self.0).insert(hardware.clone()) {
            return Err(BoardError::InUse {
                label: label.to_owned(),
            });
        }
        Ok(Claim {
            claims: self.clone(),
            hardware,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        locked(&self.claims.0).remove(&self.hardware);
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
