use iottly_protocol::{StreamClass, limits};

/// Most dead letters kept; the oldest go first.
pub(super) const MAX_DEAD_LETTERS: usize = 256;
/// Most bytes kept of a dead letter's record.
pub(super) const MAX_DEAD_LETTER_BYTES: usize = 16 << 10;

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
    pub(super) fn encode(reason: &str, record: &[u8]) -> Vec<u8> {
        let reason = limits::clip(reason, limits::MAX_TEXT_BYTES);
        let record = &record[..record.len().min(MAX_DEAD_LETTER_BYTES)];
        let mut body = Vec::with_capacity(2 + reason.len() + record.len());
        body.extend_from_slice(&u16::try_from(reason.len()).expect("clipped to 4096").to_le_bytes());
        body.extend_from_slice(reason.as_bytes());
        body.extend_from_slice(record);
        body
    }

    pub(super) fn decode(class: StreamClass, seq: u64, body: &[u8]) -> Option<Self> {
        let (len, rest) = body.split_first_chunk::<2>()?;
        let (reason, record) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        Some(Self { class, seq, reason: String::from_utf8(reason.to_vec()).ok()?, record: record.to_vec() })
    }
}
