//! Rows of latest values: one for each device.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use async_trait::async_trait;
use iottly_protocol::{DeviceId, ProjectId};
use sqlx::QueryBuilder;

use super::db::{self, Conn, Db, Row};
use super::packed::{self, Packed};
use super::{Backend, codec, multi_row};
use crate::{LatestStore, Result};
use iottly_core::model::{Scope, UnixMs};
use iottly_core::series::{Latest, Newest};

/// Numbers of rows of the statements. Few distinct ones keep the cache of prepared statements effective.
const SIZES: [usize; 3] = [32, 4, 1];
/// Maximum number of devices whose values are read by one statement.
const DEVICES: usize = 100;

static READ: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        format!(
            "WITH v(p, d) AS (VALUES {}) SELECT project, device, body FROM v CROSS JOIN latest_values \
             WHERE project = v.p AND device = v.d",
            multi_row::rows(2, rows)
        )
    })
});
static WRITE: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        format!(
            "INSERT INTO latest_values (project, device, oldest, body) VALUES {} ON CONFLICT (project, device) \
             DO UPDATE SET oldest = excluded.oldest, body = excluded.body",
            multi_row::rows(4, rows)
        )
    })
});

/// Writes the newest values of some devices, whose uploads the transaction has locked.
pub(super) async fn write(tx: &mut Conn, newest: BTreeMap<Scope, Newest>) -> Result<()> {
    let newest: Vec<_> = newest
        .into_iter()
        .filter(|(_, newest)| !newest.is_empty())
        .collect();
    let mut left = newest.as_slice();
    for (size, (read, write)) in SIZES.into_iter().zip(READ.iter().zip(WRITE.iter())) {
        while let Some((chunk, rest)) = left.split_at_checked(size) {
            left = rest;
            let mut query = sqlx::query(read.as_str());
            for (scope, _) in chunk {
                query = query
                    .bind(codec::id(&scope.project))
                    .bind(codec::id(&scope.device));
            }
            let mut stored = BTreeMap::new();
            for row in query.fetch_all(&mut *tx).await? {
                let scope = codec::scope(&row, "latest_values", "device")?;
                stored.insert(scope, Latest::stored(codec::get(&row, "body")?));
            }
            let nothing = Latest::default();
            let rows: Vec<_> = chunk
                .iter()
                .map(|(scope, newest)| (scope, newest.onto(stored.get(scope).unwrap_or(&nothing))))
                .collect();
            let mut query = sqlx::query(write.as_str());
            for (scope, latest) in &rows {
                query = query
                    .bind(codec::id(&scope.project))
                    .bind(codec::id(&scope.device))
                    .bind(latest.oldest().unwrap_or_default())
                    .bind(latest.as_str());
            }
            query.execute(&mut *tx).await?;
        }
    }
    Ok(())
}

/// Forgets values of a device from before a time.
pub(super) async fn forget_older(tx: &mut Conn, scope: Scope, before: UnixMs) -> Result<()> {
    let old =
        sqlx::query("SELECT 1 AS one FROM latest_values WHERE project = $1 AND device = $2 AND oldest < $3")
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .bind(before)
            .fetch_optional(&mut *tx)
            .await?;
    if old.is_none() {
        return Ok(());
    }
    // New values of this device wait until the rest is written.
    db::lock_devices(tx, std::iter::once(scope)).await?;
    let row = sqlx::query("SELECT body FROM latest_values WHERE project = $1 AND device = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else { return Ok(()) };
    let kept = Latest::stored(codec::get(&row, "body")?).since(before);
    let query = match kept.oldest() {
        Some(oldest) => {
            sqlx::query("UPDATE latest_values SET oldest = $3, body = $4 WHERE project = $1 AND device = $2")
                .bind(codec::id(&scope.project))
                .bind(codec::id(&scope.device))
                .bind(oldest)
                .bind(kept.as_str())
        }
        None => sqlx::query("DELETE FROM latest_values WHERE project = $1 AND device = $2")
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device)),
    };
    query.execute(tx).await?;
    Ok(())
}

#[async_trait]
impl LatestStore for Backend {
    async fn latest_of(&self, project: ProjectId, devices: &[DeviceId]) -> Result<Vec<(DeviceId, Latest)>> {
        let mut found = Vec::with_capacity(devices.len());
        for devices in devices.chunks(DEVICES) {
            let mut query =
                QueryBuilder::<Db>::new("SELECT device, body FROM latest_values WHERE project = ");
            query.push_bind(codec::id(&project).to_vec());
            query.push(" AND device IN (");
            let mut list = query.separated(", ");
            for device in devices {
                list.push_bind(codec::id(device).to_vec());
            }
            query.push(")");
            let read = |row: &Row| {
                Ok((
                    DeviceId::from_bytes(codec::bytes(row, "latest_values", "device")?),
                    Latest::stored(codec::get(row, "body")?),
                ))
            };
            let rows = query.build().fetch_all(&self.readers).await?;
            found.extend(rows.iter().map(read).collect::<Result<Vec<_>>>()?);
        }
        Ok(found)
    }

    async fn latest_after(
        &self,
        project: ProjectId,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<(DeviceId, Latest)>> {
        let mut query = QueryBuilder::<Db>::new("SELECT ");
        query.push(db::PACKED.0);
        query.push(format!("{}v.device{}, v.body", db::HEX.0, db::HEX.1));
        query.push(db::PACKED.1);
        query.push(" AS packed FROM (SELECT device, body FROM latest_values WHERE project = ");
        query.push_bind(codec::id(&project).to_vec());
        query.push(" AND device > ");
        query.push_bind(after.map(|after| codec::id(&after).to_vec()).unwrap_or_default());
        query.push(" ORDER BY device LIMIT ");
        query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        query.push(") v");
        let row = query.build().fetch_one(&self.readers).await?;
        let read = |row: &mut Packed<'_>| {
            Ok((
                DeviceId::from_bytes(row.bytes("device")?),
                Latest::stored(row.text("body")?.into_owned()),
            ))
        };
        let mut found = match codec::get::<Option<&str>>(&row, "packed")? {
            Some(text) => packed::rows(text, "latest_values", read)?,
            None => Vec::new(),
        };
        // Most are in order: the database need not keep it.
        found.sort_unstable_by_key(|(device, _)| *device);
        Ok(found)
    }
}
