//! Lists of a project's devices. The indexes of migrations 31 and 32 make their cost independent of the number of devices, or a
//! scan of an index without the devices' rows.

use std::sync::LazyLock;

use async_trait::async_trait;
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use sqlx::QueryBuilder;

use super::db::{self, Db, Row};
use super::device_secrets::NONE;
use super::{Backend, codec, devices, packed_devices};
use crate::{
    Attention, DeviceCounts, DeviceListStore, DeviceNeeds, DevicePlace, DigestCount, GroupCounts, Result,
};
use iottly_core::model::{Device, UnixMs};

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

/// Counts of the devices of each group. Each part is read from an index of its own; one pass would read the devices' rows.
static BY_GROUP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT a.group_id, a.total, coalesce(o.online, 0) AS online FROM \
         (SELECT group_id, count(*) AS total FROM devices WHERE project = $1 GROUP BY group_id) a LEFT JOIN \
         (SELECT group_id, count(*) AS online FROM devices WHERE project = $1 AND {} GROUP BY group_id) o \
         ON o.group_id = a.group_id ORDER BY a.group_id",
        db::ONLINE
    )
});

/// Lists of tags that devices of a project have.
static TAGS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT DISTINCT d.tags FROM devices d WHERE d.project = $1 AND d.tags <> '[]'{} LIMIT $2",
        db::IN_ORDER
    )
});

/// Connected devices, from the index of them.
static CONNECTED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT id FROM devices WHERE project = $1 AND {} LIMIT $2",
        db::ONLINE
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
            query.push(" AND (d.name_key, d.id) > (");
            query.push_bind(devices::name_key(&place.name));
            query
                .push(", ")
                .push_bind(codec::id(&place.id).to_vec())
                .push(")");
        }
        query.push(" ORDER BY d.name_key, d.id LIMIT ");
        query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(devices::device).collect()
    }

    async fn devices_with_ids(&self, project: ProjectId, ids: &[DeviceId]) -> Result<Vec<Device>> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
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

    async fn devices_with(&self, project: ProjectId, needs: DeviceNeeds) -> Result<Vec<Device>> {
        packed_devices::all(&self.readers, project, needs).await
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

    async fn group_counts(&self, project: ProjectId) -> Result<Vec<GroupCounts>> {
        let query = sqlx::query(BY_GROUP.as_str());
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

    async fn group_size(&self, project: ProjectId, group: GroupId) -> Result<u64> {
        let query = sqlx::query("SELECT count(*) AS n FROM devices WHERE project = $1 AND group_id = $2")
            .bind(codec::id(&project))
            .bind(codec::id(&group));
        Ok(number(&query.fetch_one(&self.readers).await?, "n")? as u64)
    }

    async fn all_members(&self, project: ProjectId) -> Result<Vec<(GroupId, DeviceId)>> {
        let query = sqlx::query("SELECT group_id, id FROM devices WHERE project = $1 ORDER BY group_id, id");
        let rows = query.bind(codec::id(&project)).fetch_all(&self.readers).await?;
        let member = |row: &Row| Ok((codec::group(row, "devices", "group_id")?, id(row)?));
        rows.iter().map(member).collect()
    }

    async fn group_members(
        &self,
        project: ProjectId,
        group: GroupId,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<DeviceId>> {
        let after = after.map(|id| codec::id(&id).to_vec()).unwrap_or_default();
        let query = sqlx::query(
            "SELECT id FROM devices WHERE project = $1 AND group_id = $2 AND id > $3 ORDER BY id LIMIT $4",
        )
        .bind(codec::id(&project))
        .bind(codec::id(&group))
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        query.fetch_all(&self.readers).await?.iter().map(id).collect()
    }

    async fn group_digests(
        &self,
        project: ProjectId,
        group: GroupId,
        limit: usize,
    ) -> Result<Vec<DigestCount>> {
        let query = sqlx::query(
            "SELECT group_id, digest, count(*) AS n FROM devices WHERE project = $1 AND group_id = $2 \
             GROUP BY group_id, digest ORDER BY n DESC, digest LIMIT $3",
        )
        .bind(codec::id(&project))
        .bind(codec::id(&group))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        query
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(digest_count)
            .collect()
    }

    async fn digest_counts(&self, project: ProjectId, digests: &[&str]) -> Result<Vec<DigestCount>> {
        let mut counts = Vec::new();
        for digests in digests.chunks(IDS) {
            let mut query = QueryBuilder::<Db>::new(
                "SELECT group_id, digest, count(*) AS n FROM devices WHERE project = ",
            );
            query
                .push_bind(codec::id(&project).to_vec())
                .push(" AND digest IN (");
            let mut list = query.separated(", ");
            for digest in digests {
                list.push_bind((*digest).to_owned());
            }
            query.push(") GROUP BY group_id, digest ORDER BY group_id, digest");
            for row in query.build().fetch_all(&self.readers).await? {
                counts.push(digest_count(&row)?);
            }
        }
        Ok(counts)
    }

    async fn connected_devices(&self, project: ProjectId, limit: usize) -> Result<Vec<DeviceId>> {
        let query = sqlx::query(CONNECTED.as_str())
            .bind(codec::id(&project))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        query.fetch_all(&self.readers).await?.iter().map(id).collect()
    }

    async fn latest_devices(&self, project: ProjectId, limit: usize) -> Result<Vec<Device>> {
        let mut query = QueryBuilder::<Db>::new(devices::ALL);
        query.push("d.project = ").push_bind(codec::id(&project).to_vec());
        query.push(" ORDER BY d.online_since DESC NULLS LAST LIMIT ");
        query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(devices::device).collect()
    }

    async fn quarantined_devices(&self, project: ProjectId, limit: usize) -> Result<Vec<Device>> {
        let query = sqlx::query(FAILED.as_str())
            .bind(codec::id(&project))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&self.readers).await?;
        let ids = rows.iter().map(id).collect::<Result<Vec<_>>>()?;
        self.devices_with_ids(project, &ids).await
    }

    async fn devices_until(&self, project: ProjectId, place: &DevicePlace) -> Result<usize> {
        let query = sqlx::query(
            "SELECT count(*) AS n FROM devices WHERE project = $1 AND (name_key, id) <= ($2, $3)",
        )
        .bind(codec::id(&project))
        .bind(devices::name_key(&place.name))
        .bind(codec::id(&place.id));
        number(&query.fetch_one(&self.readers).await?, "n")
    }

    async fn device_tags(&self, project: ProjectId, limit: usize) -> Result<Vec<String>> {
        let query = sqlx::query(TAGS.as_str())
            .bind(codec::id(&project))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut tags = Vec::new();
        for row in query.fetch_all(&self.readers).await? {
            let list: Vec<String> = codec::json(codec::get(&row, "tags")?, "devices", "tags")?;
            tags.extend(list);
        }
        Ok(tags)
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

fn id(row: &Row) -> Result<DeviceId> {
    Ok(DeviceId::from_bytes(codec::bytes(row, "devices", "id")?))
}

fn digest_count(row: &Row) -> Result<DigestCount> {
    Ok(DigestCount {
        group: codec::group(row, "devices", "group_id")?,
        digest: codec::get(row, "digest")?,
        total: number(row, "n")? as u64,
    })
}

fn number(row: &Row, field: &'static str) -> Result<usize> {
    let number: i64 = codec::get(row, field)?;
    Ok(usize::try_from(number).unwrap_or(0))
}
