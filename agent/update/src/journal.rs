//! The update's memory in two files that are written in turn: a cut while one is written leaves the other.

use std::io;

use crate::disk::Disk;
use crate::state::Memory;

const FILES: [&str; 2] = ["update/journal.0", "update/journal.1"];
const MAGIC: &[u8; 8] = b"iottlyU1";
/// Magic, generation, length, checksum.
const HEADER: usize = 8 + 8 + 4 + 4;
/// Longest file: a directive and what is around it.
const MAX_BYTES: u64 = 128 << 10;

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    generation: u64,
    /// The file that is written next.
    next: usize,
}

impl Journal {
    /// Reads the newest whole file; the memory is empty when there is none.
    ///
    /// # Errors
    /// When the disk fails, or files are there and none is whole.
    pub fn open(disk: &mut impl Disk) -> io::Result<(Self, Memory)> {
        let mut best: Option<(u64, usize, Memory)> = None;
        let mut present = 0;
        for (at, name) in FILES.iter().enumerate() {
            let Some(bytes) = disk.read(name, MAX_BYTES)? else { continue };
            present += 1;
            if let Some((generation, memory)) = decode(&bytes)
                && best.as_ref().is_none_or(|(newest, ..)| generation > *newest)
            {
                best = Some((generation, at, memory));
            }
        }
        match best {
            Some((generation, at, memory)) => Ok((Self { generation, next: 1 - at }, memory)),
            // The very first write was cut.
            None if present < 2 => Ok((Self { generation: 0, next: 0 }, Memory::default())),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "both files of the update journal are damaged")),
        }
    }

    /// Makes the memory durable.
    ///
    /// # Errors
    /// When the disk fails; the journal then still holds what it held.
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
    out.extend_from_slice(&u32::try_from(body.len()).expect("a directive is small").to_be_bytes());
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
    Some((u64::from_be_bytes(*generation), serde_json::from_slice(body).ok()?))
}

/// The checksum of a file without the place of the checksum itself.
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
        let (mut journal, memory) = Journal::open(&mut disk).expect("empty");
        assert_eq!(memory, Memory::default());
        for counter in 1..=5 {
            journal.write(&mut disk, &Memory { counter, ..Memory::default() }).expect("write");
        }
        assert_eq!(Journal::open(&mut disk).expect("open").1.counter, 5);
        let newest = disk.path(FILES[1 - journal.next]);
        let whole = std::fs::read(&newest).expect("file");
        for at in 0..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            std::fs::write(&newest, &torn).expect("write");
            assert_eq!(Journal::open(&mut disk).expect("the other is whole").1.counter, 4, "byte {at}");
            std::fs::write(&newest, &whole[..at]).expect("write");
            assert_eq!(Journal::open(&mut disk).expect("the other is whole").1.counter, 4, "cut at {at}");
        }
        std::fs::write(disk.path(FILES[journal.next]), b"rubbish").expect("write");
        assert!(Journal::open(&mut disk).is_err(), "two damaged files are no empty journal");
    }
}
