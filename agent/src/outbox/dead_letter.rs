//! Records that the cloud refused for good: a small file of checksummed frames, so that it can be read while an agent runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use iottly_protocol::{StreamClass, limits};

use super::CLASSES;
use super::disk::Disk;
use super::frame::class_byte;

/// The file in the queue's folder.
const FILE: &str = "dead-letters";
/// Most dead letters kept; when there are more, the older half goes.
pub(super) const MAX_DEAD_LETTERS: usize = 256;
/// Most bytes kept of a dead letter's record.
pub(super) const MAX_DEAD_LETTER_BYTES: usize = 16 << 10;
/// Most bytes of a frame's content: class, number, reason, record.
const MAX_BODY_BYTES: usize = 1 + 8 + 2 + limits::MAX_TEXT_BYTES + MAX_DEAD_LETTER_BYTES;

/// A record that the cloud refused for good, kept for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The stream it was in.
    pub class: StreamClass,
    /// Its number there.
    pub seq: u64,
    /// The cloud's reason.
    pub reason: String,
    /// The encoded record, cut after 16 KiB.
    pub record: Vec<u8>,
}

impl DeadLetter {
    fn encode(&self) -> Vec<u8> {
        let reason = limits::clip(&self.reason, limits::MAX_TEXT_BYTES);
        let record = &self.record[..self.record.len().min(MAX_DEAD_LETTER_BYTES)];
        let mut body = vec![class_byte(self.class)];
        body.extend_from_slice(&self.seq.to_be_bytes());
        body.extend_from_slice(&u16::try_from(reason.len()).expect("clipped to 4096").to_be_bytes());
        body.extend_from_slice(reason.as_bytes());
        body.extend_from_slice(record);
        let mut frame = u32::try_from(body.len()).expect("clipped").to_be_bytes().to_vec();
        frame.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
        frame.extend_from_slice(&body);
        frame
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let (byte, body) = body.split_first()?;
        let class = CLASSES.into_iter().find(|class| class_byte(*class) == *byte)?;
        let (seq, body) = body.split_first_chunk::<8>()?;
        let (len, body) = body.split_first_chunk::<2>()?;
        let (reason, record) = body.split_at_checked(u16::from_be_bytes(*len).into())?;
        let reason = String::from_utf8(reason.to_vec()).ok()?;
        Some(Self { class, seq: u64::from_be_bytes(*seq), reason, record: record.to_vec() })
    }
}

/// Reads the dead letters of the queue in `folder`, oldest first; reading ends at the first damaged frame.
pub(super) fn read(folder: &Path) -> io::Result<Vec<DeadLetter>> {
    let bytes = match fs::read(folder.join(FILE)) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let (mut rest, mut letters) = (&bytes[..], Vec::new());
    while let Some((body, after)) = split_frame(rest) {
        letters.extend(DeadLetter::decode(body));
        rest = after;
    }
    Ok(letters)
}

fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let len = u32::from_be_bytes(*len) as usize;
    let (body, rest) = rest.split_at_checked(len).filter(|_| len <= MAX_BODY_BYTES)?;
    (crc32fast::hash(body) == u32::from_be_bytes(*crc)).then_some((body, rest))
}

/// Adds a dead letter; durable when it returns. A damaged end of the file is cut off.
pub(super) fn add(folder: &Path, letter: &DeadLetter, disk: &dyn Disk) -> io::Result<()> {
    let mut letters = read(folder)?;
    let mut letter = letter.clone();
    letter.record.truncate(MAX_DEAD_LETTER_BYTES);
    // The cloud names a refusal again until it has been heard.
    if letters.contains(&letter) {
        return Ok(());
    }
    letters.push(letter);
    let from = if letters.len() > MAX_DEAD_LETTERS { letters.len() - MAX_DEAD_LETTERS / 2 } else { 0 };
    let bytes: Vec<u8> = letters[from..].iter().flat_map(DeadLetter::encode).collect();
    let (path, fresh) = (folder.join(FILE), folder.join("dead-letters.new"));
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).open(&fresh)?;
    file.write_all(&bytes)?;
    disk.sync_file(&fresh, &file)?;
    disk.rename(&fresh, &path)?;
    disk.sync_folder(folder)
}
