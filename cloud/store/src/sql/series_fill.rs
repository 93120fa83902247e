//! Roll-ups of messages that were stored before roll-ups were kept: made in steps, each message once.
//!
//! A device's history is rolled up from a key downwards, the newest first. Until it is done, a new message that is stored
//! below this key (after the clock was set back) is left to the fill; any other is rolled up as it is stored.

use std::collections::{BTreeSet, HashMap};

use iottly_protocol::MessageKind;

use super::codec;
use super::db::{self, Conn};
use super::rollups::Batch;
use crate::Result;
use iottly_core::model::{MessageId, Scope, StoredMessage, UnixMs};
use iottly_core::series::{GAP_COUNT, extract, made_at};

/// Keys down to which histories of a transaction are rolled up.
pub(super) struct Cursors(HashMap<Scope, (UnixMs, MessageId)>);

impl Cursors {
    /// Reads the keys of these devices.
    pub(super) async fn of(tx: &mut Conn, devices: impl Iterator<Item = Scope>) -> Result<Self> {
        let mut cursors = HashMap::new();
        let any = sqlx::query("SELECT 1 AS one FROM series_fills LIMIT 1")
            .fetch_optional(&mut *tx)
            .await?;
        if any.is_some() {
            for scope in devices.collect::<BTreeSet<_>>() {
                let row = sqlx::query("SELECT ts, id FROM series_fills WHERE project = $1 AND device = $2")
                    .bind(codec::id(&scope.project))
                    .bind(codec::id(&scope.device))
                    .fetch_optional(&mut *tx)
                    .await?;
                if let Some(row) = row {
                    let id = MessageId(codec::bytes(&row, "series_fills", "id")?);
                    cursors.insert(scope, (codec::get(&row, "ts")?, id));
                }
            }
        }
        Ok(Self(cursors))
    }

    /// Returns true if the fill will come to a message.
    pub(super) fn cover(&self, message: &StoredMessage) -> bool {
        self.0
            .get(&message.scope)
            .is_some_and(|cursor| (message.timestamp, message.id) <= *cursor)
    }
}

/// Rolls up a part of one history. Returns false when there is none to roll up.
pub(super) async fn step(tx: &mut Conn, limit: usize) -> Result<bool> {
    let next = sqlx::query("SELECT project, device FROM series_fills ORDER BY project, device LIMIT 1")
        .fetch_optional(&mut *tx)
        .await?;
    let Some(next) = next else { return Ok(false) };
    let scope = codec::scope(&next, "series_fills", "device")?;
    db::lock_devices(tx, std::iter::once(scope)).await?;
    let cursor = sqlx::query("SELECT ts, id FROM series_fills WHERE project = $1 AND device = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .fetch_optional(&mut *tx)
        .await?;
    // Another cloud has finished it meanwhile, or the device was deleted.
    let Some(cursor) = cursor else { return Ok(true) };
    let (ts, id): (UnixMs, [u8; 12]) = (
        codec::get(&cursor, "ts")?,
        codec::bytes(&cursor, "series_fills", "id")?,
    );
    let rows = sqlx::query(
        "SELECT ts, id, kind, device_ts, body FROM messages WHERE project = $1 AND device = $2 AND (ts, id) <= ($3, $4) \
         ORDER BY ts DESC, id DESC LIMIT $5",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .bind(ts)
    .bind(&id[..])
    // One more, which is the next step's first.
    .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
    .fetch_all(&mut *tx)
    .await?;
    let mut batch = Batch::default();
    for row in rows.iter().take(limit) {
        let (received, body): (UnixMs, &str) = (codec::get(row, "ts")?, codec::get(row, "body")?);
        match codec::kind(codec::get(row, "kind")?)? {
            MessageKind::UserDefined => {
                batch.message(scope, made_at(codec::get(row, "device_ts")?, received), body);
            }
            MessageKind::IottlyAgent => {
                extract(body, |path, count| {
                    if path == GAP_COUNT && count >= 1.0 {
                        batch.missing(scope, received, count as u64);
                    }
                });
            }
        }
    }
    batch.write(tx).await?;
    match rows.get(limit) {
        Some(row) => {
            sqlx::query("UPDATE series_fills SET ts = $3, id = $4 WHERE project = $1 AND device = $2")
                .bind(codec::id(&scope.project))
                .bind(codec::id(&scope.device))
                .bind(codec::get::<UnixMs>(row, "ts")?)
                .bind(&codec::bytes::<12>(row, "messages", "id")?[..])
                .execute(tx)
                .await?;
        }
        None => {
            sqlx::query("DELETE FROM series_fills WHERE project = $1 AND device = $2")
                .bind(codec::id(&scope.project))
                .bind(codec::id(&scope.device))
                .execute(tx)
                .await?;
        }
    }
    Ok(true)
}
