//! Restoration of a whole cloud into empty folders. Everything is unpacked beside its place and checked before the first
//! file is in its place; the database comes last, so that an interrupted restoration is no cloud.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use iottly_protocol::{ProjectId, Secret};
use iottly_store as store;
use serde::Deserialize;

use super::{BackupError, archive, sealed_io, sync_folder};
use crate::cloud::CloudConfig;
use crate::data_lock::DataLock;
use crate::key_places::{KeyPlaces, SIGNING};

/// Folder in which a backup is unpacked, in the data folder.
const UNPACKED: &str = ".restoring";
/// Names that an empty folder may contain.
const NOTHING: [&str; 3] = ["lock", "lost+found", UNPACKED];
/// Version of the layout that this version reads.
const FORMAT: u32 = 1;
/// Maximum size of the description, in bytes.
const MAX_ABOUT: u64 = 64 << 10;

#[derive(Deserialize)]
struct About {
    format: u32,
    iottly: String,
}

/// Fills the empty folders, and the empty database, of a cloud from an encrypted backup.
///
/// # Errors
/// If something is in the way, or the backup is not whole; nothing is in its place then.
pub async fn restore_all(config: &CloudConfig, file: &Path, passphrase: &Secret) -> Result<(), BackupError> {
    let _lock = DataLock::take(&config.data)
        .map_err(|reason| BackupError::Data(format!("data folder {}: {reason}", config.data.display())))?;
    let keys = config.key_places();
    let seal = keys.seal_file();
    for folder in [Some(config.data.as_path()), keys.folder()].into_iter().flatten() {
        check_empty(folder)?;
    }
    if seal.exists() {
        return Err(BackupError::InUse(seal.display().to_string()));
    }
    let unpacked = config.data.join(UNPACKED);
    let _ = fs::remove_dir_all(&unpacked);
    let done = place(config, &keys, file, passphrase, &unpacked).await;
    let _ = fs::remove_dir_all(&unpacked);
    done
}

async fn place(
    config: &CloudConfig,
    keys: &KeyPlaces,
    file: &Path,
    passphrase: &Secret,
    unpacked: &Path,
) -> Result<(), BackupError> {
    let (from, to, passphrase) = (file.to_owned(), unpacked.to_owned(), passphrase.clone());
    let names = tokio::task::spawn_blocking(move || unpack(&from, &to, &passphrase));
    let names = names
        .await
        .map_err(|error| BackupError::Data(format!("failed to unpack the backup: {error}")))??;
    let database = unpacked.join(archive::DATABASE);
    if !database.exists() {
        return Err(BackupError::Data("the backup contains no database".into()));
    }
    let mut placed = Vec::new();
    let all = || -> Result<(), BackupError> {
        for name in names {
            if matches!(name.as_str(), archive::DATABASE | archive::ABOUT) {
                continue;
            }
            let (from, to) = (unpacked.join(&name), target(config, keys, &name));
            put(&from, &to).map_err(|reason| BackupError::file(&to, reason))?;
            placed.push(to);
        }
        Ok(())
    };
    let done = match all() {
        Ok(()) => store::restore(&database, &config.database())
            .await
            .map_err(Into::into),
        Err(error) => Err(error),
    };
    if done.is_err() {
        for path in placed {
            let _ = fs::remove_file(path);
        }
    }
    done
}

/// Refuses a folder that holds anything.
fn check_empty(folder: &Path) -> Result<(), BackupError> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(reason) => return Err(BackupError::file(folder, reason)),
    };
    for entry in listed {
        let name = entry
            .map_err(|reason| BackupError::file(folder, reason))?
            .file_name();
        if !NOTHING.iter().any(|nothing| name == *nothing) {
            return Err(BackupError::InUse(folder.display().to_string()));
        }
    }
    Ok(())
}

/// Unpacks the backup; returns the names of its files once all of it is known to be whole.
fn unpack(file: &Path, to: &Path, passphrase: &Secret) -> Result<Vec<String>, BackupError> {
    let failed = |reason| BackupError::file(file, reason);
    let from = File::open(file).map_err(failed)?;
    let mut from = sealed_io::SealedReader::new(io::BufReader::new(from), passphrase).map_err(failed)?;
    let mut names = Vec::new();
    while let Some((name, length)) = archive::next(&mut from).map_err(failed)? {
        if name == archive::ABOUT {
            check_about(&mut from, length).map_err(failed)?;
            names.push(name);
            continue;
        }
        if names.is_empty() {
            return Err(BackupError::Data(
                "the backup does not begin with its description".into(),
            ));
        }
        let path = to.join(&name);
        let written = write(&mut from, length, &path);
        written.map_err(|reason| BackupError::file(&path, reason))?;
        names.push(name);
    }
    let rest = from.read(&mut [0]).map_err(failed)?;
    if rest > 0 {
        return Err(BackupError::Data(
            "the backup has bytes after its last file".into(),
        ));
    }
    Ok(names)
}

fn check_about(from: &mut impl Read, length: u64) -> io::Result<()> {
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    if length > MAX_ABOUT {
        return Err(invalid(format!(
            "the description of the backup has {length} bytes"
        )));
    }
    let mut text = Vec::new();
    from.take(length).read_to_end(&mut text)?;
    let about: About = serde_json::from_slice(&text)
        .map_err(|error| invalid(format!("the description of the backup: {error}")))?;
    if about.format == FORMAT {
        Ok(())
    } else {
        Err(invalid(format!(
            "the backup was made by iottly {} in a format of its own ({}); restore it with that version",
            about.iottly, about.format
        )))
    }
}

fn folder(path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(parent)
}

fn write(from: &mut impl Read, length: u64, path: &Path) -> io::Result<()> {
    folder(path)?;
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    if io::copy(&mut from.take(length), &mut file)? != length {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the backup ends within this file",
        ));
    }
    file.sync_all()
}

/// Returns the place of a file of the backup.
fn target(config: &CloudConfig, keys: &KeyPlaces, name: &str) -> PathBuf {
    let mut parts = name.splitn(4, '/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(archive::SEAL), None, ..) => keys.seal_file(),
        (Some(archive::TLS), Some(first), second, third) => [Some(first), second, third]
            .into_iter()
            .flatten()
            .fold(keys.tls(), |path, part| path.join(part)),
        (Some(archive::RELEASES), Some(project), Some(SIGNING), Some(key)) => {
            match project.parse::<ProjectId>() {
                Ok(project) => keys.signing(project).join(key),
                Err(_) => config.data.join(name),
            }
        }
        _ => config.data.join(name),
    }
}

/// Moves a file to its place, or copies it to another file system; replaces nothing.
fn put(from: &Path, to: &Path) -> io::Result<()> {
    folder(to)?;
    match fs::hard_link(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // Another file system, or one without links.
        Err(_) => {
            let length = fs::metadata(from)?.len();
            write(&mut File::open(from)?, length, to)?;
        }
    }
    sync_folder(to)
}
