//! Keys and checksummed values of the queue's database.
//!
//! `[class][seq]` a record, `[class | 0x80][seq]` a dead letter, `[0][class]` a stream's identity; numbers big-endian, so that
//! the order of keys is the order of numbers. A value is a CRC-32 over key and body, then the body: bytes under a wrong key
//! are as damaged as flipped ones.

use iottly_protocol::{StreamClass, StreamId};

/// Bytes stored around each record.
pub(super) const OVERHEAD_BYTES: usize = KEY_BYTES + CRC_BYTES;
const KEY_BYTES: usize = 9;
const CRC_BYTES: usize = 4;

pub(super) type Key = [u8; KEY_BYTES];

const fn class_byte(class: StreamClass) -> u8 {
    match class {
        StreamClass::History => 1,
        StreamClass::Control => 2,
    }
}

pub(super) fn record_key(class: StreamClass, seq: u64) -> Key {
    key(class_byte(class), seq)
}

pub(super) fn dead_key(class: StreamClass, seq: u64) -> Key {
    key(class_byte(class) | 0x80, seq)
}

pub(super) fn meta_key(class: StreamClass) -> [u8; 2] {
    [0, class_byte(class)]
}

fn key(prefix: u8, seq: u64) -> Key {
    let mut key = [prefix; KEY_BYTES];
    key[1..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// The number inside a key of a record or dead letter.
pub(super) fn seq_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

pub(super) fn seal(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(CRC_BYTES + body.len());
    value.extend_from_slice(&checksum(key, body).to_le_bytes());
    value.extend_from_slice(body);
    value
}

/// The body of a value, none when it is damaged.
pub(super) fn unseal<'v>(key: &[u8], value: &'v [u8]) -> Option<&'v [u8]> {
    let (crc, body) = value.split_first_chunk::<CRC_BYTES>()?;
    (u32::from_le_bytes(*crc) == checksum(key, body)).then_some(body)
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

/// What is stored about a stream beside its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) stream: StreamId,
    /// Everything up to this number is acknowledged.
    pub(super) acked: u64,
}

impl Meta {
    pub(super) fn encode(self, class: StreamClass) -> Vec<u8> {
        let mut body = [0; 24];
        body[..16].copy_from_slice(self.stream.as_bytes());
        body[16..].copy_from_slice(&self.acked.to_be_bytes());
        seal(&meta_key(class), &body)
    }

    pub(super) fn decode(class: StreamClass, value: &[u8]) -> Option<Self> {
        let key = meta_key(class);
        let (stream, acked) = unseal(&key, value)?.split_first_chunk::<16>()?;
        Some(Self { stream: StreamId::from_bytes(*stream), acked: u64::from_be_bytes(acked.try_into().ok()?) })
    }
}
