//! The head: the queue's knowledge beside its segments, in one small file of two slots.
//!
//! A slot is only overwritten while the other one is known to be durable, so that a power cut at any moment
//! leaves one whole slot. Each commit writes the head without a sync; it is synced before anything is
//! removed. A head that is behind its segments is updated from them; one that is ahead shows that a tail is
//! lost.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iottly_protocol::{GapReason, StreamClass, StreamId};

use super::CLASSES;
use super::disk::Disk;
use super::frame::class_byte;
use super::gaps::Gaps;
use crate::files;

/// Name of the file in the queue's folder.
pub(super) const HEAD_FILE: &str = "head";
/// Size of a slot, in bytes: enough for two streams with the maximum number of spans.
const SLOT_BYTES: usize = 8 << 10;
/// Maximum size of a head that is read while an agent may be using it, in bytes.
const MAX_HEAD_BYTES: u64 = 1 << 20;
const MAGIC: &[u8; 8] = b"iottlyq1";
/// Size of magic, generation, length and checksum before a slot's body, in bytes.
const HEADER_BYTES: usize = 8 + 8 + 4 + 4;

/// State of one stream. Positions count the queue's records and never restart; a stream's numbers do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamHead {
    pub(super) stream: StreamId,
    /// Position before the stream's number 1.
    pub(super) base: u64,
    /// Last acknowledged position.
    pub(super) acked: u64,
    /// Position of the next record.
    pub(super) next: u64,
    pub(super) gaps: Gaps,
    /// Age clock when the stream replaced an earlier one, in milliseconds; 0 for an original stream.
    pub(super) minted_ms: u64,
}

impl StreamHead {
    pub(super) fn fresh() -> Self {
        Self {
            stream: StreamId::random(),
            base: 0,
            acked: 0,
            next: 1,
            gaps: Gaps::default(),
            minted_ms: 0,
        }
    }
}

/// Content of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) queue: [u8; 16],
    /// Age clock of the queue: time that agents have run on it, in milliseconds.
    pub(super) age_ms: u64,
    pub(super) streams: [StreamHead; 2],
}

impl Head {
    fn encode(&self, generation: u64) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        out.extend_from_slice(&self.queue);
        out.extend_from_slice(&self.age_ms.to_be_bytes());
        for (class, head) in CLASSES.into_iter().zip(&self.streams) {
            out.push(class_byte(class));
            out.extend_from_slice(head.stream.as_bytes());
            for number in [head.base, head.acked, head.next, head.gaps.spans().len() as u64] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            for span in head.gaps.spans() {
                out.push(reason_byte(span.reason));
                out.extend_from_slice(&span.from.to_be_bytes());
                out.extend_from_slice(&span.to.to_be_bytes());
            }
        }
        // At the end, which earlier agents do not read.
        for head in &self.streams {
            out.extend_from_slice(&head.minted_ms.to_be_bytes());
        }
        let len = u32::try_from(out.len() - HEADER_BYTES).expect("a slot is small");
        out[..8].copy_from_slice(MAGIC);
        out[8..16].copy_from_slice(&generation.to_be_bytes());
        out[16..20].copy_from_slice(&len.to_be_bytes());
        let crc = checksum(&out);
        out[20..24].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Returns generation and content of a slot; `None` if it is damaged.
    fn decode(slot: &[u8]) -> Option<(u64, Self)> {
        let mut header = Cursor(slot);
        (header.take(8)? == MAGIC).then_some(())?;
        let generation = header.number()?;
        let len = u32::from_be_bytes(header.take(4)?.try_into().ok()?) as usize;
        let crc = u32::from_be_bytes(header.take(4)?.try_into().ok()?);
        let body = header.take(len)?;
        (crc == checksum(&slot[..HEADER_BYTES + len])).then_some(())?;
        let mut body = Cursor(body);
        let queue = body.take(16)?.try_into().ok()?;
        let age_ms = body.number()?;
        let [history, control] = CLASSES;
        let mut streams = [stream(&mut body, history)?, stream(&mut body, control)?];
        for head in &mut streams {
            head.minted_ms = body.number().unwrap_or(0);
        }
        Some((
            generation,
            Self {
                queue,
                age_ms,
                streams,
            },
        ))
    }
}

fn stream(body: &mut Cursor<'_>, class: StreamClass) -> Option<StreamHead> {
    (body.take(1)? == [class_byte(class)]).then_some(())?;
    let stream = StreamId::from_bytes(body.take(16)?.try_into().ok()?);
    let base = body.number()?;
    let acked = body.number()?;
    let next = body.number()?;
    let spans = body.number()?;
    let mut gaps = Gaps::default();
    for _ in 0..spans {
        let reason = reason(body.take(1)?[0])?;
        let from = body.number()?;
        let to = body.number()?;
        gaps.add(from, to, reason);
    }
    (base <= acked && acked < next).then_some(StreamHead {
        stream,
        base,
        acked,
        next,
        gaps,
        minted_ms: 0,
    })
}

/// Returns the checksum of a slot, excluding the checksum field.
fn checksum(slot: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&slot[..20]);
    hasher.update(&slot[HEADER_BYTES..]);
    hasher.finalize()
}

struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }
}

const REASONS: [GapReason; 6] = [
    GapReason::Ttl,
    GapReason::Budget,
    GapReason::Corruption,
    GapReason::Refused,
    GapReason::HeadMismatch,
    GapReason::Restore,
];

fn reason_byte(reason: GapReason) -> u8 {
    REASONS
        .iter()
        .position(|other| *other == reason)
        .map_or(0, |at| u8::try_from(at + 1).expect("six reasons"))
}

fn reason(byte: u8) -> Option<GapReason> {
    REASONS.get(usize::from(byte).checked_sub(1)?).copied()
}

/// Reads the head of a queue that an agent may be using; `None` if no slot is whole.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn read(folder: &Path) -> io::Result<Option<Head>> {
    match files::read(&folder.join(HEAD_FILE), MAX_HEAD_BYTES) {
        Ok(bytes) => Ok(best(&bytes).map(|(_, _, head)| head)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Returns index, generation and content of the newest whole slot.
fn best(bytes: &[u8]) -> Option<(usize, u64, Head)> {
    let slots = bytes.chunks(SLOT_BYTES).take(2).enumerate();
    let whole = slots
        .filter_map(|(slot, bytes)| Head::decode(bytes).map(|(generation, head)| (slot, generation, head)));
    whole.max_by_key(|(_, generation, _)| *generation)
}

/// Open file of the head.
pub(super) struct HeadFile {
    path: PathBuf,
    file: File,
    disk: Arc<dyn Disk>,
    generation: u64,
    /// Slot that is durable.
    durable: usize,
    /// The other slot was written since the last sync.
    dirty: bool,
}

impl HeadFile {
    /// Opens or creates the head in `folder`; the content is `None` if no slot is whole.
    pub(super) fn open(folder: &Path, disk: &Arc<dyn Disk>) -> io::Result<(Self, Option<Head>)> {
        let path = folder.join(HEAD_FILE);
        if std::fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            files::put_aside(&path)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        let found = best(&bytes[..filled]);
        if filled < bytes.len() {
            // Allocate both slots now: a sync of data may not cover a later change of the file's size.
            disk.write_at(&path, &file, filled as u64, &vec![0; bytes.len() - filled])?;
        }
        // The last write of a killed process may not be durable yet, and the next write relies on it.
        disk.sync_file(&path, &file)?;
        disk.sync_folder(folder)?;
        let (durable, generation) = found
            .as_ref()
            .map_or((0, 0), |(slot, generation, _)| (*slot, *generation));
        let head = Self {
            path,
            file,
            disk: Arc::clone(disk),
            generation,
            durable,
            dirty: false,
        };
        Ok((head, found.map(|(_, _, head)| head)))
    }

    /// Writes the head without a sync.
    pub(super) fn write(&mut self, head: &Head) -> io::Result<()> {
        let bytes = head.encode(self.generation + 1);
        let slot = 1 - self.durable;
        self.disk
            .write_at(&self.path, &self.file, (slot * SLOT_BYTES) as u64, &bytes)?;
        self.generation += 1;
        self.dirty = true;
        Ok(())
    }

    /// Makes the last write durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.disk.sync_file(&self.path, &self.file)?;
            self.durable = 1 - self.durable;
            self.dirty = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::SystemDisk;
    use super::*;

    fn head(next: u64) -> Head {
        let mut head = Head {
            queue: [7; 16],
            age_ms: next,
            streams: [StreamHead::fresh(), StreamHead::fresh()],
        };
        head.streams[0].next = next;
        for n in 0..super::super::gaps::MAX_SPANS as u64 {
            head.streams[0].gaps.add(2 * n + 1, 2 * n + 1, GapReason::Ttl);
            head.streams[1]
                .gaps
                .add(2 * n + 1, 2 * n + 1, GapReason::HeadMismatch);
        }
        head
    }

    fn open(folder: &Path) -> (HeadFile, Option<Head>) {
        let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
        HeadFile::open(folder, &disk).expect("open")
    }

    #[test]
    fn a_full_head_fits_a_slot_and_is_read_back() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(head(1000).encode(1).len() <= SLOT_BYTES);
        let (mut file, found) = open(dir.path());
        assert_eq!(found, None);
        for next in 1000..1010 {
            file.write(&head(next)).expect("write");
            if next % 3 == 0 {
                file.sync().expect("sync");
            }
        }
        drop(file);
        let streams = open(dir.path()).1.expect("whole").streams;
        assert_eq!(
            (streams[0].next, &streams[1].gaps),
            (1009, &head(1).streams[1].gaps)
        );
    }

    #[test]
    fn any_damage_of_one_slot_leaves_the_other() {
        let dir = tempfile::tempdir().expect("dir");
        let (mut file, _) = open(dir.path());
        let old = head(1000);
        let new = head(1001);
        file.write(&old).expect("write");
        file.sync().expect("sync");
        file.write(&new).expect("write");
        let path = dir.path().join(HEAD_FILE);
        let whole = std::fs::read(&path).expect("read");
        let slot = file.durable;
        let newer = (1 - slot) * SLOT_BYTES;
        let len = new.encode(1).len();
        for at in (0..len).step_by(7) {
            let mut torn = whole.clone();
            torn[newer + at] ^= 0x10;
            std::fs::write(&path, &torn).expect("write");
            let found = open(dir.path()).1.expect("one slot is whole");
            assert_eq!(found.streams[0].next, 1000, "byte {at}");
        }
    }

    #[test]
    fn rubbish_is_no_head() {
        let dir = tempfile::tempdir().expect("dir");
        for rubbish in [&b""[..], b"iottlyq1", &[0xff; 3 * SLOT_BYTES]] {
            std::fs::write(dir.path().join(HEAD_FILE), rubbish).expect("write");
            assert_eq!(open(dir.path()).1, None);
        }
    }
}
