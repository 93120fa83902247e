//! Positions of streams.

use iottly_protocol::StreamId;
use sqlx::Row as _;

use super::codec;
use super::db::{Conn, Pool};
use super::gaps::GapEntry;
use crate::Result;
use iottly_core::ingest::stream::StreamState;
use iottly_core::model::{Scope, UnixMs};

/// Maximum number of streams remembered per device; above, the one unused for longest is forgotten. A device
/// holds at most 16.
const KEPT: i64 = 64;
/// Age in milliseconds (an hour) from which an unchanged row is written again, to record that the stream is
/// in use. More precision is not needed to forget the oldest stream, and it would cost a write for each
/// stream that a hello names.
const TOUCHED_MS: UnixMs = 60 * 60 * 1000;

/// State of a stream in a transaction.
pub(super) struct Known {
    pub(super) state: StreamState,
    /// Newest entry about a gap in the stream.
    pub(super) gap: Option<GapEntry>,
    /// Time of the newest message of the firmware that this transaction stores; none if it stores none.
    pub(super) sent: Option<UnixMs>,
    /// Contents of the row and the time it was written; none for an unknown stream.
    saved: Option<(StreamState, Option<GapEntry>, UnixMs)>,
}

impl Known {
    /// Returns true if the row has to be written.
    pub(super) fn is_to_save(&self, now: UnixMs) -> bool {
        self.saved.as_ref().is_none_or(|(state, gap, touched)| {
            self.sent.is_some()
                || *state != self.state
                || *gap != self.gap
                || !(0..TOUCHED_MS).contains(&now.saturating_sub(*touched))
        })
    }
}

pub(super) async fn upto(pool: &Pool, scope: Scope, stream: StreamId) -> Result<u64> {
    let row = sqlx::query("SELECT upto FROM streams WHERE project = $1 AND device = $2 AND stream = $3")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(codec::id(&stream))
        .fetch_optional(pool)
        .await?;
    row.map_or(Ok(0), |row| {
        codec::unsigned(row.try_get("upto")?, "streams", "upto")
    })
}

/// Returns the time of the last message of a device's firmware in its streams.
pub(super) async fn last_sent(pool: &Pool, scope: Scope) -> Result<Option<UnixMs>> {
    let row = sqlx::query("SELECT max(sent) AS sent FROM streams WHERE project = $1 AND device = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .fetch_one(pool)
        .await?;
    codec::get(&row, "sent")
}

/// Reads the state of a stream.
pub(super) async fn load(connection: &mut Conn, scope: Scope, stream: StreamId) -> Result<Known> {
    let row = sqlx::query(
        "SELECT class, upto, sparse, recent, touched, last_gap FROM streams WHERE project = $1 AND device = $2 AND stream = $3",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .bind(codec::id(&stream))
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok(Known {
            state: StreamState::default(),
            gap: None,
            sent: None,
            saved: None,
        });
    };
    let class: Option<i64> = codec::get(&row, "class")?;
    let state = StreamState {
        class: class.map(codec::class).transpose()?,
        upto: codec::unsigned(codec::get(&row, "upto")?, "streams", "upto")?,
        sparse: unpack(codec::get(&row, "sparse")?, "sparse", |pair: [u8; 16]| {
            let (start, end) = pair.split_at(8);
            (number(start), number(end))
        })?,
        recent: unpack(codec::get(&row, "recent")?, "recent", |pair: [u8; 12]| {
            let (seq, hash) = pair.split_at(8);
            (number(seq), number(hash) as u32)
        })?
        .into(),
    };
    let gap = codec::get::<Option<&[u8]>>(&row, "last_gap")?
        .map(GapEntry::unpack)
        .transpose()?;
    Ok(Known {
        saved: Some((state.clone(), gap, codec::get(&row, "touched")?)),
        state,
        gap,
        sent: None,
    })
}

/// Writes the state of a stream.
pub(super) async fn save(
    connection: &mut Conn,
    scope: Scope,
    stream: StreamId,
    known: &Known,
    now: UnixMs,
) -> Result<()> {
    let state = &known.state;
    let sparse: Vec<u8> = state
        .sparse
        .iter()
        .flat_map(|(start, end)| [start.to_le_bytes(), end.to_le_bytes()])
        .flatten()
        .collect();
    let mut recent = Vec::with_capacity(state.recent.len() * 12);
    for (seq, hash) in &state.recent {
        recent.extend_from_slice(&seq.to_le_bytes());
        recent.extend_from_slice(&hash.to_le_bytes());
    }
    sqlx::query(
        "INSERT INTO streams (project, device, stream, class, upto, sparse, recent, touched, last_gap, sent) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (project, device, stream) DO UPDATE SET \
         class = excluded.class, upto = excluded.upto, sparse = excluded.sparse, recent = excluded.recent, touched = excluded.touched, \
         last_gap = excluded.last_gap, sent = coalesce(excluded.sent, streams.sent)",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .bind(codec::id(&stream))
    .bind(state.class.map(codec::class_code))
    .bind(codec::signed(state.upto))
    .bind(sparse)
    .bind(recent)
    .bind(now)
    .bind(known.gap.as_ref().map(GapEntry::pack))
    .bind(known.sent)
    .execute(&mut *connection)
    .await?;
    if known.saved.is_none() {
        forget_oldest(connection, scope).await
    } else {
        Ok(())
    }
}

async fn forget_oldest(connection: &mut Conn, scope: Scope) -> Result<()> {
    sqlx::query(
        "DELETE FROM streams WHERE project = $1 AND device = $2 AND stream IN (SELECT stream FROM streams \
         WHERE project = $1 AND device = $2 ORDER BY touched DESC, stream LIMIT 1000000 OFFSET $3)",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .bind(KEPT)
    .execute(connection)
    .await?;
    Ok(())
}

fn unpack<const N: usize, T>(
    blob: &[u8],
    field: &'static str,
    read: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>> {
    let (items, rest) = blob.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(codec::corrupt(
            "streams",
            field,
            format!("{} bytes are not whole items", blob.len()),
        ));
    }
    Ok(items.iter().map(|item| read(*item)).collect())
}

fn number(little_endian: &[u8]) -> u64 {
    little_endian
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}
