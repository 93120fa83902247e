//! The update's memory in two files that are written in turn: a power cut while one is written leaves the
//! other. Does not interpret the memory.

use std::io;

use crate::disk::Disk;
use crate::memory::Memory;

const FILES: [&str; 2] = ["update/journal.0", "update/journal.1"];
const MAGIC: &[u8; 8] = b"iottlyU1";
/// Magic, generation, length, checksum.
const HEADER: usize = 8 + 8 + 4 + 4;
/// Maximum size of a file in bytes: a directive and the fields around it.
const MAX_BYTES: u64 = 128 << 10;

/// Open journal.
#[derive(Debug)]
pub struct Journal {
    generation: u64,
    /// Index of the file that is written next.
    next: usize,
}

/// Condition in which the journal was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The journal is whole, or does not exist yet.
    Whole,
    /// A single one of the two files is damaged or was being written at a power cut.
    OneDamaged,
    /// Files exist and none is whole.
    Lost,
}

impl Journal {
    /// Reads the newest whole file; the memory is empty if there is none.
    ///
    /// # Errors
    /// The disk fails.
    pub fn open(disk: &mut impl Disk) -> io::Result<(Self, Memory, Condition)> {
        let mut best: Option<(u64, usize, Memory)> = None;
        let mut present = 0;
        let mut damaged = 0;
        let mut failed = None;
        for (at, name) in FILES.iter().enumerate() {
            let found = match disk.read(name, MAX_BYTES) {
                Ok(None) => continue,
                Ok(Some(bytes)) => decode(&bytes),
                // A file that is too long or not a regular file was not written by a journal.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            present += 1;
            match found {
                None => damaged += 1,
                Some((generation, memory)) => {
                    if best.as_ref().is_none_or(|(newest, ..)| generation > *newest) {
                        best = Some((generation, at, memory));
                    }
                }
            }
        }
        match (best, failed) {
            (Some((generation, at, memory)), _) => {
                let condition = if damaged > 0 {
                    Condition::OneDamaged
                } else {
                    Condition::Whole
                };
                Ok((
                    Self {
                        generation,
                        next: 1 - at,
                    },
                    memory,
                    condition,
                ))
            }
            (None, Some(error)) => Err(error),
            (None, None) => {
                // A power cut during the very first write leaves one damaged file, too; `recover` looks for
                // signs of earlier updates.
                let condition = if present < 2 {
                    Condition::Whole
                } else {
                    Condition::Lost
                };
                Ok((
                    Self {
                        generation: 0,
                        next: 0,
                    },
                    Memory::default(),
                    condition,
                ))
            }
        }
    }

    /// Returns true if nothing was read and nothing has been written.
    pub(crate) fn is_new(&self) -> bool {
        self.generation == 0
    }

    /// Makes the memory durable in place of a damaged file, which may be of any length.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn mend(&mut self, disk: &mut impl Disk, memory: &Memory) -> io::Result<()> {
        disk.remove(FILES[self.next])?;
        self.write(disk, memory)?;
        // The file's name is new, whatever the generation.
        disk.sync_names()
    }

    /// Makes the memory durable.
    ///
    /// # Errors
    /// The disk fails; the journal then holds the former memory.
    pub fn write(&mut self, disk: &mut impl Disk, memory: &Memory) -> io::Result<()> {
        let name = FILES[self.next];
        disk.write_at(name, 0, &encode(self.generation + 1, memory))?;
        disk.sync(name)?;
        if self.generation < 2 {
            // The file's name is new.
            disk.sync_names()?;
        }
        self.generation += 1;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn encode(generation: u64, memory: &Memory) -> Vec<u8> {
    let body = serde_json::to_vec(memory).expect("the memory has string keys");
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&generation.to_be_bytes());
    out.extend_from_slice(
        &u32::try_from(body.len())
            .expect("a directive is small")
            .to_be_bytes(),
    );
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&body);
    let sum = checksum(&out);
    out[20..24].copy_from_slice(&sum.to_be_bytes());
    out
}

fn decode(bytes: &[u8]) -> Option<(u64, Memory)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let body = rest.get(..u32::from_be_bytes(*len) as usize)?;
    (checksum(&bytes[..HEADER + body.len()]) == u32::from_be_bytes(*sum)).then_some(())?;
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
    use super::*;
    use crate::disk::SystemDisk;

    #[test]
    fn the_newest_whole_file_counts_whatever_befalls_the_other() {
        let dir = tempfile::tempdir().expect("dir");
        let mut disk = SystemDisk::open(dir.path()).expect("disk");
        let (mut journal, memory, condition) = Journal::open(&mut disk).expect("empty");
        assert_eq!((memory, condition), (Memory::default(), Condition::Whole));
        for counter in 1..=5 {
            journal
                .write(
                    &mut disk,
                    &Memory {
                        counter,
                        ..Memory::default()
                    },
                )
                .expect("write");
        }
        assert_eq!(Journal::open(&mut disk).expect("open").1.counter, 5);
        let newest = disk.path(FILES[1 - journal.next]);
        let whole = std::fs::read(&newest).expect("file");
        for at in 0..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            std::fs::write(&newest, &torn).expect("write");
            assert_eq!(
                Journal::open(&mut disk).expect("the other is whole").1.counter,
                4,
                "byte {at}"
            );
            std::fs::write(&newest, &whole[..at]).expect("write");
            assert_eq!(
                Journal::open(&mut disk).expect("the other is whole").1.counter,
                4,
                "cut at {at}"
            );
        }
        std::fs::write(disk.path(FILES[journal.next]), b"rubbish").expect("write");
        assert_eq!(
            Journal::open(&mut disk).expect("open").2,
            Condition::Lost,
            "two damaged files are no empty journal"
        );
    }

    #[test]
    fn a_journal_of_release_0_1_opens_and_its_clock_floor_says_nothing() {
        let dir = tempfile::tempdir().expect("dir");
        let mut disk = SystemDisk::open(dir.path()).expect("disk");
        // Written by that release during an update, after its system's clock had stood in the year 2095.
        let body = r#"{"counter":7,"floor":2,"clock_floor":3955674467,"committed":{"slot":"a","sha256":"ab","release_seq":3,"data_schema":1},"quarantined":["cd"],"attempt":{"offer":{"id":"d-7","document":"{}","counter":7,"action":"install","sha256":"ef","deadline_s":3600,"window":null,"max_bps":0},"state":"downloading","deadline":3955678067,"boots":0,"writes":4,"slot":"b"}}"#;
        let mut file = encode(5, &Memory::default())[..HEADER].to_vec();
        file[16..20].copy_from_slice(&u32::try_from(body.len()).expect("small").to_be_bytes());
        file.extend_from_slice(body.as_bytes());
        let sum = checksum(&file);
        file[20..24].copy_from_slice(&sum.to_be_bytes());
        std::fs::write(disk.path(FILES[1]), file).expect("write");
        let (_, memory, condition) = Journal::open(&mut disk).expect("open");
        assert_eq!(
            (memory.counter, memory.vouched, condition),
            (7, None, Condition::Whole)
        );
        let attempt = memory.attempt.expect("under way");
        assert_eq!(
            (attempt.spent_ms, attempt.waited_ms),
            (0, 0),
            "it has its whole time again"
        );
    }
}
