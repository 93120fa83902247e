//! Files of a cloud that belong into a backup, with their names there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use iottly_protocol::ProjectId;

use super::{BackupError, archive};
use crate::key_places::{KeyPlaces, RELEASES, SIGNING};

/// Maximum depth of folders below a repository.
const MAX_DEPTH: usize = 8;
/// Metadata of a repository that is read first.
const TIMESTAMP: &str = "repository/metadata/timestamp.json";

/// Returns names and paths: keys first, then each project's repository with its timestamp first.
pub(super) fn files(data: &Path, keys: &KeyPlaces) -> Result<Vec<(String, PathBuf)>, BackupError> {
    let mut found = Vec::new();
    let seal = keys.seal_file();
    if seal.exists() {
        found.push((archive::SEAL.to_owned(), seal));
    }
    walk(&keys.tls(), archive::TLS, MAX_DEPTH, &mut found)?;
    let releases = data.join(RELEASES);
    for name in entries(&releases)? {
        let Ok(project) = name.parse::<ProjectId>() else {
            continue;
        };
        let (folder, prefix) = (releases.join(&name), format!("{RELEASES}/{name}"));
        walk(
            &keys.signing(project),
            &format!("{prefix}/{SIGNING}"),
            MAX_DEPTH,
            &mut found,
        )?;
        let timestamp = format!("{prefix}/{TIMESTAMP}");
        let mut of_project = Vec::new();
        for part in entries(&folder)? {
            if part != SIGNING {
                walk(
                    &folder.join(&part),
                    &format!("{prefix}/{part}"),
                    MAX_DEPTH,
                    &mut of_project,
                )?;
            }
        }
        of_project.sort_by_key(|(name, _)| *name != timestamp);
        found.append(&mut of_project);
    }
    Ok(found)
}

/// Adds all regular files at or below a path. Files that are being written have the extension `new`.
fn walk(
    path: &Path,
    name: &str,
    depth: usize,
    found: &mut Vec<(String, PathBuf)>,
) -> Result<(), BackupError> {
    let kind = match fs::symlink_metadata(path) {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(reason) => return Err(BackupError::file(path, reason)),
    };
    if kind.is_file() && path.extension().is_none_or(|extension| extension != "new") {
        found.push((name.to_owned(), path.to_owned()));
    }
    if kind.is_dir() && depth > 0 {
        for entry in entries(path)? {
            walk(&path.join(&entry), &format!("{name}/{entry}"), depth - 1, found)?;
        }
    }
    Ok(())
}

/// Returns the names in a folder in their order; none if it does not exist. Names that are not UTF-8 are not the cloud's.
fn entries(folder: &Path) -> Result<Vec<String>, BackupError> {
    let failed = |reason| BackupError::file(folder, reason);
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(reason) => return Err(failed(reason)),
    };
    let mut names = Vec::new();
    for entry in listed {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
