//! Disk space: the free bytes of the disk under the repositories, and the bytes that a project uses.

use std::fs;
use std::path::Path;

use super::{ReleaseError, prune};

/// Free bytes of the disk below which no code, component or release is accepted: 128 MiB, on small disks a
/// twentieth.
pub const FREE_FLOOR: u64 = 128 << 20;
/// Divisor of a disk's size that limits [`FREE_FLOOR`]: a twentieth, so that a small disk is not refused from
/// the start.
const FLOOR_PART: u64 = 20;

/// Returns the free bytes below which nothing is accepted on a disk of this size, unless configured.
fn floor_of(set: Option<u64>, disk: u64) -> u64 {
    set.unwrap_or(FREE_FLOOR.min(disk / FLOOR_PART))
}

/// Returns true if the disk of a folder has less than the floor free.
///
/// # Errors
/// If the operating system does not report it.
pub(crate) fn is_short(folder: &Path, floor: Option<u64>) -> Result<bool, ReleaseError> {
    let stat = rustix::fs::statvfs(folder).map_err(|error| ReleaseError::file(folder, error.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(bytes(stat.f_bavail) < floor_of(floor, bytes(stat.f_blocks)))
}

/// Returns the bytes of all files below a folder for which `counts` returns true.
pub(super) fn measure(folder: &Path, counts: impl Fn(&Path) -> bool) -> Result<u64, ReleaseError> {
    let mut sum = 0u64;
    prune::files_below(folder, &mut |path| {
        if counts(&path) {
            sum = sum.saturating_add(fs::metadata(&path).map_or(0, |meta| meta.len()));
        }
    })?;
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_at_most_a_twentieth_unless_it_is_set() {
        assert_eq!(floor_of(None, 1 << 40), FREE_FLOOR);
        assert_eq!(floor_of(None, 64 << 20), (64 << 20) / 20);
        assert_eq!(floor_of(Some(7), 64 << 20), 7);
        let dir = tempfile::tempdir().expect("a folder");
        assert!(!is_short(dir.path(), Some(1)).expect("a disk"));
        assert!(is_short(dir.path(), Some(u64::MAX)).expect("a disk"));
        assert!(is_short(Path::new("/no/such/folder"), None).is_err());
    }
}
