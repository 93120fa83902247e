//! Roll-ups and latest values of messages that were stored before they were kept: made in steps, each message once.
//!
//! A device's history is rolled up from a key downwards, the newest first. Until it is done, a new message that is stored
//! below this key (after the clock was set back) is left to the fill; any other is rolled up as it is stored. A latest value
//! may be taken twice: the time of its message decides.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use iottly_protocol::MessageKind;

use super::codec;
use super::db::{self, Conn};
use super::rollups::Batch;
use crate::Result;
use iottly_core::model::{MessageId, Scope, StoredMessage, UnixMs};
use iottly_core::series::{GAP_COUNT, extract, made_at};

/// Kind of fill: a table of keys, and its statements.
pub(super) struct Fill {
    rolls_up: bool,
    next: String,
    cursor: String,
    advance: String,
    done: String,
}

impl Fill {
    fn of(table: &str, rolls_up: bool) -> Self {
        Self {
            rolls_up,
            next: format!("SELECT project, device FROM {table} ORDER BY project, device LIMIT 1"),
            cursor: format!("SELECT ts, id FROM {table} WHERE project = $1 AND device = $2"),
            advance: format!("UPDATE {table} SET ts = $3, id = $4 WHERE project = $1 AND device = $2"),
            done: format!("DELETE FROM {table} WHERE project = $1 AND device = $2"),
        }
    }
}

/// Histories to roll up, which gives their latest values too, and histories of which only these are to be taken.
pub(super) static FILLS: LazyLock<[Fill; 2]> =
    LazyLock::new(|| [Fill::of("series_fills", true), Fill::of("latest_fills", false)]);

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

/// Looks at a part of one history. Returns false when there is none to look at.
pub(super) async fn step(tx: &mut Conn, fill: &'static Fill, limit: usize) -> Result<bool> {
    let next = sqlx::query(fill.next.as_str()).fetch_optional(&mut *tx).await?;
    let Some(next) = next else { return Ok(false) };
    let scope = codec::scope(&next, "series_fills", "device")?;
    db::lock_devices(tx, std::iter::once(scope)).await?;
    let cursor = sqlx::query(fill.cursor.as_str())
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
    let mut batch = Batch::backwards();
    for row in rows.iter().take(limit) {
        let (received, body): (UnixMs, &str) = (codec::get(row, "ts")?, codec::get(row, "body")?);
        match codec::kind(codec::get(row, "kind")?)? {
            MessageKind::UserDefined => {
                let at = made_at(codec::get(row, "device_ts")?, received);
                if fill.rolls_up {
                    batch.message(scope, at, body);
                } else {
                    batch.latest(scope, at, body);
                }
            }
            MessageKind::IottlyAgent if !fill.rolls_up => {}
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
            sqlx::query(fill.advance.as_str())
                .bind(codec::id(&scope.project))
                .bind(codec::id(&scope.device))
                .bind(codec::get::<UnixMs>(row, "ts")?)
                .bind(&codec::bytes::<12>(row, "messages", "id")?[..])
                .execute(tx)
                .await?;
        }
        None => {
            sqlx::query(fill.done.as_str())
                .bind(codec::id(&scope.project))
                .bind(codec::id(&scope.device))
                .execute(tx)
                .await?;
        }
    }
    Ok(true)
}
