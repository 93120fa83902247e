//! The identity in two files that are written in turn: a power cut while one is written leaves the other.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Identity;
use crate::files;

const FILES: [&str; 2] = ["0", "1"];
const MAGIC: &[u8; 8] = b"iottlyI1";
/// Magic, generation, length, checksum.
const HEADER: usize = 8 + 8 + 4 + 4;
/// Maximum size of a file, in bytes.
const MAX_BYTES: u64 = 16 << 10;

/// Error of the identity's files.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Both files are damaged.
    #[error("identity {0}: both files are damaged; enrol the board again")]
    Damaged(String),
    /// The file system failed.
    #[error("identity {path}: {reason}")]
    Io {
        /// The file or folder.
        path: String,
        /// Error of the system.
        reason: io::Error,
    },
}

/// Stored identity of a device.
#[derive(Debug)]
pub(crate) struct IdentityStore {
    folder: PathBuf,
    generation: u64,
    /// Index of the file that is written next.
    next: usize,
}

impl IdentityStore {
    /// Reads the newest whole file of the data folder; none if there is no identity.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub(crate) fn open(data: &Path) -> Result<(Self, Option<Identity>), IdentityError> {
        let folder = data.join("identity");
        let (mut best, mut present): (Option<(u64, usize, Identity)>, usize) = (None, 0);
        for (at, name) in FILES.iter().enumerate() {
            let path = folder.join(name);
            let bytes = match files::read(&path, MAX_BYTES) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // Something that no agent has written there.
                Err(error) if is_odd(&error) => {
                    present += 1;
                    continue;
                }
                Err(reason) => return Err(failed(&path, reason)),
            };
            present += 1;
            if let Some((generation, identity)) = decode(&bytes)
                && best.as_ref().is_none_or(|(newest, ..)| generation > *newest)
            {
                best = Some((generation, at, identity));
            }
        }
        match best {
            Some((generation, at, identity)) => {
                let store = Self {
                    folder,
                    generation,
                    next: 1 - at,
                };
                Ok((store, Some(identity)))
            }
            // A power cut during the very first write leaves one damaged file: the board was not enrolled yet.
            None if present < FILES.len() => {
                let store = Self {
                    folder,
                    generation: 0,
                    next: 0,
                };
                Ok((store, None))
            }
            None => Err(IdentityError::Damaged(folder.display().to_string())),
        }
    }

    /// Makes the identity durable. After an error or a power cut the former one is there.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub(crate) fn write(&mut self, identity: &Identity) -> Result<(), IdentityError> {
        let path = self.folder.join(FILES[self.next]);
        let write = || -> io::Result<()> {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.folder)?;
            if std::fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_file()) {
                files::put_aside(&path)?;
            }
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(&encode(self.generation + 1, identity))?;
            file.sync_all()?;
            File::open(&self.folder)?.sync_all()?;
            self.folder
                .parent()
                .map_or(Ok(()), |data| File::open(data)?.sync_all())
        };
        write().map_err(|reason| failed(&path, reason))?;
        self.generation += 1;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn is_odd(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge | io::ErrorKind::IsADirectory
    )
}

fn failed(path: &Path, reason: io::Error) -> IdentityError {
    IdentityError::Io {
        path: path.display().to_string(),
        reason,
    }
}

fn encode(generation: u64, identity: &Identity) -> Vec<u8> {
    let body = Zeroizing::new(serde_json::to_vec(identity).expect("an identity has string keys"));
    let length = u32::try_from(body.len()).expect("an identity is within the size of its file");
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&generation.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&body);
    let sum = checksum(&out);
    out[20..24].copy_from_slice(&sum.to_be_bytes());
    out
}

fn decode(bytes: &[u8]) -> Option<(u64, Identity)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (sum, body) = rest.split_first_chunk::<4>()?;
    (body.len() == u32::from_be_bytes(*len) as usize).then_some(())?;
    (checksum(bytes) == u32::from_be_bytes(*sum)).then_some(())?;
    Some((
        u64::from_be_bytes(*generation),
        serde_json::from_slice(body).ok()?,
    ))
}

/// Returns the checksum of a file, the place of the checksum itself left out.
fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..20]);
    hasher.update(&bytes[HEADER..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use iottly_protocol::{DeviceId, GroupId, ProjectId, Secret};

    use super::super::{Keys, Login};
    use super::*;

    fn identity(secret: &str) -> Identity {
        Identity {
            device_id: DeviceId::from_bytes([1; 16]),
            project_id: ProjectId::from_bytes([2; 12]),
            group_id: GroupId::from_bytes([3; 16]),
            host: "cloud.example".into(),
            port: 8443,
            own_authority: true,
            keys: Keys::new([4; 32], [5; 32]),
            login: Login {
                secret: Secret::new(secret),
                given: 1,
                valid_ms: 2,
            },
        }
    }

    fn secret(data: &Path) -> Option<String> {
        let (_, found) = IdentityStore::open(data).expect("opened");
        found.map(|identity| identity.login.secret.expose().to_owned())
    }

    #[test]
    fn an_identity_survives_a_power_cut_at_every_byte_of_a_write() {
        let dir = tempfile::tempdir().expect("dir");
        let data = dir.path();
        assert_eq!(secret(data), None);
        let (mut store, _) = IdentityStore::open(data).expect("opened");
        for name in ["one", "two", "three"] {
            store.write(&identity(name)).expect("written");
            assert_eq!(secret(data).as_deref(), Some(name));
        }
        let newest = data.join("identity").join(FILES[1 - store.next]);
        let mode = std::fs::metadata(&newest).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let whole = std::fs::read(&newest).expect("file");
        for at in 0..whole.len() {
            std::fs::write(&newest, &whole[..at]).expect("cut");
            assert_eq!(secret(data).as_deref(), Some("two"), "cut at {at}");
            let mut torn = whole.clone();
            torn[at] ^= 1;
            std::fs::write(&newest, &torn).expect("torn");
            assert_eq!(secret(data).as_deref(), Some("two"), "byte {at}");
        }
        // After the cut the next write goes over the damaged file.
        let (mut store, _) = IdentityStore::open(data).expect("opened");
        store.write(&identity("four")).expect("written");
        assert_eq!(secret(data).as_deref(), Some("four"));
        let (mut store, _) = IdentityStore::open(data).expect("opened");
        store.write(&identity("five")).expect("written");
        assert_eq!(secret(data).as_deref(), Some("five"));
    }

    #[test]
    fn a_cut_during_the_first_write_leaves_a_board_without_identity() {
        let dir = tempfile::tempdir().expect("dir");
        let folder = dir.path().join("identity");
        std::fs::create_dir(&folder).expect("folder");
        std::fs::write(folder.join("0"), b"iottlyI1").expect("cut");
        let (mut store, found) = IdentityStore::open(dir.path()).expect("opened");
        assert_eq!(found, None);
        store.write(&identity("one")).expect("written");
        assert_eq!(secret(dir.path()).as_deref(), Some("one"));
        for name in FILES {
            std::fs::write(folder.join(name), b"rubbish").expect("written");
        }
        let error = IdentityStore::open(dir.path())
            .expect_err("both damaged")
            .to_string();
        assert!(error.contains("enrol the board again"), "{error}");
    }

    #[test]
    fn secrets_are_not_printed() {
        let shown = format!("{:?}", identity("hunter2"));
        assert!(!shown.contains("hunter2") && !shown.contains("0404"), "{shown}");
    }
}
