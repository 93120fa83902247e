//! Dead letters: records that the cloud refused for good, in a small file of checksummed frames that can be
//! read while an agent runs.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use iottly_protocol::{StreamClass, StreamId, limits};

use super::CLASSES;
use super::disk::Disk;
use super::frame::class_byte;
use crate::files;

/// Name of the file in the queue's folder.
const FILE: &str = "dead-letters";
/// Maximum number of dead letters; when exceeded, the older half is removed.
pub(super) const MAX_DEAD_LETTERS: usize = 256;
/// Maximum size of a dead letter's record, in bytes; longer ones are cut.
pub(super) const MAX_DEAD_LETTER_BYTES: usize = 16 << 10;
/// Maximum size of a frame's content, in bytes: class, stream, number, reason, record.
const MAX_BODY_BYTES: usize = 1 + 16 + 8 + 2 + limits::MAX_TEXT_BYTES + MAX_DEAD_LETTER_BYTES;
/// Maximum size of the file that is read, in bytes.
const MAX_FILE_BYTES: u64 = (MAX_DEAD_LETTERS * (8 + MAX_BODY_BYTES)) as u64;
/// Flag in the class byte of a frame that names its stream; frames of earlier agents do not.
const WITH_STREAM: u8 = 0x10;

/// Record that the cloud refused for good, kept for inspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Class of the stream.
    pub class: StreamClass,
    /// Id of the stream; `None` in letters of earlier agents.
    pub stream: Option<StreamId>,
    /// Number in the stream.
    pub seq: u64,
    /// Reason given by the cloud.
    pub reason: String,
    /// Encoded record, cut to 16 KiB.
    pub record: Vec<u8>,
}

impl DeadLetter {
    fn encode(&self) -> Vec<u8> {
        let reason = limits::clip(&self.reason, limits::MAX_TEXT_BYTES);
        let record = &self.record[..self.record.len().min(MAX_DEAD_LETTER_BYTES)];
        let mut body = vec![class_byte(self.class)];
        if let Some(stream) = self.stream {
            body[0] += WITH_STREAM;
            body.extend_from_slice(stream.as_bytes());
        }
        body.extend_from_slice(&self.seq.to_be_bytes());
        body.extend_from_slice(
            &u16::try_from(reason.len())
                .expect("clipped to 4096")
                .to_be_bytes(),
        );
        body.extend_from_slice(reason.as_bytes());
        body.extend_from_slice(record);
        let mut frame = u32::try_from(body.len()).expect("clipped").to_be_bytes().to_vec();
        frame.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
        frame.extend_from_slice(&body);
        frame
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let (byte, body) = body.split_first()?;
        let class = CLASSES
            .into_iter()
            .find(|class| class_byte(*class) == byte & !WITH_STREAM)?;
        let (stream, body) = match byte & WITH_STREAM {
            0 => (None, body),
            _ => body
                .split_first_chunk::<16>()
                .map(|(id, body)| (Some(StreamId::from_bytes(*id)), body))?,
        };
        let (seq, body) = body.split_first_chunk::<8>()?;
        let (len, body) = body.split_first_chunk::<2>()?;
        let (reason, record) = body.split_at_checked(u16::from_be_bytes(*len).into())?;
        let reason = String::from_utf8(reason.to_vec()).ok()?;
        Some(Self {
            class,
            stream,
            seq: u64::from_be_bytes(*seq),
            reason,
            record: record.to_vec(),
        })
    }
}

/// Reads the dead letters of the queue in `folder`, oldest first; reading ends at the first damaged frame.
pub(super) fn read(folder: &Path) -> io::Result<Vec<DeadLetter>> {
    parse(folder).map(|(letters, _)| letters)
}

/// Returns the dead letters and their size in the file, in bytes.
fn parse(folder: &Path) -> io::Result<(Vec<DeadLetter>, u64)> {
    let bytes = match files::read(&folder.join(FILE), MAX_FILE_BYTES) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(e) => return Err(e),
    };
    let mut rest = &bytes[..];
    let mut letters = Vec::new();
    while let Some((body, after)) = split_frame(rest) {
        letters.extend(DeadLetter::decode(body));
        rest = after;
    }
    Ok((letters, (bytes.len() - rest.len()) as u64))
}

fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let len = u32::from_be_bytes(*len) as usize;
    let (body, rest) = rest.split_at_checked(len).filter(|_| len <= MAX_BODY_BYTES)?;
    (crc32fast::hash(body) == u32::from_be_bytes(*crc)).then_some((body, rest))
}

/// Index of the file.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Numbers in the file, oldest first; at most [`MAX_DEAD_LETTERS`].
    known: VecDeque<(Option<StreamId>, StreamClass, u64)>,
    /// Offset behind the last whole letter; the rest of a failed write may follow it.
    end: u64,
}

impl Letters {
    /// Reads the index of the file in `folder`. An unreadable file is renamed and counts as empty.
    pub(super) fn open(folder: &Path) -> Self {
        let (letters, end) = parse(folder).unwrap_or_else(|error| {
            tracing::warn!(%error, "failed to read the dead letters; renaming the file");
            // If renaming fails, adding the next letter reports the error.
            let _ = files::put_aside(&folder.join(FILE));
            Default::default()
        });
        let known = letters
            .iter()
            .map(|letter| (letter.stream, letter.class, letter.seq))
            .collect();
        Self { known, end }
    }

    /// Returns `true` if the record under a number was kept already: the cloud repeats a refusal until the
    /// record is acknowledged.
    pub(super) fn has(&self, stream: StreamId, class: StreamClass, seq: u64) -> bool {
        self.known.contains(&(Some(stream), class, seq))
    }

    /// Adds a dead letter; durable on return.
    pub(super) fn add(&mut self, folder: &Path, letter: &DeadLetter, disk: &dyn Disk) -> io::Result<()> {
        if self.known.len() >= MAX_DEAD_LETTERS {
            self.shorten(folder, disk)?;
        }
        let path = folder.join(FILE);
        if fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            files::put_aside(&path)?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        let len = file.metadata()?.len();
        if len < self.end {
            // The file was truncated by another program.
            (self.known, self.end) = (VecDeque::new(), 0);
        }
        if len > self.end {
            file.set_len(self.end)?;
        }
        let bytes = letter.encode();
        file.write_all_at(&bytes, self.end)?;
        disk.sync_file(&path, &file)?;
        if self.end == 0 {
            disk.sync_folder(folder)?;
        }
        self.end += bytes.len() as u64;
        self.known.push_back((letter.stream, letter.class, letter.seq));
        Ok(())
    }

    /// Rewrites the file with the newer half of the letters.
    fn shorten(&mut self, folder: &Path, disk: &dyn Disk) -> io::Result<()> {
        let letters = read(folder)?;
        let kept = &letters[letters.len().saturating_sub(MAX_DEAD_LETTERS / 2)..];
        let bytes: Vec<u8> = kept.iter().flat_map(DeadLetter::encode).collect();
        let path = folder.join(FILE);
        let fresh = folder.join("dead-letters.new");
        let mut file: File = files::create(&fresh)?;
        file.write_all(&bytes)?;
        disk.sync_file(&fresh, &file)?;
        disk.rename(&fresh, &path)?;
        disk.sync_folder(folder)?;
        self.known = kept
            .iter()
            .map(|letter| (letter.stream, letter.class, letter.seq))
            .collect();
        self.end = bytes.len() as u64;
        Ok(())
    }
}
