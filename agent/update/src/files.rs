//! The files of an update: the pointer, the two slots, the download and the copy of the firmware's state.
//! Decides nothing.

use std::io;

use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use iottly_protocol::release::ChunkList;
use sha2::{Digest, Sha256};

use crate::disk::Disk;
use crate::engines::{ENGINE_FILES, StoredEngine};
use crate::memory::Memory;
use crate::offer::Planned;
use crate::slot::{Running, Slot};

const POINTER: &str = "update/pointer";
const POINTER_NEW: &str = "update/pointer.new";
const CHUNKS: &str = "update/download.chunks";
const PART: &str = "update/download.part";
const STATE: &str = "firmware.state";
const STATE_NEW: &str = "update/state.new";
const COPY: &str = "update/state.copy";
const COPY_NEW: &str = "update/state.copy.new";
/// Maximum size of the state file in bytes, above what a firmware may store.
const MAX_STATE: u64 = 4 << 20;
/// Number of bytes that are hashed at a time.
const STEP: u64 = 1 << 20;

/// Returns the file of a slot.
#[must_use]
pub const fn slot_file(slot: Slot) -> &'static str {
    match slot {
        Slot::A => "update/slot-a.wasm",
        Slot::B => "update/slot-b.wasm",
    }
}

/// Reads the firmware that the pointer names; none without a pointer, which counts as the factory firmware.
///
/// # Errors
/// The disk fails; [`io::ErrorKind::InvalidData`] if the pointer names no firmware.
pub fn read_pointer(disk: &impl Disk) -> io::Result<Option<Running>> {
    match disk.read(POINTER, 16)?.as_deref() {
        None => Ok(None),
        Some(b"factory\n") => Ok(Some(Running::Factory)),
        Some(b"a\n") => Ok(Some(Running::Slot(Slot::A))),
        Some(b"b\n") => Ok(Some(Running::Slot(Slot::B))),
        Some(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the pointer names no firmware",
        )),
    }
}

/// Points to a firmware: one atomic rename.
///
/// # Errors
/// The disk fails; the pointer then names the former firmware or the new one.
pub fn point(disk: &mut impl Disk, to: Running) -> io::Result<()> {
    let text: &[u8] = match to {
        Running::Factory => b"factory\n",
        Running::Slot(Slot::A) => b"a\n",
        Running::Slot(Slot::B) => b"b\n",
    };
    replace(disk, POINTER_NEW, POINTER, text)
}

fn replace(disk: &mut impl Disk, new: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    disk.remove(new)?;
    disk.write_at(new, 0, bytes)?;
    disk.sync(new)?;
    disk.rename(new, name)?;
    disk.sync_names()
}

/// Copies the firmware's state for a roll-back.
///
/// # Errors
/// The disk fails.
pub fn copy_state(disk: &mut impl Disk) -> io::Result<()> {
    let copy = match disk.read(STATE, MAX_STATE)? {
        Some(state) => [&[1], &state[..]].concat(),
        None => vec![0],
    };
    replace(disk, COPY_NEW, COPY, &copy)
}

/// Restores the firmware's state from the copy.
///
/// # Errors
/// The disk fails.
pub fn restore_state(disk: &mut impl Disk) -> io::Result<()> {
    match disk
        .read(COPY, MAX_STATE + 1)?
        .as_deref()
        .and_then(<[u8]>::split_first)
    {
        Some((1, state)) => replace(disk, STATE_NEW, STATE, state),
        Some(_) => {
            disk.remove(STATE)?;
            disk.sync_names()
        }
        None => Ok(()),
    }
}

/// Returns true if there is a copy of the firmware's state, which means that a trial was under way.
///
/// # Errors
/// The disk fails.
pub(crate) fn has_copy(disk: &impl Disk) -> io::Result<bool> {
    Ok(!disk.read_at(COPY, 0, 1)?.is_empty())
}

/// Removes temporary files of an update, and engines that the journal does not name any more.
///
/// # Errors
/// The disk fails.
pub fn clean_up(disk: &mut impl Disk, memory: &Memory) -> io::Result<()> {
    remove_other_engines(disk, memory)?;
    for name in [COPY, COPY_NEW, STATE_NEW, POINTER_NEW, CHUNKS, PART] {
        disk.remove(name)?;
    }
    disk.sync_names()
}

/// Download under way. Stored parts are found by hashing them again, never by the file's length.
#[derive(Debug)]
pub struct Download {
    list: ChunkList,
    sha256: String,
    chunk_size: u64,
    size: u64,
    kept: Vec<bool>,
}

impl Download {
    /// Resumes a download with the parts that are stored.
    ///
    /// # Errors
    /// The disk fails.
    pub fn resume(disk: &impl Disk, release: &Planned, list: ChunkList) -> io::Result<Self> {
        let kept = vec![false; list.len()];
        let mut download = Self {
            list,
            sha256: release.sha256.clone(),
            chunk_size: release.chunk_size,
            size: release.size,
            kept,
        };
        for number in 0..download.kept.len() {
            let (from, len) = download.range(number);
            let part = disk.read_at(PART, from, len)?;
            download.kept[number] = part.len() as u64 == len && download.list.matches(number, &part);
        }
        Ok(download)
    }

    /// Returns true if this is the download of the release with that digest.
    #[must_use]
    pub fn is_of(&self, sha256: &str) -> bool {
        self.sha256 == sha256
    }

    /// Returns number, first byte and length of the first missing part.
    #[must_use]
    pub fn missing(&self) -> Option<(usize, u64, u64)> {
        let number = self.kept.iter().position(|kept| !kept)?;
        let (from, len) = self.range(number);
        Some((number, from, len))
    }

    fn range(&self, number: usize) -> (u64, u64) {
        let from = (number as u64).saturating_mul(self.chunk_size).min(self.size);
        (from, self.chunk_size.min(self.size - from))
    }

    /// Stores a part if it is what was signed; returns whether it is.
    ///
    /// # Errors
    /// The disk fails.
    pub fn keep(&mut self, disk: &mut impl Disk, number: usize, part: &[u8]) -> io::Result<bool> {
        let (from, len) = self.range(number);
        if part.len() as u64 != len || !self.list.matches(number, part) {
            return Ok(false);
        }
        disk.write_at(PART, from, part)?;
        disk.sync(PART)?;
        self.kept[number] = true;
        Ok(true)
    }
}

/// Reads the stored list of parts if it is this release's.
///
/// # Errors
/// The disk fails.
pub fn kept_list(disk: &impl Disk, release: &Planned) -> io::Result<Option<ChunkList>> {
    let list = disk
        .read(CHUNKS, 256 << 10)?
        .and_then(|bytes| ChunkList::decode(&bytes));
    Ok(list.filter(|list| is_list_of(list, release)))
}

/// Returns true if a list has the signed root and one digest for each part.
#[must_use]
pub fn is_list_of(list: &ChunkList, release: &Planned) -> bool {
    let parts = release.size.div_ceil(release.chunk_size.max(1)).max(1);
    list.len() as u64 == parts && iottly_protocol::tuf::encode_hex(&list.root()) == release.chunk_root
}

/// Begins a download: removes parts of another one and stores the list. The list of a single part is what the
/// release names itself, so it is not stored, and nothing has to be durable yet.
///
/// # Errors
/// The disk fails.
pub fn begin_download(disk: &mut impl Disk, list: &ChunkList) -> io::Result<()> {
    disk.remove(PART)?;
    disk.remove(CHUNKS)?;
    if list.len() == 1 {
        return disk.write_at(PART, 0, &[]);
    }
    disk.write_at(CHUNKS, 0, &list.encode())?;
    disk.write_at(PART, 0, &[])?;
    disk.sync(CHUNKS)?;
    disk.sync_names()
}

/// Removes the parts of a download and their list.
pub(crate) fn forget_download(disk: &mut impl Disk) -> io::Result<()> {
    disk.remove(PART)?;
    disk.remove(CHUNKS)?;
    disk.sync_names()
}

/// Checks the digest of the whole file and moves it to its slot. May be repeated after a power cut.
///
/// # Errors
/// The disk fails.
pub fn fill_slot(disk: &mut impl Disk, release: &Planned, slot: Slot) -> io::Result<bool> {
    fill(disk, release, slot_file(slot))
}

/// Checks the digest of a whole download and moves it to `file`. May be repeated after a power cut.
pub(crate) fn fill(disk: &mut impl Disk, release: &Planned, file: &str) -> io::Result<bool> {
    if is_release(disk, PART, release)? {
        disk.sync(PART)?;
        disk.rename(PART, file)?;
        disk.sync_names()?;
    }
    is_release(disk, file, release)
}

/// Returns true if a file is the release, by length and digest.
///
/// # Errors
/// The disk fails.
pub fn is_release(disk: &impl Disk, name: &str, release: &Planned) -> io::Result<bool> {
    Ok(hash(disk, name, release.size)?
        .is_some_and(|(length, digest)| length == release.size && digest == release.sha256))
}

/// Returns the digest of a file, hex; none if there is no file, or it is longer than releases are.
///
/// # Errors
/// The disk fails.
pub(crate) fn digest(disk: &impl Disk, name: &str) -> io::Result<Option<String>> {
    Ok(hash(disk, name, MAX_COMPONENT_BYTES as u64)?
        .filter(|(length, _)| *length > 0)
        .map(|(_, digest)| digest))
}

/// Returns the engines whose files are what was verified.
pub(crate) fn intact_engines(disk: &impl Disk, memory: &Memory) -> io::Result<Vec<StoredEngine>> {
    let mut intact = Vec::new();
    for engine in &memory.engines {
        if is_stored(disk, engine)? {
            intact.push(engine.clone());
        }
    }
    Ok(intact)
}

/// Returns true if the file of an engine is what was verified.
pub(crate) fn is_stored(disk: &impl Disk, engine: &StoredEngine) -> io::Result<bool> {
    Ok(digest(disk, engine.file())?.is_some_and(|found| found == engine.sha256))
}

/// Writes the file of an engine. A power cut leaves one that is not intact.
pub(crate) fn write_engine(disk: &mut impl Disk, engine: &StoredEngine, content: &[u8]) -> io::Result<()> {
    let file = engine.file();
    disk.remove(file)?;
    disk.write_at(file, 0, content)?;
    disk.sync(file)?;
    disk.sync_names()
}

/// Removes the files of engines that the journal does not name. The caller makes the names durable.
pub(crate) fn remove_other_engines(disk: &mut impl Disk, memory: &Memory) -> io::Result<()> {
    for file in ENGINE_FILES {
        if memory.engines.iter().all(|engine| engine.file() != file) {
            disk.remove(file)?;
        }
    }
    Ok(())
}

/// Returns length and digest of a file; none if it is longer than `limit`.
fn hash(disk: &impl Disk, name: &str, limit: u64) -> io::Result<Option<(u64, String)>> {
    let mut hasher = Sha256::new();
    let mut offset = 0;
    loop {
        let bytes = disk.read_at(name, offset, STEP)?;
        if bytes.is_empty() {
            return Ok(Some((
                offset,
                iottly_protocol::tuf::encode_hex(&hasher.finalize()),
            )));
        }
        offset += bytes.len() as u64;
        if offset > limit {
            return Ok(None);
        }
        hasher.update(&bytes);
    }
}
