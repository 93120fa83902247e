//! Lists of a project's devices. The indexes of migration 31 make their cost independent of the number of devices, or a
//! scan of an index without the devices' rows.

use std::sync::LazyLock;

use async_trait::async_trait;
use iottly_protocol::{DeviceId, ProjectId};
use sqlx::QueryBuilder;

use super::db::{self, Db, Row};
use super::device_secrets::NONE;
use super::{Backend, codec, devices, groups};
use crate::{Attention, DeviceCounts, DeviceListStore, DeviceNeeds, DevicePlace, GroupCounts, Result};
use iottly_core::model::{Device, Group, UnixMs};

/// Maximum number of ids in one statement.
const IDS: usize = 500;

/// Counts of the devices of a project, each from an index. The state of the firmware is looked for as it stands in the
/// report's JSON: no text of the report can contain it, because quotation marks in texts are escaped.
static COUNTS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT (SELECT count(*) FROM devices WHERE project = $1) AS total, \
         (SELECT count(*) FROM devices WHERE project = $1 AND online = true) AS online, \
         (SELECT count(*) FROM devices WHERE project = $1 AND online = false AND absent_until > $2 \
         AND absent_from <= $2) AS absent, \
         (SELECT count(*) FROM devices{} WHERE project = $1 \
         AND replace(firmware, '\"state\":\"quarantined\"', '') <> firmware) AS quarantined, \
         (SELECT count(*) FROM devices d WHERE d.project = $1 AND d.secret > $3 AND NOT EXISTS \
         (SELECT 1 FROM device_keys k WHERE k.project = d.project AND k.device = d.id)) AS legacy",
        db::QUARANTINED
    )
});

/// Devices whose firmware failed too often, from the same index.
static FAILED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT id FROM devices{} WHERE project = $1 \
         AND replace(firmware, '\"state\":\"quarantined\"', '') <> firmware ORDER BY id LIMIT $2",
        db::QUARANTINED
    )
});

#[async_trait]
impl DeviceListStore for Backend {
    async fn device_page(
        &self,
        project: ProjectId,
        after: Option<&DevicePlace>,
        limit: usize,
    ) -> Result<Vec<Device>> {
        let mut query = QueryBuilder::<Db>::new(devices::ALL);
        query.push("d.project = ").push_bind(codec::id(&project).to_vec());
        if let Some(place) = after {
            query.push(" AND (d.name, d.id) > (");
            query.push_bind(codec::text(&place.name).into_owned());
            query
                .push(", ")
                .push_bind(codec::id(&place.id).to_vec())
                .push(")");
        }
        query.push(" ORDER BY d.name, d.id LIMIT ");
        query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(devices::device).collect()
    }

    async fn devices_with_ids(&self, project: ProjectId, ids: &[DeviceId]) -> Result<Vec<Device>> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IDS) {
            let mut query = QueryBuilder::<Db>::new(devices::ALL);
            query.push("d.project = ").push_bind(codec::id(&project).to_vec());
            query.push(" AND d.id IN (");
            let mut list = query.separated(", ");
            for id in ids {
                list.push_bind(codec::id(id).to_vec());
            }
            query.push(")");
            for row in query.build().fetch_all(&self.readers).await? {
                found.push(devices::device(&row)?);
            }
        }
        found.sort_unstable_by_key(DevicePlace::of);
        Ok(found)
    }

    async fn devices_for_filter(&self, project: ProjectId, needs: DeviceNeeds) -> Result<Vec<Device>> {
        let sql = match (needs.firmware, needs.legacy) {
            (false, false) => devices::PLAIN,
            (true, false) => devices::WITH_FIRMWARE,
            (_, true) => devices::WITH_LOGIN,
        };
        let query = sqlx::query(sql).bind(codec::id(&project));
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(devices::device).collect()
    }

    async fn device_counts(&self, project: ProjectId, now: UnixMs) -> Result<DeviceCounts> {
        // The hash of no secret is all zeros, so every other one is greater.
        let query = sqlx::query(COUNTS.as_str())
            .bind(codec::id(&project))
            .bind(now)
            .bind(&NONE.0[..]);
        let row = query.fetch_one(&self.readers).await?;
        Ok(DeviceCounts {
            total: number(&row, "total")?,
            online: number(&row, "online")?,
            absent: number(&row, "absent")?,
            quarantined: number(&row, "quarantined")?,
            legacy: number(&row, "legacy")?,
        })
    }

    async fn groups_alone(&self, project: ProjectId) -> Result<Vec<Group>> {
        let mut reader = self.readers.acquire().await?;
        groups::alone(&mut reader, project).await
    }

    async fn group_counts(&self, project: ProjectId) -> Result<Vec<GroupCounts>> {
        let query = sqlx::query(
            "SELECT group_id, count(*) AS total, count(CASE WHEN online = true THEN 1 END) AS online \
             FROM devices WHERE project = $1 GROUP BY group_id",
        );
        let rows = query.bind(codec::id(&project)).fetch_all(&self.readers).await?;
        let counts = |row: &Row| {
            Ok(GroupCounts {
                group: codec::group(row, "devices", "group_id")?,
                total: number(row, "total")?,
                online: number(row, "online")?,
            })
        };
        rows.iter().map(counts).collect()
    }

    async fn quarantined_devices(&self, project: ProjectId, limit: usize) -> Result<Vec<Device>> {
        let query = sqlx::query(FAILED.as_str())
            .bind(codec::id(&project))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&self.readers).await?;
        let ids = rows
            .iter()
            .map(|row| Ok(DeviceId::from_bytes(codec::bytes(row, "devices", "id")?)))
            .collect::<Result<Vec<_>>>()?;
        self.devices_with_ids(project, &ids).await
    }

    async fn devices_until(&self, project: ProjectId, place: &DevicePlace) -> Result<usize> {
        let query =
            sqlx::query("SELECT count(*) AS n FROM devices WHERE project = $1 AND (name, id) <= ($2, $3)")
                .bind(codec::id(&project))
                .bind(codec::text(&place.name))
                .bind(codec::id(&place.id));
        number(&query.fetch_one(&self.readers).await?, "n")
    }

    async fn attention(&self, project: ProjectId) -> Result<Attention> {
        let query = sqlx::query(
            "SELECT (SELECT count(*) FROM webhooks w JOIN webhook_queues q ON q.project = w.project AND q.hook = w.id \
             WHERE w.project = $1 AND w.enabled = true AND q.failing_since IS NOT NULL) AS failing, \
             (SELECT count(*) FROM alerts WHERE project = $1 AND cleared IS NULL) AS raised",
        );
        let row = query.bind(codec::id(&project)).fetch_one(&self.readers).await?;
        Ok(Attention {
            failing_webhooks: number(&row, "failing")?,
            raised_alerts: number(&row, "raised")?,
        })
    }
}

fn number(row: &Row, field: &'static str) -> Result<usize> {
    let number: i64 = codec::get(row, field)?;
    Ok(usize::try_from(number).unwrap_or(0))
}
