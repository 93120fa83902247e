//! Keys and checksummed values of a segment. Pure.
//!
//! A record's key is its position, big-endian, so that the order of keys is the order of positions. A value
//! is a CRC-32 over key and rest, the stamp of the queue's age clock, and the record: a value under a wrong
//! key counts as damaged.

use iottly_protocol::{StreamClass, StreamId};

const KEY_BYTES: usize = 8;
const CRC_BYTES: usize = 4;
const STAMP_BYTES: usize = 8;
/// Overhead per record, in bytes.
pub(super) const OVERHEAD_BYTES: usize = KEY_BYTES + CRC_BYTES + STAMP_BYTES;
/// Key of a segment's description; shorter than the keys of records.
pub(super) const META_KEY: &[u8] = b"meta";

pub(super) type Key = [u8; KEY_BYTES];

pub(super) const fn key(position: u64) -> Key {
    position.to_be_bytes()
}

/// Returns the position in a record's key; `None` for another key.
pub(super) fn position(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.try_into().ok()?))
}

/// Returns the value of a record; `stamp_ms` is the time of the age clock.
pub(super) fn seal(key: &[u8], stamp_ms: u64, body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(CRC_BYTES + STAMP_BYTES + body.len());
    value.extend_from_slice(&[0; CRC_BYTES]);
    value.extend_from_slice(&stamp_ms.to_be_bytes());
    value.extend_from_slice(body);
    let crc = checksum(key, &value[CRC_BYTES..]);
    value[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    value
}

/// Returns stamp and record of a value; `None` if it is damaged.
pub(super) fn unseal<'v>(key: &[u8], value: &'v [u8]) -> Option<(u64, &'v [u8])> {
    let (crc, rest) = value.split_first_chunk::<CRC_BYTES>()?;
    if u32::from_le_bytes(*crc) != checksum(key, rest) {
        return None;
    }
    let (stamp, body) = rest.split_first_chunk::<STAMP_BYTES>()?;
    Some((u64::from_be_bytes(*stamp), body))
}

fn checksum(key: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(rest);
    hasher.finalize()
}

/// Returns the number of a class in files.
pub(super) const fn class_byte(class: StreamClass) -> u8 {
    match class {
        StreamClass::History => 1,
        StreamClass::Control => 2,
    }
}

/// Description of a segment, from which the queue can be restored without its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    /// Id of the queue.
    pub(super) queue: [u8; 16],
    pub(super) class: StreamClass,
    /// First position.
    pub(super) first: u64,
    /// Id of the stream when the segment was created.
    pub(super) stream: StreamId,
    /// Position before that stream's number 1.
    pub(super) base: u64,
}

impl Meta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(49);
        body.extend_from_slice(&self.queue);
        body.push(class_byte(self.class));
        body.extend_from_slice(&self.first.to_be_bytes());
        body.extend_from_slice(self.stream.as_bytes());
        body.extend_from_slice(&self.base.to_be_bytes());
        seal(META_KEY, 0, &body)
    }

    /// Decodes the description of a segment of `class`; `None` if it is damaged or of another class.
    pub(super) fn decode(class: StreamClass, value: &[u8]) -> Option<Self> {
        let (_, body) = unseal(META_KEY, value)?;
        let (queue, body) = body.split_first_chunk::<16>()?;
        let (byte, body) = body.split_first()?;
        let (first, body) = body.split_first_chunk::<8>()?;
        let (stream, base) = body.split_first_chunk::<16>()?;
        (*byte == class_byte(class)).then_some(())?;
        Some(Self {
            queue: *queue,
            class,
            first: u64::from_be_bytes(*first),
            stream: StreamId::from_bytes(*stream),
            base: u64::from_be_bytes(base.try_into().ok()?),
        })
    }
}
