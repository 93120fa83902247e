//! Gaps that extend an existing entry of the history instead of adding one.

use iottly_protocol::GapReason;
use serde_json::value::RawValue;

use super::db::Conn;
use super::{codec, usage};
use crate::Result;
use iottly_core::model::{MessageId, Scope, UnixMs};

/// Reasons by their code in [`GapEntry::pack`]; new ones are added at the end.
const REASONS: [GapReason; 6] = [
    GapReason::Ttl,
    GapReason::Budget,
    GapReason::Corruption,
    GapReason::Refused,
    GapReason::HeadMismatch,
    GapReason::Restore,
];
/// Bytes of a packed entry.
const PACKED: usize = 37;

/// Newest entry about a gap in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GapEntry {
    pub(super) timestamp: UnixMs,
    pub(super) id: MessageId,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) reason: GapReason,
    /// True if the current transaction writes the entry.
    pub(super) is_new: bool,
}

/// An entry whose gap was extended, in its new form.
pub(super) struct Merge {
    pub(super) scope: Scope,
    pub(super) entry: GapEntry,
    pub(super) payload: Box<RawValue>,
}

impl GapEntry {
    /// Returns an entry for a gap that is not stored yet.
    pub(super) fn new(from: u64, to: u64, reason: GapReason) -> Self {
        Self {
            timestamp: 0,
            id: MessageId([0; 12]),
            from,
            to,
            reason,
            is_new: true,
        }
    }

    /// Returns true if `next` begins where this gap ends, for the same reason.
    pub(super) fn continues_with(&self, next: &Self) -> bool {
        self.reason == next.reason && self.to.checked_add(1) == Some(next.from)
    }

    pub(super) fn pack(&self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(PACKED);
        packed.extend_from_slice(&self.timestamp.to_le_bytes());
        packed.extend_from_slice(&self.id.0);
        packed.extend_from_slice(&self.from.to_le_bytes());
        packed.extend_from_slice(&self.to.to_le_bytes());
        packed.extend(
            REASONS
                .iter()
                .position(|reason| *reason == self.reason)
                .and_then(|code| u8::try_from(code).ok()),
        );
        packed
    }

    pub(super) fn unpack(packed: &[u8]) -> Result<Self> {
        let corrupt = || {
            codec::corrupt(
                "streams",
                "last_gap",
                format!("{} bytes are not an entry", packed.len()),
            )
        };
        let packed: &[u8; PACKED] = packed.try_into().map_err(|_| corrupt())?;
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| packed[at + byte]));
        Ok(Self {
            timestamp: UnixMs::from_le_bytes(number(0).to_le_bytes()),
            id: MessageId(std::array::from_fn(|byte| packed[8 + byte])),
            from: number(20),
            to: number(28),
            reason: *REASONS.get(usize::from(packed[36])).ok_or_else(corrupt)?,
            is_new: false,
        })
    }
}

/// Returns true if the entry is still in the history.
pub(super) async fn is_there(tx: &mut Conn, scope: Scope, entry: &GapEntry) -> Result<bool> {
    let row =
        sqlx::query("SELECT ts FROM messages WHERE project = $1 AND device = $2 AND ts = $3 AND id = $4")
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .bind(entry.timestamp)
            .bind(&entry.id.0[..])
            .fetch_optional(tx)
            .await?;
    Ok(row.is_some())
}

/// Rewrites entries whose gaps were extended; called after the transaction's new entries are written.
pub(super) async fn merge(tx: &mut Conn, merges: &[Merge]) -> Result<()> {
    for Merge {
        scope,
        entry,
        payload,
    } in merges
    {
        let row = sqlx::query(
            "SELECT CAST(octet_length(body) AS BIGINT) AS bytes FROM messages WHERE project = $1 AND device = $2 AND ts = $3 AND id = $4",
        )
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(entry.timestamp)
        .bind(&entry.id.0[..])
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { continue };
        sqlx::query(
            "UPDATE messages SET body = $5 WHERE project = $1 AND device = $2 AND ts = $3 AND id = $4",
        )
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(entry.timestamp)
        .bind(&entry.id.0[..])
        .bind(payload.get())
        .execute(&mut *tx)
        .await?;
        let more = codec::signed(payload.get().len() as u64) - codec::get::<i64>(&row, "bytes")?;
        usage::lengthened(tx, scope.project, entry.timestamp, more).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_packed_and_unpacked_and_odd_bytes_are_named() {
        for reason in REASONS {
            let entry = GapEntry {
                timestamp: -5,
                id: MessageId([7; 12]),
                is_new: false,
                ..GapEntry::new(3, 1 << 53, reason)
            };
            assert_eq!(GapEntry::unpack(&entry.pack()).expect("whole"), entry);
        }
        assert!(GapEntry::unpack(&[0; 36]).is_err() && GapEntry::unpack(&[9; PACKED]).is_err());
    }

    #[test]
    fn only_what_follows_for_the_same_reason_continues() {
        let gap = |from, to, reason| GapEntry::new(from, to, reason);
        let first = gap(1, 3, GapReason::Ttl);
        assert!(first.continues_with(&gap(4, 4, GapReason::Ttl)));
        assert!(!first.continues_with(&gap(4, 4, GapReason::Budget)));
        assert!(!first.continues_with(&gap(5, 5, GapReason::Ttl)));
    }
}
