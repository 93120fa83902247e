//! Identity under which this data folder's processes claim deliveries.

use std::fs;
use std::io;
use std::path::Path;

use iottly_store::webhooks::WorkerId;

use crate::random;

/// Returns the id under which this data folder's processes claim deliveries; creates it at the first start.
pub(crate) fn worker_id(path: &Path) -> io::Result<WorkerId> {
    if let Ok(text) = fs::read_to_string(path)
        && let Ok(id) = text.trim().parse()
    {
        return Ok(WorkerId(id));
    }
    // A lost or damaged file only means that its leases have to expire.
    let bytes = random::bytes().map_err(io::Error::other)?;
    let id = i64::from_le_bytes(bytes) & i64::MAX;
    fs::write(path, format!("{id}\n"))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(WorkerId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_number() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("worker.id");
        let id = worker_id(&path).expect("made");
        assert_eq!(worker_id(&path).expect("read"), id);
        fs::write(&path, "nonsense").expect("written");
        assert_ne!(worker_id(&path).expect("made again"), id);
    }
}
